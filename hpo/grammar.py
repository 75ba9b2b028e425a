"""Reads Hydra's sweep grammar as parameters: `tag(log, interval(1e-5, 1e-3))`, `choice(qv, all)`, ...

The grammar is Hydra's own (its parser reads the text); the meaning follows Hydra's Optuna sweeper: the upper
end of `range` is included, and `tag(log, ...)` asks for a log scale. `tag(ordered, choice(...))` is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hpo.errors import InputError
from hpo.parameters import Choice, Constant, Float, Integer, Parameter

if TYPE_CHECKING:
    from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep, Sweep

FORMS = "interval(low, high), range(low, high, step=...), choice(a, b, ...), each in tag(log, ...) if wanted"


def parse_parameter(text: str) -> Parameter:
    """Read one parameter; a plain value is a constant.

    Args:
        text: an expression of Hydra's override grammar, as it stands after the `=`.

    Raises:
        InputError: text that is not of the grammar, or that means no parameter.
    """
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


def _log(sweep: Sweep, text: str, known: Sequence[str] = ("log", "int", "float")) -> bool:
    unknown = sorted(sweep.tags - set(known))
    if unknown:
        raise InputError(f"unknown tag {', '.join(unknown)} in {text!r}: expected {', '.join(known)}")
    return "log" in sweep.tags


def _interval(sweep: IntervalSweep, text: str) -> Parameter:
    log = _log(sweep, text)
    low, high = sweep.start, sweep.end
    if low is None or high is None:
        raise InputError(f"expected interval(low, high), got {text!r}")
    # a cast, int(interval(1, 8)), shows in the type of the ends; tag(int, ...) is the older way to say it
    if "int" in sweep.tags or (isinstance(low, int) and isinstance(high, int)):
        return Integer(_whole(low), _whole(high), log=log)
    return Float(low, high, log=log)


def _range(sweep: RangeSweep, text: str) -> Parameter:
    log = _log(sweep, text)
    ends: tuple[Any, ...] = (sweep.start, sweep.stop, sweep.step)
    if sweep.start is None or sweep.stop is None:
        raise InputError(f"expected range(low, high), got {text!r}")
    if "int" in sweep.tags or all(isinstance(end, int) for end in ends):
        return Integer(_whole(sweep.start), _whole(sweep.stop), step=_whole(sweep.step), log=log)
    return Float(float(sweep.start), float(sweep.stop), log=log, step=float(sweep.step))


def _whole(number: float) -> int:
    if number != int(number):
        raise InputError(f"expected an integer, got {number!r}")
    return int(number)


def _choice(sweep: ChoiceSweep, text: str) -> Parameter:
    from hydra.core.override_parser.types import QuotedString

    _log(sweep, text, known=("ordered",))
    values = [value.text if isinstance(value, QuotedString) else value for value in sweep.list]
    nested = [value for value in values if isinstance(value, list | dict)]
    if nested:
        raise InputError(f"expected plain values to choose from, got {nested[0]!r} in {text!r}")
    return Choice(tuple(values), ordered="ordered" in sweep.tags)  # type: ignore[arg-type]
