"""The evaluation of a trial's adapter: what is finished is kept, whatever happens to the attempt."""

from __future__ import annotations

import shutil
import time
from typing import Any, cast

from peft import PeftModel

from hpo.records import Metric, write_json
from jobs.attempt.attempt import Attempt
from jobs.attempt.console import complain
from jobs.cache import key_of
from jobs.errors import OutOfMemory
from jobs.evaluation.judging import Judge, on_plain, release
from jobs.evaluation.shards import StoredShards
from jobs.evaluation.validation_loss import Judgement
from jobs.models.adapter import adapter_digest
from jobs.recipes.recipe import Quantisation
from jobs.training.loop import progress_line
from jobs.training.trainer import AdapterTrainer


class TrialEvaluation:
    """Judges the adapter of one attempt.

    Args:
        base_key: of the base model that the adapter was trained on.
    """

    def __init__(self, trainer: AdapterTrainer, attempt: Attempt, judge: Judge, base_key: str) -> None:
        self._trainer, self._attempt, self._judge, self._base_key = trainer, attempt, judge, base_key
        self._adapted = cast(PeftModel, trainer.model)
        self._digest = adapter_digest(self._adapted)
        self._judgement: Judgement | None = None
        self._tasks: dict[str, Metric] = {}
        self.seconds = 0.0  # over all attempts, as far as their parts are used

    def as_trained(self) -> tuple[Judgement, dict[str, Metric]]:
        """The loss, and every metric of the tasks.

        Raises:
            TrialError: see `Judge`.
        """
        self._trainer.surroundings.progress.phase(progress_line(self._trainer, "evaluating"))
        evaluation = self._judge.recipe.evaluation
        if evaluation.tasks is not None or evaluation.plain_too or evaluation.samples_wanted:
            self._trainer.save_now()  # hours may follow, in which only their own parts are saved
        self._drop_other_adapters()
        self._judgement, self._tasks = self._judged(self._adapted, self._base_key)
        return self._judgement, self._tasks

    def write_samples(self) -> None:
        """Write what the adapted model says to the recipe's prompts, if it has any.

        They are for people to read: a card that is too small for them spoils no trial.

        Raises:
            TrialError: see `Judge`.
        """
        if not self._judge.recipe.evaluation.samples_wanted:
            return
        began, shards = time.monotonic(), self._shards(self._base_key)
        try:
            samples = self._judge.samples(self._adapted, shards, self._after_batch)
        except OutOfMemory as error:
            complain(f"going on without sample generations: {error}")
            return
        self.seconds += time.monotonic() - began + shards.earlier_s
        self._attempt.owner.confirm()
        path = self._attempt.paths.samples
        self._attempt.insist(lambda: write_json(path, samples), "write the sample generations")

    def on_plain_base(self) -> dict[str, Metric]:
        """The same of the saved adapter on the base model that is not quantised, if the recipe asks for it.

        After that the trained model is of no use any more: both may not fit into the card.

        Raises:
            TrialError: see `Judge`.
        """
        recipe = self._judge.recipe
        assert self._judgement is not None
        if not recipe.evaluation.plain_too:
            return {}
        if recipe.trainer.quantisation is Quantisation.NONE:
            return on_plain(_loss(self._judgement), self._tasks)
        release(self._adapted)
        base, key = self._judge.plain_base()
        adapted = PeftModel.from_pretrained(base, str(self._attempt.paths.adapter))
        judgement, tasks = self._judged(adapted, key)
        return on_plain(_loss(judgement), tasks)

    def _judged(self, model: Any, base_key: str) -> tuple[Judgement, dict[str, Metric]]:
        began, shards, judge = time.monotonic(), self._shards(base_key), self._judge
        judgement = judge.loss(model, shards, self._after_batch)
        tasks = judge.tasks(model, shards, self._after_batch)
        self.seconds += time.monotonic() - began + shards.earlier_s
        return judgement, tasks

    def _shards(self, base_key: str) -> StoredShards:
        judge, paths = self._judge, self._attempt.paths
        compute, size = str(judge.precision.compute), judge.recipe.evaluation.batch_size
        folder = paths.evaluation / self._digest / key_of(base=base_key, compute=compute, batch_size=size)
        return StoredShards(folder, self._attempt.owner.confirm)

    def _after_batch(self) -> None:
        surroundings = self._trainer.surroundings
        surroundings.progress.step(progress_line(self._trainer, "evaluating"))
        if surroundings.signals.due:
            self._trainer.save_now()  # what is not kept of the evaluation starts anew from here

    def _drop_other_adapters(self) -> None:
        """Remove the parts of adapters of steps that were trained again, to other bits."""
        self._attempt.owner.confirm()
        for folder in self._attempt.paths.evaluation.glob("*"):
            if folder.name != self._digest:
                shutil.rmtree(folder, ignore_errors=True)


def _loss(judgement: Judgement) -> Metric:
    return Metric(judgement.loss, judgement.standard_error)
