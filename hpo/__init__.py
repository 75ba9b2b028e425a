"""Search and control: what to try next, and what became of what was tried."""

__version__ = "0.1.0"
