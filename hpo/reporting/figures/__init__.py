"""Figures of the page, and the PNG files."""
