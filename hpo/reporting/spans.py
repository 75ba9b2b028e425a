"""When and where attempts ran, what of them was of use, and how well the cards were used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hpo.paths import StudyPaths
from hpo.records import Cause
from hpo.study.causes import record_of, unsettled
from hpo.study.gpu_hours import measured
from hpo.study.state import AttemptEnd, Study, TrialState

_CLOCK_S = 1e-3  # seconds since the epoch are kept to a quarter of a microsecond; less than this is rounding


@dataclass(frozen=True)
class Span:
    """One attempt: seconds since the epoch, cards, and what became of it.

    Args:
        outcome: `completed`, a `Cause`, or `running`.
        useful: seconds of it on which a result or a later attempt was built; of a running one all.
        device: the card's name; "" where it is not known.
        lane: which of the places on its node it had, from 0: attempts beside each other have different ones.
    """

    trial: str
    attempt: int
    node: str
    start: float
    end: float
    outcome: str
    message: str
    useful: float
    gpus: int
    device: str
    lane: int = 0

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.end - self.start

    @property
    def lost(self) -> float:
        """Seconds that nothing was built on."""
        gone = self.seconds - self.useful
        return gone if gone > _CLOCK_S else 0.0


def spans(study: Study, paths: StudyPaths, now: datetime | None = None) -> list[Span]:
    """Every attempt that has begun, by its start; reads the attempts' own files.

    Args:
        study: as the journal tells it.
        now: where attempts that still run end; default the present.
    """
    found = [_ended(study, paths, end) for end in study.ends if end.attempt is not None or end.seconds]
    until = (now or datetime.now(UTC)).timestamp()
    found += _running(study, paths, until)
    return in_lanes(found)


def _ended(study: Study, paths: StudyPaths, end: AttemptEnd) -> Span:
    seconds, gpus = measured(study, end)
    record = None if end.attempt is None else record_of(paths.trial(end.trial), end.attempt)
    # the journal notes an end when the controller sees it, some seconds or a whole downtime later
    start = _epoch(record.started_at) if record else _epoch(end.at) - seconds
    return Span(
        trial=end.trial,
        attempt=end.attempt or 0,
        node=end.node or (record.host if record else ""),
        start=start,
        end=start + seconds,
        outcome="completed" if end.cause is None else end.cause.value,
        message=end.message,
        useful=end.useful(seconds),
        gpus=gpus,
        device=record.device if record else "",
    )


def _running(study: Study, paths: StudyPaths, until: float) -> Iterable[Span]:
    for trial in study.in_state(TrialState.OPEN):
        files = paths.trial(trial.id)
        for attempt in unsettled(files, trial):
            record = record_of(files, attempt)
            if record is not None:
                start = _epoch(record.started_at)
                end = min(max(until, start), start + record.seconds + 60.0)  # seen alive within the minute
                yield Span(
                    trial=trial.id,
                    attempt=attempt,
                    node=record.host,
                    start=start,
                    end=end,
                    outcome="running",
                    message="",
                    useful=end - start,
                    gpus=max(1, record.gpus),
                    device=record.device,
                )


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def in_lanes(found: Sequence[Span]) -> list[Span]:
    """The spans by their start, each in the first lane of its node that is free."""
    ends: dict[str, list[float]] = {}
    placed = []
    for span in sorted(found, key=lambda own: (own.start, own.trial, own.attempt)):
        lanes = ends.setdefault(span.node, [])
        free = (lane for lane, end in enumerate(lanes) if end <= span.start)
        lane = next(free, len(lanes))
        lanes[lane : lane + 1] = [span.end]
        placed.append(Span(**{**span.__dict__, "lane": lane}))
    return placed


def at_work(found: Sequence[Span]) -> list[tuple[float, int]]:
    """(time, cards at work from then on) at every change; equal times are one row."""
    changes: dict[float, int] = {}
    for span in found:
        changes[span.start] = changes.get(span.start, 0) + span.gpus
        changes[span.end] = changes.get(span.end, 0) - span.gpus
    level, steps = 0, []
    for time in sorted(changes):
        level += changes[time]
        steps.append((time, level))
    return steps


def utilisation(found: Sequence[Span]) -> float | None:
    """Mean cards at work over the most at once, from the first start to the last end; None for no time."""
    steps = at_work(found)
    most = max((level for _, level in steps), default=0)
    if not most or steps[-1][0] <= steps[0][0]:
        return None
    return sum(own.seconds * own.gpus for own in found) / (steps[-1][0] - steps[0][0]) / most


def interruptions(found: Sequence[Span]) -> dict[str, int]:
    """How many attempts ended for each cause after which the same trial went on by itself."""
    mine = {Cause.PREEMPTED, Cause.NODE_FAILURE, Cause.TIMED_OUT, Cause.HOST_OUT_OF_MEMORY, Cause.LOST}
    counts: dict[str, int] = {}
    for span in found:
        if span.outcome in mine:
            counts[span.outcome] = counts.get(span.outcome, 0) + 1
    return counts
