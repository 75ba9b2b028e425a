"""What may be asked about each kind of trial before any has run: on a login node, without torch."""
