"""Judges a model by the loss, by tasks and by samples, on each base model that the recipe names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hpo.records import Metric
from jobs.attempt.card import release_unused
from jobs.attempt.console import say
from jobs.data.tokens import Collator, Tokens
from jobs.evaluation.shards import Shards
from jobs.evaluation.validation_loss import Judgement, evaluate
from jobs.models.base_model import load, obtain_base
from jobs.models.precision import Precision
from jobs.recipes.metrics import EVAL_LOSS, PLAIN_SUFFIX
from jobs.recipes.recipe import Quantisation, Recipe

if TYPE_CHECKING:
    from jobs.evaluation.tasks import TaskScores


@dataclass(frozen=True)
class Judge:
    """Everything that a model is judged with."""

    recipe: Recipe
    cache: Path
    tokenizer: PreTrainedTokenizerBase
    examples: list[Tokens]  # held out
    collator: Collator
    precision: Precision

    def loss(self, model: torch.nn.Module, shards: Shards, after_batch: Callable[[], None]) -> Judgement:
        """The loss on the held-out examples.

        Args:
            shards: what is known of it already.

        Raises:
            Diverged: it is not finite.
        """
        size = self.recipe.evaluation.batch_size

        def compute() -> list[Any]:
            found = evaluate(model, self.examples, self.collator, size, self.precision, after_batch)
            return [found.loss, found.standard_error, found.examples, found.tokens]

        asked = [example.content for example in self.examples]
        return Judgement(*shards.obtain("loss", asked, compute))

    def tasks(
        self, model: torch.nn.Module, shards: Shards, after_batch: Callable[[], None]
    ) -> dict[str, Metric]:
        """The metrics of the recipe's tasks, if it has any.

        Raises:
            TrialError: see `jobs.evaluation.tasks.judge_by_tasks`.
        """
        if self.recipe.evaluation.tasks is None:
            return {}
        return self.scores(model, shards, after_batch).metrics

    def scores(
        self, model: torch.nn.Module, shards: Shards, after_batch: Callable[[], None], *, each: bool = False
    ) -> TaskScores:
        """Everything that the recipe's tasks say of a model; it has some.

        Args:
            each: also tell what each document scored.

        Raises:
            TrialError: see `jobs.evaluation.tasks.judge_by_tasks`.
        """
        evaluation = self.recipe.evaluation
        assert evaluation.tasks is not None
        from jobs.evaluation.task_model import Asking  # lm-eval: seconds of imports
        from jobs.evaluation.tasks import judge_by_tasks

        asking = Asking(evaluation.batch_size, evaluation.tasks.shard_documents, self.precision, after_batch)
        return judge_by_tasks(model, self.tokenizer, evaluation.tasks, self.cache, asking, shards, each=each)

    def samples(
        self, model: torch.nn.Module, shards: Shards, after_batch: Callable[[], None]
    ) -> dict[str, Any]:
        """What a model writes to the prompts that the recipe wants answered; see `samples.sample`.

        Raises:
            TrialError: see `samples.sample`.
        """
        from jobs.evaluation.questions import questions_of
        from jobs.evaluation.samples import sample

        questions = questions_of(self.recipe, self.tokenizer, self.examples)
        return sample(model, self.tokenizer, self.recipe, questions, self.precision, shards, after_batch)

    def plain_base(self) -> tuple[PreTrainedModel, str]:
        """The base model that is not quantised, and the key of its content.

        Raises:
            ModelError: see `jobs.models.base_model`.
        """
        unquantised = replace(self.recipe.trainer, quantisation=Quantisation.NONE)
        base = obtain_base(replace(self.recipe, trainer=unquantised), self.cache, say)
        return load(base.folder, self.recipe.model, self.precision), base.key


def on_plain(loss: Metric, tasks: dict[str, Metric]) -> dict[str, Metric]:
    """The metrics under the names that they have on the base model that is not quantised."""
    return {f"{name}{PLAIN_SUFFIX}": metric for name, metric in {EVAL_LOSS: loss, **tasks}.items()}


def release(model: torch.nn.Module) -> None:
    """Give back the memory of the weights that were not trained; the model cannot be used any more.

    Args:
        model: with an adapter, which can still be saved.
    """
    for weight in model.parameters():
        if not weight.requires_grad:
            weight.data = torch.empty(0, dtype=weight.dtype, device=weight.device)
    release_unused()
