"""Measurements side by side; not installed."""
