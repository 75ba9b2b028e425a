"""Reads Hydra's sweep grammar as parameters: `tag(log, interval(1e-5, 1e-3))`, `choice(qv, all)`, ...

The grammar is Hydra's own (its parser reads the text); the meaning follows Hydra's Optuna sweeper: the upper
end of `range` is included, and `tag(log, ...)` asks for a log scale. Ours are `tag(ordered, choice(...))`,
`tag(auxiliary, ...)`, and two that Hydra's parser would take for unknown functions: `derive(expression)`, and
around any other form `usual(value, ...)` or `usual(value, belief=high, ...)`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpo.errors import InputError
from hpo.space.parameters import Choice, Constant, Derived, Float, Integer, Parameter

if TYPE_CHECKING:
    from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep, Sweep

FORMS = (
    "interval(low, high), range(low, high, step=...), choice(a, b, ...), each in tag(log, ...) if wanted, "
    "derive(expression), and around one of these usual(value, belief=low|medium|high, ...) if wanted"
)
_DERIVE = re.compile(r"derive\((?P<expression>.*)\)", re.DOTALL)
_DERIVE_AUXILIARY = re.compile(r"tag\(\s*auxiliary\s*,\s*derive\((?P<expression>.*)\)\s*\)", re.DOTALL)

_VALUE = r"""(?P<value>'[^']*'|"[^"]*"|[^,()\[\]{}]+)"""
_USUAL = re.compile(
    rf"usual\(\s*{_VALUE}\s*,\s*(belief\s*=\s*(?P<belief>\w+)\s*,)?(?P<parameter>.*)\)", re.DOTALL
)


def parse_parameter(text: str) -> Parameter:
    """Read one parameter; a plain value is a constant.

    Args:
        text: an expression of Hydra's override grammar, as it stands after the `=`.

    Raises:
        InputError: text that is not of the grammar, or that means no parameter.
    """
    derived = _derived(text)
    if derived is not None:
        return derived
    if match := _USUAL.fullmatch(text.strip()):
        return _believed(parse_parameter(match["parameter"].strip()), match, text)
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(f"value={text}")
    except HydraException as error:
        raise InputError(f"expected {FORMS}, got {text!r}: {error}") from error
    value = override.value()
    if isinstance(value, IntervalSweep):
        return _interval(value, text)
    if isinstance(value, RangeSweep):
        return _range(value, text)
    if isinstance(value, ChoiceSweep):
        return _choice(value, text)
    if isinstance(value, str | int | float) and value != "":
        return Constant(value)
    raise InputError(f"expected {FORMS}, or one plain value, got {text!r}")


def _derived(text: str) -> Derived | None:
    for pattern, auxiliary in ((_DERIVE, False), (_DERIVE_AUXILIARY, True)):
        match = pattern.fullmatch(text.strip())
        if match:
            return Derived(match["expression"].strip(), auxiliary)
    return None


def _believed(parameter: Parameter, match: re.Match[str], text: str) -> Parameter:
    value = parse_parameter(match["value"].strip())
    if not isinstance(parameter, Float | Integer | Choice) or not isinstance(value, Constant):
        raise InputError(f"expected usual(value, ...) around a parameter that varies, got {text!r}")
    if parameter.usual is not None:
        raise InputError(f"expected one usual value, got {text!r}")
    return replace(parameter, usual=value.value, belief=match["belief"])  # type: ignore[arg-type]


def _tags(sweep: Sweep, text: str, *known: str) -> set[str]:
    unknown = sorted(sweep.tags - {*known, "auxiliary"})
    if unknown:
        expected = ", ".join((*known, "auxiliary"))
        raise InputError(f"unknown tag {', '.join(unknown)} in {text!r}: expected {expected}")
    return sweep.tags


def _interval(sweep: IntervalSweep, text: str) -> Parameter:
    tags = _tags(sweep, text, "log", "int", "float")
    log, auxiliary = "log" in tags, "auxiliary" in tags
    low, high = sweep.start, sweep.end
    if low is None or high is None:
        raise InputError(f"expected interval(low, high), got {text!r}")
    # a cast, int(interval(1, 8)), shows in the type of the ends; tag(int, ...) is the older way to say it
    if "int" in tags or (isinstance(low, int) and isinstance(high, int)):
        return Integer(_whole(low), _whole(high), log=log, auxiliary=auxiliary)
    return Float(low, high, log=log, auxiliary=auxiliary)


def _range(sweep: RangeSweep, text: str) -> Parameter:
    tags = _tags(sweep, text, "log", "int", "float")
    log, auxiliary = "log" in tags, "auxiliary" in tags
    ends: tuple[Any, ...] = (sweep.start, sweep.stop, sweep.step)
    if sweep.start is None or sweep.stop is None:
        raise InputError(f"expected range(low, high), got {text!r}")
    if "int" in tags or all(isinstance(end, int) for end in ends):
        return Integer(
            _whole(sweep.start), _whole(sweep.stop), step=_whole(sweep.step), log=log, auxiliary=auxiliary
        )
    return Float(float(sweep.start), float(sweep.stop), log=log, step=float(sweep.step), auxiliary=auxiliary)


def _whole(number: float) -> int:
    if number != int(number):
        raise InputError(f"expected an integer, got {number!r}")
    return int(number)


def _choice(sweep: ChoiceSweep, text: str) -> Parameter:
    from hydra.core.override_parser.types import QuotedString

    tags = _tags(sweep, text, "ordered")

    def plain(value: Any) -> Any:
        """A list of names is one value: these names with commas between them."""
        if isinstance(value, list) and all(isinstance(own, str | QuotedString) for own in value):
            return ",".join(str(plain(own)) for own in value)
        return value.text if isinstance(value, QuotedString) else value

    values = [plain(value) for value in sweep.list]
    nested = [value for value in values if isinstance(value, list | dict)]
    if nested:
        raise InputError(f"expected plain values to choose from, got {nested[0]!r} in {text!r}")
    return Choice(tuple(values), ordered="ordered" in tags, auxiliary="auxiliary" in tags)
