"""What every test package shares."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FAKES = Path(__file__).parent / "fakes"
ASSETS = Path(__file__).parent / "assets"
sys.path[:0] = [str(FAKES), str(Path(__file__).parent / "e2e")]


@pytest.fixture
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent
