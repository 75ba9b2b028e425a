"""What a study at demo scale came to: a record, and one line of it for each kind of published study."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.records import Record
from hpo.comparison.arm_gains import gains_of
from hpo.formatting import number, params_text
from hpo.objectives import parse_objectives
from hpo.paths import StudyPaths
from hpo.records import Cause, read_jsonl
from hpo.study.journal import load_study
from hpo.study.state import Study, Trial, TrialState

GROUPS = {
    "openllama": ["openllama_3b", "openllama_7b", "openllama_13b"],
    "lora_pareto": ["lora_pareto_1", "lora_pareto_2", "lora_pareto_3", "lora_pareto_4"],
    "partition": ["partition_lhs", "partition_bo", "partition_soo", "partition_bamsoo"],
    "challenge": ["challenge_24gb", "challenge_40gb"],
    "guide": ["guide_alpaca"],
}
# of the partition studies: the objective, the other task
SCORE, TESTED = "demo_words_acc", "demo_numbers_acc"
_KEPT = ("eval_loss", "eval_loss_16bit", "train_seconds", "peak_memory_gib", SCORE, TESTED)


def outcome_of(paths: StudyPaths) -> Record:
    """What the journals of a study and its arms say.

    Args:
        paths: of the study.

    Returns:
        Counts, the untuned model's metrics, and each completed trial's parameters and metrics, as
        (value, standard error).
    """
    study = load_study(paths.journal)
    folders = sorted(paths.folder.parent.glob(f"{paths.folder.name}-*"))
    arms = {
        folder.name.removeprefix(f"{paths.folder.name}-"): load_study(StudyPaths(folder).journal)
        for folder in folders
    }
    completed = {name: arm.in_state(TrialState.COMPLETED) for name, arm in arms.items()}
    gains = gains_of(study.in_state(TrialState.COMPLETED), completed, parse_objectives(study.objectives))
    preempted = [end.trial for end in study.ends if end.cause is Cause.PREEMPTED]
    return {
        "trials": sum(len(own.trials) for own in (study, *arms.values())),
        "failed": sum(len(own.in_state(TrialState.FAILED)) for own in (study, *arms.values())),
        "preempted": len(preempted),
        "resumed_at": _resumed_at(paths, preempted[0]) if preempted else None,
        "baseline": study.baseline,
        "pilot": _rows(study),
        "arms": {
            name: {
                "trials": _rows(arms[name]),
                "extends": gain.extends,
                "volume": None if math.isnan(gain.volume) else gain.volume,  # of a pilot without hypervolume
            }
            for name, gain in gains.items()
        },
    }


def _resumed_at(paths: StudyPaths, trial: str) -> int | None:
    """The first step that a later attempt of a trial logged; None where there was none."""
    lines = [line for line in read_jsonl(paths.trial(trial).progress) if line["phase"] == "training"]
    return next((line["step"] for line in lines if line["attempt"] > 1), None)


def _rows(study: Study) -> list[Record]:
    return [_row(trial, study.objectives) for trial in study.in_state(TrialState.COMPLETED)]


def _row(trial: Trial, objectives: dict[str, Any]) -> Record:
    kept = {name: own for name, own in trial.metrics.items() if name in objectives or name in _KEPT}
    return {
        "origin": trial.origin,
        "params": trial.params,
        "metrics": {name: [own.value, own.standard_error] for name, own in kept.items()},
    }


def with_error(metric: Sequence[float | None]) -> str:
    """A value and its standard error.

    Args:
        metric: the two; the error may be None.
    """
    value, error = metric
    return f"{number(value)} ± {error:.2g}" if error else number(value)


def best(rows: Sequence[Record], metric: str, sign: int = 1) -> Record:
    """The row that is least in a metric, or greatest with sign -1.

    Args:
        rows: completed trials, at least one with the metric.
        metric: its name.
        sign: 1 or -1.
    """
    return min(
        (row for row in rows if metric in row["metrics"]), key=lambda row: sign * row["metrics"][metric][0]
    )


def everything(record: Record) -> list[Record]:
    """The completed trials of a study and its arms."""
    return [*record["pilot"], *(row for arm in record["arms"].values() for row in arm["trials"])]


def _openllama(record: Record) -> str:
    metric = "demo_words_acc_norm"
    found = best(record["pilot"], metric, -1)
    at = params_text(found["params"])
    return f"{with_error(found['metrics'][metric])} ({at}), untuned {number(record['baseline'][metric])}"


def _lora_pareto(record: Record) -> str:
    return "; ".join(
        f"{name}: {arm['extends']} of {len(arm['trials'])} extend it, {_volume(arm['volume'])}"
        for name, arm in record["arms"].items()
    )


def _volume(ratio: float | None) -> str:
    return "the pilot's hypervolume being 0" if ratio is None else f"hypervolume x {ratio:.3f}"


def _partition(record: Record) -> str:
    reached = {"": record["pilot"]} | {
        f" ({name})": [*record["pilot"], *arm["trials"]] for name, arm in record["arms"].items()
    }
    texts = [f"{with_error(best(rows, SCORE, -1)['metrics'][SCORE])}{name}" for name, rows in reached.items()]
    return f"best of {', '.join(texts)}; untuned {number(record['baseline'][SCORE])}"


def _challenge(record: Record) -> str:
    recipe, found = record["pilot"][0], best(record["pilot"], "eval_loss")
    texts = [with_error(row["metrics"]["eval_loss"]) for row in (recipe, found)]
    text = f"the winner's recipe {texts[0]}, the best {texts[1]} ({params_text(found['params'])})"
    plain = found["metrics"].get("eval_loss_16bit")
    return text + (f", in 16 bit {number(plain[0])}" if plain else "")


def _guide(record: Record) -> str:
    texts = [
        f"{row['params']['quantisation']} {with_error(row['metrics']['eval_loss'])}"
        for row in record["pilot"]
    ]
    return f"eval_loss: {', '.join(texts)}; untuned {number(record['baseline']['eval_loss'])}"


_TEXTS: dict[str, Callable[[Record], str]] = {
    "openllama": _openllama,
    "lora_pareto": _lora_pareto,
    "partition": _partition,
    "challenge": _challenge,
    "guide": _guide,
}
PRESENT = {name: _TEXTS[group] for group, names in GROUPS.items() for name in names}
