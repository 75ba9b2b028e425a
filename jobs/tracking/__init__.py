"""Trials as runs of experiment trackers, while they run; each client library is loaded in its own module."""
