"""What one seed stands for: a study, a cluster, and one to four faults at moments of their own."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.reliability.faults import FAULTS
from benchmarks.reliability.scene import Fault
from slurm.devcluster.files import Options

TRIALS = 24
LAST_MOMENT = 2 / 3  # of the trials are completed: while there is still something to hurt
MOST_FAULTS = 4
SHARE_OF_BO = 0.1


@dataclass(frozen=True)
class Injection:
    """One fault of a run.

    Args:
        fault: its name.
        after: so many trials are completed before it.
        delay_s: so long after that.
    """

    fault: str
    after: int
    delay_s: float


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    trials: int
    injections: tuple[Injection, ...]
    cluster: Options
    options: tuple[str, ...]
    program: bool = False

    def to_json(self) -> dict[str, Any]:
        """What the record says of it before it has run."""
        site = self.cluster
        return {
            "seed": self.seed,
            "trials": self.trials,
            "grace_s": site.grace_s,
            "user_signal": site.user_signal,
            "accounting": site.accounting,
            "program": self.program,
            "options": list(self.options),
        }


def draw_plan(seed: int, only: Sequence[str] = (), *, trials: int = TRIALS, small_disk: bool = True) -> Plan:
    """The run of a seed.

    Args:
        seed: whatever is random about the run, but for what the machine adds.
        only: names of faults: these and no others, each once.
        trials: of the study.
        small_disk: whether the study root can be a disk of its own; faults that need it are left out else.
    """
    rng = random.Random(f"chaos:{seed}:{','.join(only)}")
    faults = [FAULTS[name] for name in only] or _drawn(rng, small_disk)
    graces = {fault.grace_s for fault in faults if fault.grace_s is not None}
    signals = {fault.user_signal for fault in faults if fault.user_signal is not None}
    site = Options(
        grace_s=graces.pop() if graces else rng.choice([0, 8]),
        user_signal=signals.pop() if signals else rng.random() < 0.5,
        accounting=any(fault.accounting for fault in faults) or rng.random() < 0.05,
    )
    injections = [
        Injection(fault.name, rng.randint(0, int(trials * LAST_MOMENT)), round(rng.uniform(0.0, 3.0), 2))
        for fault in faults
    ]
    options = [*_options(rng, faults), f"study.seed={seed}", f"budget.trials={trials}"]
    program = any(fault.program for fault in faults)
    return Plan(seed, trials, tuple(sorted(injections, key=_moment)), site, tuple(options), program)


def _moment(injection: Injection) -> tuple[int, float]:
    return injection.after, injection.delay_s


def _drawn(rng: random.Random, small_disk: bool) -> list[Fault]:
    known = [fault for fault in FAULTS.values() if small_disk or not fault.small_disk]
    found: list[Fault] = []
    for fault in rng.sample(known, len(known))[: rng.randint(1, MOST_FAULTS)]:
        if all(_together(fault, other) for other in found):
            found.append(fault)
    return found


def _together(one: Fault, other: Fault) -> bool:
    """Whether one cluster can have both."""
    pairs = ((one.grace_s, other.grace_s), (one.user_signal, other.user_signal))
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def _options(rng: random.Random, faults: Collection[Fault]) -> list[str]:
    strategy = "bo" if rng.random() < SHARE_OF_BO else "sobol"
    size = rng.randint(8, 10)
    found = [
        f"strategy={strategy}",
        f"batch.size={size}",
        f"batch.refill={rng.randint(1, 4)}",
    ]
    if rng.random() < 0.3:
        found.append(f"cluster.max_parallel={rng.randint(4, 7)}")
    return [*found, *dict.fromkeys(option for fault in faults for option in fault.options)]
