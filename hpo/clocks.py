"""Clock times in YAML: `4:00:00` without quotes is text, not the 14,400 that YAML 1.1 reads in base 60."""

from __future__ import annotations

import re
from typing import Any

from yaml import constructor, resolver

_PARSERS: tuple[type, ...] = ()
try:  # ten times quicker, where it was built
    from yaml.cyaml import CParser  # type: ignore[attr-defined]

    class _QuickParser(CParser):
        """In place of the reading half of a `yaml.SafeLoader`, as in `yaml.CSafeLoader`."""

        def __init__(self, stream: Any) -> None:
            super().__init__(stream)
            constructor.SafeConstructor.__init__(self)  # type: ignore[arg-type]
            resolver.Resolver.__init__(self)  # type: ignore[arg-type]

    _PARSERS = (_QuickParser,)
except ImportError:
    pass

_TEXT = "tag:yaml.org,2002:str"
_CLOCK = re.compile(r"[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.[\d_]*)?$")


def clocks_as_text(loader: Any) -> Any:
    """A class of `yaml.SafeLoader`s like this one that takes no number in base 60 for a number.

    So a time limit means the same with and without quotes; a key that wants a number refuses a clock time.
    """
    known = loader.yaml_implicit_resolvers
    ours = {first: [(_TEXT, _CLOCK), *known.get(first, ())] for first in "+-0123456789"}
    return type("ClockLoader", (*_PARSERS, loader), {"yaml_implicit_resolvers": {**known, **ours}})
