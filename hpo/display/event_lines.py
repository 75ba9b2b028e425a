"""What happens in a study, a plain line an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.display.tables import metrics_text
from hpo.formatting import duration, number, params_text
from hpo.study.snapshot import Running, Snapshot
from hpo.study.state import Event, Study


def event_line(event: Mapping[str, Any], study: Study) -> str:
    """One journal event for people; empty for those that say nothing to them."""
    trial = f"trial {event.get('trial')}"
    batch = f"batch {event.get('batch')}"
    why = f"({event.get('cause')}): {event.get('message')}"
    match event["event"]:
        case Event.BATCH_PLANNED:
            new = [f"{p['trial']} ({p['origin']}: {params_text(p['params'])})" for p in event["proposals"]]
            again = [f"{name} (next attempt)" for name in event["retries"]]
            return f"{batch} planned: {', '.join(new + again)}"
        case Event.BATCH_SUBMITTED:
            count = len(study.batches[event["batch"]].trials)
            return f"{batch} submitted: array {event['job_id']} of {count}"
        case Event.TRIAL_COMPLETED:
            return f"{trial} completed: {metrics_text(study.trials[event['trial']], study.objectives)}"
        case Event.RUNG_REACHED:
            metrics = " ".join(
                f"{name}={number(event['metrics'][name]['value'])}"
                for name in study.objectives
                if name in event["metrics"]
            )
            return f"{trial} at rung {event['rung']:.3g}: {metrics}{', ends there' if event['stop'] else ''}"
        case Event.TRIAL_STOPPED:
            return f"{trial} stopped at rung {event['rung']:.3g}"
        case Event.TRIAL_THAWED:
            return f"{trial} is thawed: it goes on from its checkpoint"
        case Event.ATTEMPT_ENDED:
            return f"{trial} attempt {event['attempt'] or '-'} ended {why}"
        case Event.ATTEMPT_REQUEUED:
            return f"{trial} attempt {event['attempt']} interrupted {why}"
        case Event.TASK_MISSING:
            words = f" ({event['detail']})" if event["detail"] else ""
            return f"{trial} is no longer in the queue{words}, and has no result yet"
        case Event.ADAPTERS_DELETED:
            return f"weights deleted, as study.keep_adapters says: trial {', '.join(event['trials'])}"
        case Event.NODE_EXCLUDED:
            return f"node {event['node']} gets no more trials: {event['message']}"
        case Event.BATCH_SPLIT:
            return f"{batch} is too large for the scheduler now: it becomes two"
        case Event.PROPOSAL_REQUESTED:
            return f"proposals asked of job {event['job_id']}"
        case Event.PROPOSAL_FAILED if not event.get("empty"):
            return f"no proposals: {event['message']}"
        case Event.TRIAL_FAILED:
            return f"{trial} failed {why}"
        case Event.TRIAL_CANCELLED:
            return f"{trial} cancelled {event.get('message', '')}".rstrip()
        case Event.SUBMISSION_FAILED:
            return f"{batch} could not be submitted, trying again later: {event['message']}"
        case Event.NOTIFIED if not event["message"]:
            return f"told that the study is {event['what']}: notify.command ended well"
        case Event.STUDY_FINISHED:
            return f"study {study.ending}: {event['reason']}"
    return ""


def progress_line(one: Running) -> str:
    """A running trial on one plain line."""
    progress = one.progress
    loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
    left = "" if one.seconds_left is None else f", {duration(one.seconds_left)} left"
    steps = f" step {progress.step}/{progress.steps}" if progress.steps else ""
    return f"trial {one.trial.id} {progress.phase}{steps}{loss}{left}"


def waiting_line(snapshot: Snapshot) -> str:
    """Why trials wait, in the scheduler's words."""
    return "waiting: " + ", ".join(f"{count} ({why})" for why, count in snapshot.waiting.items())
