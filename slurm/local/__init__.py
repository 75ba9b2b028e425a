"""Arrays as processes of this machine: claimed, started and ended by their marks."""
