"""The same study on a simulated cluster and on a true Slurm: one journal, but for times, jobs and nodes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from study_runs import StudyRun

from hpo.records import read_jsonl
from slurm.devcluster.files import Layout

# In lock step, and of each batch one trial at most is tried again: so the order in which trials of a batch
# end, which no two clusters share, decides nothing. Evolution proposes by all results; half are children.
# What cannot be the same is left out: whom a preemption meets, and who is behind at a rung at which moment.
DETERMINED = [
    *("experiment=none", "trainer=synthetic", "trainer.seconds=0.4", "trainer.sigma=0"),
    *("trainer.fail_error=0.15", "trainer.fail_diverged=0.1", "fidelity.rungs=[0.25,0.5]"),
    *("strategy=nsga2", "strategy.population=4", "study.seed=1"),
    *("budget.trials=8", "batch.size=4", "batch.refill=4"),
]
SITES = {
    "simulated": ["cluster=simulated"],
    "slurm": ["cluster=slurm", "cluster.mem_gb=0.25", "controller.poll_seconds=0.5"],
}
# Whether a look comes between a task's end and its trial's last word is a matter of time.
OF_TIME = ("task_missing", "task_seen")
SAME = ("event", "batch", "attempt", "cause", "rung", "stop", "retries", "proposals", "reason")


def journal(root: Path, site: str) -> list[dict[str, Any]]:
    """The events of the study, run to its end on a site."""
    run = StudyRun(root / site, options=[*DETERMINED, *SITES[site]])
    assert run.call(*run.command()[3:]) == 0
    return [event for event in read_jsonl(run.paths.journal) if event["event"] not in OF_TIME]


def told(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What happened to each trial, in order; under "", what the study did."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        same = {name: event[name] for name in SAME if name in event}
        objectives = event.get("metrics", {})
        same |= {name: objectives[name] for name in ("eval_loss", "train_seconds") if name in objectives}
        found[event.get("trial", "")].append(same)
    return dict(found)


@pytest.mark.slurm
def test_the_journal_is_that_of_a_true_slurm(tmp_path: Path, cluster: Layout) -> None:
    """Kinds of events, trials, attempts, causes, rungs, results and proposals."""
    true, simulated = (journal(tmp_path, site) for site in ("slurm", "simulated"))
    assert told(simulated) == told(true)
    kinds = {event["event"] for event in true}
    assert {"rung_reached", "attempt_ended", "trial_failed", "trial_completed"} <= kinds
    origins = {trial["origin"] for event in true for trial in event.get("proposals", ())}
    assert len(origins) > 1, origins
