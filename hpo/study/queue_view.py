"""What the scheduler said last of a study's tasks: kept by its controller for everybody who looks.

`status` can then show it without asking the scheduler anything. Standard library only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hpo.ports import OVER, WAITING, Task, TaskView
from hpo.records import SCHEMA_VERSION, Record, RecordError, utc_now, write_text
from hpo.study.state import ENDED, Batch, Study


@dataclass(frozen=True)
class QueueView(Record):
    """The live tasks of a study: queue.json, rewritten when something in it changes."""

    tasks: dict[str, list[str]] = field(default_factory=dict)  # batch:index -> [state, detail, node]
    at: str = field(default_factory=utc_now)


@dataclass(frozen=True)
class BatchState:
    """A batch that is not over: how many of its tasks are in which state, in words."""

    batch: Batch
    states: Mapping[str, int]  # the scheduler's words, or what became of the trial -> tasks
    nodes: list[str]  # on which its tasks run


def seen(study: Study, live: Mapping[Task, TaskView] | None) -> QueueView:
    """What a look at the scheduler says of the tasks of this study that are not over."""
    batches = {batch.job_id: batch.id for batch in study.open_batches if batch.job_id}
    return QueueView(
        {
            f"{batches[job]}:{index}": [view["state"], view["detail"], view["node"]]
            for (job, index), view in sorted((live or {}).items())
            if job in batches and view["state"] != OVER
        }
    )


class QueueFile:
    """Writes queue.json whenever the tasks have changed; a disk that does not take it is no matter."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: dict[str, list[str]] | None = None

    def keep(self, view: QueueView) -> None:
        """Write it, if it says something new."""
        if view.tasks != self._written:
            with suppress(OSError):
                # of a thousand tasks, too: `to_json` would copy every word
                write_text(self._path, json.dumps({"schema_version": SCHEMA_VERSION, **vars(view)}) + "\n")
                self._written = view.tasks


def read_queue(path: Path) -> QueueView:
    """What the controller kept; nothing where it has kept nothing."""
    with suppress(FileNotFoundError, RecordError):
        view = QueueView.read(path)
        if all(_is_told(task) for task in view.tasks.values()):
            return view
    return QueueView()


def _is_told(task: object) -> bool:
    return isinstance(task, list) and len(task) == 3 and all(isinstance(word, str) for word in task)


def waiting(queue: QueueView) -> Mapping[str, int]:
    """Why tasks wait, in the scheduler's own words, and how many for each reason."""
    return Counter(detail or state for state, detail, _ in queue.tasks.values() if state in WAITING)


def batch_states(study: Study, queue: QueueView, over: Collection[str] = ()) -> list[BatchState]:
    """The batches that are not over, by number.

    Args:
        study: as the journal tells it.
        queue: as the scheduler told it last.
        over: trials that have ended since.
    """
    return [_state(study, batch, queue, over) for batch in study.open_batches]


def _state(study: Study, batch: Batch, queue: QueueView, over: Collection[str]) -> BatchState:
    states: Counter[str] = Counter()
    nodes = []
    for index, name in enumerate(batch.trials):
        trial = study.trials[name]
        if trial.batch != batch.id:
            continue  # it went on in a later batch
        state, detail, node = queue.tasks.get(f"{batch.id}:{index}", ("", "", ""))
        if trial.state in ENDED:
            states[trial.state.value] += 1
        elif name in over:
            states["ended"] += 1
        elif not state:
            states["submitted" if batch.job_id else "not submitted"] += 1
        else:
            states[detail if state in WAITING and detail else state] += 1
            nodes += [node] if state not in WAITING and node else []
    return BatchState(batch, states, list(dict.fromkeys(nodes)))
