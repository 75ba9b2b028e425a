"""Studies side by side, and a study beside its arms: curves, tables, pictures."""
