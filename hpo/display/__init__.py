"""What a terminal shows of a study: the live view, the overview, lines of events, tables."""
