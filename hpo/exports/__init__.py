"""Studies in the formats of other tools: a module each, imported only when it is asked for."""
