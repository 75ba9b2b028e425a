"""Sections of the page, and the blocks that they are made of."""
