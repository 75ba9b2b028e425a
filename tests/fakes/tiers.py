"""Which variants of a test run in the default tier."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def quick(values: Iterable[Any], kept: Collection[Any]) -> list[Any]:
    """All of a test's variants, those that are not kept for the default tier in the slow one."""
    return [value if value in kept else pytest.param(value, marks=pytest.mark.slow) for value in values]
