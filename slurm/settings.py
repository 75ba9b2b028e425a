"""Every cluster key, checked. The defaults are in conf/cluster/base.yaml and nowhere else."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo
from pydantic.dataclasses import dataclass

from slurm.extra_options import OptionValue, check_options, joined

_CLOCK = re.compile(r"(?:\d+-\d{1,3}(?::\d{1,2}){0,2})|(?:\d+(?::\d{1,2}){0,2})")

# The time limit that is found out from the trials themselves, and what holds until enough of them have ended.
AUTO = "auto"
AUTO_START_MIN = 240


def limit_minutes(limit: int | str) -> int:
    """A time limit in whole minutes, rounded up.

    Args:
        limit: minutes, or text as Slurm writes times: `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`.

    Raises:
        ValueError: the text has another form, or the limit is not positive.
    """
    if isinstance(limit, str):
        if not _CLOCK.fullmatch(limit):
            raise ValueError(f"expected minutes, 'HH:MM:SS' or 'D-HH:MM:SS', got {limit!r}")
        days, _, clock = limit.rpartition("-")
        parts = [int(part) for part in clock.split(":")]
        if not days and len(parts) < 3:  # without days the first of two are minutes: 30:00 is half an hour
            parts = [0, *parts]
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        limit = -(-(int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds) // 60)
    if limit <= 0:
        raise ValueError("expected a time limit above 0")
    return limit


def _check_limit(limit: int | str) -> int | str:
    limit_minutes(limit)
    return limit


def _check_limit_or_auto(limit: int | str) -> int | str:
    return limit if limit == AUTO else _check_limit(limit)


def check_warning(signal_delay_s: int, limit_min: int) -> int:
    """Refuse a warning that would come before the task itself; returns it.

    Args:
        signal_delay_s: seconds between the warning and the time limit.
        limit_min: the time limit, in minutes.

    Raises:
        ValueError: the limit leaves no time before the warning.
    """
    if signal_delay_s >= limit_min * 60:
        # Slurm may send it up to a minute early, so three times the delay and that minute is a good limit.
        good = -(-3 * (signal_delay_s + 60) // 60)
        raise ValueError(
            f"expected less than the time limit of {limit_min} min, got {signal_delay_s} s;"
            f" a time limit of {good} min or more leaves time to work"
        )
    return signal_delay_s


def _check_delay(delay_s: int, info: ValidationInfo) -> int:
    limit = info.data.get("time_limit", AUTO)  # left out when it is wrong itself
    return delay_s if limit == AUTO else check_warning(delay_s, limit_minutes(limit))


# `gpu`, `gpu:v100`, `gpu:2`, `gpu:v100:2`; no kind is a number
_GPUS = re.compile(r"gpu(:(?P<kind>[^:]*[^:\d][^:]*))?(:(?P<count>\d+))?")
_GRES = re.compile(r"[a-z][\w/.-]*(:[\w.][\w.+-]*)?(:\d+[kmgtp]?)?", re.IGNORECASE)
_COUNTING_OPTIONS = ("gpus", "gpus-per-node", "gpus-per-task")


def _differing(what: str, count: int, gpus: int) -> ValueError:
    told = f"expected {gpus}, as trainer.gpus says, got {count} by {what}"
    return ValueError(f"{told}; a gres without a number, such as gpu or gpu:v100, follows trainer.gpus")


def _check_gres(gres: str | None, info: ValidationInfo) -> str | None:
    """Refuse another number of GPUs than trials use, and put it in where none is given."""
    gpus = info.data.get("gpus")
    parts = gres.split(",") if gres else []
    if wrong := [part for part in parts if not _GRES.fullmatch(part)]:
        raise ValueError(f"expected gpu, gpu:KIND, gpu:NUMBER or gpu:KIND:NUMBER, got {wrong[0]!r}")
    found = {part: match for part in parts if (match := _GPUS.fullmatch(part))}
    if len(found) == 1:
        ((part, match),) = found.items()
        if match["count"] is None:
            return ",".join(f"{each}:{gpus or 1}" if each == part else each for each in parts)
    count = sum(int(match["count"] or 1) for match in found.values())
    if found and gpus and count != gpus:
        raise _differing(str(gres), count, gpus)
    return gres


def _with_joined_values(given: Any) -> Any:
    return {key: joined(value) for key, value in given.items()} if isinstance(given, Mapping) else given


def _check_extra(extra: dict[str, OptionValue], info: ValidationInfo) -> dict[str, OptionValue]:
    options = check_options(extra)
    gpus = info.data.get("gpus")
    for name in _COUNTING_OPTIONS:
        count = str(options.get(name)).rpartition(":")[2]  # 2 or v100:2
        if gpus and count.isdigit() and int(count) != gpus:
            raise _differing(f"{name}={options[name]}", int(count), gpus)
    return options


def _no_truth(given: Any) -> Any:
    """True is no 1 here."""
    if isinstance(given, bool):
        raise ValueError("expected a number")
    return given


def _check_word(text: str) -> str:
    if not text or any(sign.isspace() or not sign.isprintable() for sign in text):
        raise ValueError("expected one word without blanks, or null")
    return text


# One line without blanks: it becomes a line of the sbatch script. A list is joined by commas.
Word = Annotated[str, BeforeValidator(joined), AfterValidator(_check_word)]
Size = Annotated[float, BeforeValidator(_no_truth), Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _check_rate(given: Any) -> float | str | None:
    """TFLOP/s, or what says which card: one message for one mistake."""
    if given is None or (isinstance(given, str) and given):
        return given
    if isinstance(given, int | float) and not isinstance(given, bool) and 1e-3 <= given <= 1e6:
        return float(given)
    raise ValueError("expected TFLOP/s from 0.001 to 1e6, auto, null, or a card such as V100")


def _check_only(size: float | None, info: ValidationInfo) -> float | None:
    """Refuse memory that is asked for in two ways, of which sbatch would take the last."""
    other = next((key for key in ("mem_gb", "mem_per_cpu_gb") if info.data.get(key) is not None), None)
    if size is not None and other:
        told = f"expected memory by one key at most, and there is {other}={info.data[other]:g}"
        raise ValueError(f"{told}; set that to null")
    return size


OtherSize = Annotated[Size | None, AfterValidator(_check_only)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HelperSettings:
    """What a piece of the controller's own work gets when it runs as a job."""

    partition: Word | None
    account: Word | None
    qos: Word | None
    cpus: Annotated[int, Field(ge=1)]
    mem_gb: Size | None
    mem_per_cpu_gb: OtherSize
    time_limit: Annotated[int | str, AfterValidator(_check_limit)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class ClusterSettings:
    """Where and with what a task runs; the same keys on Slurm and on this machine."""

    # Of each trial: no key of conf/cluster, trainer.gpus says it; None for trainers without that key.
    gpus: Annotated[int, Field(ge=1)] | None = None
    partition: Word | None
    account: Word | None
    qos: Word | None
    gres: Annotated[Word | None, AfterValidator(_check_gres)]
    gpu_memory_gb: Size | None  # read by the controller alone
    gpu_tflops: Annotated[float | str | None, PlainValidator(_check_rate)]  # likewise
    constraint: Word | None
    cpus: Annotated[int, Field(ge=1)]
    mem_gb: Size | None
    mem_per_cpu_gb: OtherSize
    mem_per_gpu_gb: OtherSize
    time_limit: Annotated[int | str, AfterValidator(_check_limit_or_auto)]
    max_parallel: Annotated[int, Field(ge=1)] | None
    on_scancel: Literal["stop", "forget", "retry"]  # read by the controller alone
    setup: list[str]
    python: Annotated[str, Field(min_length=1)] | None
    extra: Annotated[
        dict[str, OptionValue], BeforeValidator(_with_joined_values), AfterValidator(_check_extra)
    ]
    signal_delay_s: Annotated[int, Field(ge=0, le=65535), AfterValidator(_check_delay)]
    helper: HelperSettings
    # Read by the simulated cluster, and by `plan --simulate` for any other.
    queue_wait: NotNegative
    preemptions_per_gpu_hour: NotNegative

    @property
    def cards(self) -> int:
        """GPUs of each trial: those that it asks for; 1 where it names none."""
        found = [_GPUS.fullmatch(part) for part in (self.gres or "").split(",")]
        return self.gpus or sum(int(match["count"]) for match in found if match and match["count"]) or 1

    @property
    def memory_gb(self) -> float | None:
        """Host memory of each trial, in GiB, by whichever key asks for it; None where none does."""
        if self.mem_per_cpu_gb:
            return self.mem_per_cpu_gb * self.cpus
        return self.mem_per_gpu_gb * self.cards if self.mem_per_gpu_gb else self.mem_gb

    @property
    def time_limit_min(self) -> int | None:
        """The time limit in whole minutes, rounded up; None where it is found out from the trials."""
        return None if self.time_limit == AUTO else limit_minutes(self.time_limit)

    @property
    def default_minutes(self) -> int:
        """The time limit of an array that asks for none."""
        return self.time_limit_min or AUTO_START_MIN

    @property
    def python_command(self) -> str:
        """The shell command that starts Python on the node; may be several words, such as a container's."""
        return self.python or shlex.quote(sys.executable)

    @property
    def masked_python(self) -> str:
        """The same Python, started with USR2 and TERM blocked."""
        return f"{self.python_command} -IS {shlex.quote(str(Path(__file__).with_name('maskwrap.py')))}"
