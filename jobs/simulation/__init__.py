"""Trials that are only computed: what one would write, at which time of a virtual clock."""
