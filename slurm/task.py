"""What an array element runs: a function named by text, with arguments that are text.

The pickle that submitit carries to the node holds these strings and nothing else, so neither a class that
changed since the submission nor a library that only the node has can spoil it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from slurm.errors import TargetError


def resolve(target: str) -> Callable[..., Any]:
    """Import the function that `module:function` names.

    Raises:
        TargetError: the text has another form, or there is no such module or function here.
    """
    module_name, _, function_name = target.partition(":")
    if not module_name or not function_name:
        raise TargetError(f"target: expected `module:function`, got {target!r}")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise TargetError(
            f"target {target!r} cannot be imported on this node: {error}",
            "the node must see the same Python environment as the controller: cluster.python, cluster.setup",
        ) from error
    if not callable(function):
        raise TargetError(f"target {target!r}: expected a function, got {type(function).__name__}")
    return function  # type: ignore[no-any-return]  # whatever is there; only called, its value is dropped


def run_target(target: str, arguments: Sequence[str]) -> None:
    """Call the function that `target` names; what it returns is dropped, results are files."""
    resolve(target)(*arguments)
