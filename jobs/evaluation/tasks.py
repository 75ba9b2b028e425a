"""Judges a model by tasks of lm-eval, in this process."""

from __future__ import annotations

import hashlib
import logging
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval import evaluator
from lm_eval.tasks import TaskManager
from transformers import PreTrainedTokenizerBase

from hpo.records import Metric
from jobs.errors import Diverged, RecipeError
from jobs.evaluation.shards import Shards
from jobs.evaluation.task_data import data_from_cache
from jobs.evaluation.task_model import SEED, Asking, ShardedModel
from jobs.recipes.evaluation import TaskRecipe
from jobs.recipes.task_metrics import Reported, survey

PYTHON_SEED = 0
BOOTSTRAPS = 1000  # only for metrics whose standard error has no closed form


@dataclass(frozen=True)
class Documents:
    """What single documents of a task scored."""

    digest: str  # of the documents: two models are compared one by one only where it is the same
    values: list[float]


@dataclass(frozen=True)
class TaskScores:
    """Everything that tasks say of a model, by the metrics that `jobs.recipes.task_metrics` names."""

    metrics: dict[str, Metric]
    documents: dict[str, Documents] = field(default_factory=dict)  # where the metric is the mean over them
    higher_is_better: dict[str, bool] = field(default_factory=dict)  # where the task says it


def load_tasks(tasks: TaskRecipe, decoding: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Tasks as lm-eval has them, with their documents; see `data_from_cache`.

    Args:
        decoding: how text is generated, where that is not as the tasks say.

    Raises:
        RecipeError: there are no such tasks.
        DataError: a data set is neither in the cache nor within reach.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    found = survey(tasks)
    if found.problems:
        raise RecipeError.of(found.problems)
    random.seed(PYTHON_SEED)  # some tasks shuffle; all seeds are those that lm-eval sets by itself
    np.random.seed(SEED)  # noqa: NPY002 # the one that such tasks draw from
    # Without the defaults, whose index takes seconds.
    manager = TaskManager(include_path=list(found.folders), include_defaults=False)
    loaded: dict[str, Any] = manager.load(list(found.names))
    for task in loaded["tasks"].values():
        own = task.get_config("num_fewshot")
        if own != 0 and (own is None or tasks.fewshot is not None):  # 0 means that a task cannot have any
            task.set_config("num_fewshot", tasks.fewshot or 0)
        task.set_fewshot_seed(SEED)
        if decoding:
            task.set_config("generation_kwargs", dict(decoding), update=True)
    return loaded


def judge_by_tasks(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    tasks: TaskRecipe,
    cache: Path,
    asking: Asking,
    shards: Shards,
    decoding: Mapping[str, Any] | None = None,
    *,
    each: bool = False,
) -> TaskScores:
    """Judge a model by every task of a recipe; its training mode is put back afterwards.

    Args:
        shards: shards that are finished, and the place for those to come.
        each: also tell what each document scored.

    Returns:
        Every metric that `jobs.recipes.task_metrics` names, with its standard error where it has one.

    Raises:
        Diverged: a log-likelihood or a metric is no finite number.
        TrialError: see `load_tasks`; or a task does not report what its file names.
    """
    training = model.training
    with data_from_cache(cache, tasks.place):
        loaded = load_tasks(tasks, decoding)
        asked = ShardedModel(model, tokenizer, asking, shards)  # which puts the model into evaluation mode
        found: Mapping[str, Any] | None = evaluator.evaluate(
            asked,
            loaded,
            limit=tasks.limit,
            bootstrap_iters=BOOTSTRAPS,
            log_samples=each,
            apply_chat_template=tasks.chat_template,
            fewshot_as_multiturn=tasks.chat_template,
        )
    model.train(training)
    assert found is not None  # only processes beside the first one get none
    reported = survey(tasks).reported
    metrics = read_results(found["results"], reported)
    if not each:
        return TaskScores(metrics)
    known = {one.name: found["higher_is_better"].get(one.task, {}).get(one.metric) for one in reported}
    higher = {name: answer for name, answer in known.items() if answer is not None}
    return TaskScores(metrics, read_documents(found["samples"], reported, metrics), higher)


def read_documents(
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    reported: Sequence[Reported],
    metrics: Mapping[str, Metric],
) -> dict[str, Documents]:
    """What each document scored, by metric, where the metric is the mean over the documents.

    Args:
        samples: lm-eval's, by task.
    """
    found = {}
    for one in reported:
        own = [sample for sample in samples.get(one.task, ()) if sample["filter"] == one.filter]
        values = [sample.get(one.metric) for sample in own]
        numbers = [float(value) for value in values if isinstance(value, int | float | np.number)]
        if not numbers or len(numbers) < len(values):  # as of a perplexity, made of sums
            continue
        if math.isclose(
            math.fsum(numbers) / len(numbers), metrics[one.name].value, rel_tol=1e-9, abs_tol=1e-12
        ):
            digest = hashlib.sha256("".join(str(sample["doc_hash"]) for sample in own).encode())
            found[one.name] = Documents(digest.hexdigest()[:20], numbers)
    return found


def read_results(results: dict[str, dict[str, Any]], reported: Sequence[Reported]) -> dict[str, Metric]:
    """Our metrics out of lm-eval's results.

    Args:
        results: by task or group, then by `metric,filter`.

    Raises:
        RecipeError: a value is missing.
        Diverged: a value is no finite number.
    """
    metrics = {}
    for one in reported:
        values = results[one.task]
        if one.key not in values:
            held = ", ".join(sorted(name for name in values if "," in name and "_stderr" not in name))
            raise RecipeError(
                f"evaluation.tasks: got no {one.metric} from {one.task}, expected one of {held}",
                "choose with evaluation.tasks.metrics",
            )
        value, error = float(values[one.key]), values.get(one.error_key)
        if not math.isfinite(value):
            raise Diverged(f"{one.name}: got {value}, expected a finite number")
        known = isinstance(error, float) and math.isfinite(error)  # lm-eval writes N/A where it has none
        metrics[one.name] = Metric(value, error if known else None)
    return metrics
