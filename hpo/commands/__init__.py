"""One module a command of the command line, what its arguments are, and what several commands share."""
