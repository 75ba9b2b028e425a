"""The model as lm-eval asks it: shard by shard of the documents, and what is known is not asked again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList

from jobs.attempt.card import halving
from jobs.evaluation.shards import Answers, Shards
from jobs.models.precision import Precision

SEED = 1234  # lm-eval's own


@dataclass(frozen=True)
class Asking:
    """How a model is asked."""

    batch_size: int  # requests a forward pass; halved where the card's memory does not suffice
    shard_documents: int
    precision: Precision
    after_batch: Callable[[], None]  # called after every forward pass
    seed: int = SEED  # of sampled answers, set before every shard, so that each stands for itself


class ShardedModel(HFLM):  # type: ignore[misc]
    """lm-eval's model of transformers, with every request answered within a fixed shard of the documents.

    The requests of a shard make up its batches, whatever comes before: so a shard that is read from `shards`
    has the same bits as one that is computed.
    """

    def __init__(
        self, model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, asking: Asking, shards: Shards
    ) -> None:
        self._asking = asking
        self._shards = shards
        precision = asking.precision
        super().__init__(
            pretrained=model,
            tokenizer=tokenizer,
            batch_size=asking.batch_size,
            softmax_dtype="float32",  # else that of the logits: float16 on a V100
            mixed_precision_dtype=precision.compute if precision.autocast else None,
        )

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[Any]:
        """Of continuations; see lm-eval.

        Args:
            requests: of several tasks, one task and document after the other.
        """
        return [tuple(answer) for answer in self._sharded(requests, super().loglikelihood, "loglikelihood")]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[Any]:
        """Of whole texts; see lm-eval."""
        return self._sharded(requests, super().loglikelihood_rolling, "rolling")

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[Any]:
        """Text up to a stop sign; see lm-eval."""
        return self._sharded(requests, super().generate_until, "generated")

    def _sharded(self, requests: list[Any], compute: Callable[..., Answers], kind: str) -> Answers:
        def shard(request: Any) -> tuple[str, int]:
            return request.task_name, request.doc_id // self._asking.shard_documents

        answers: Answers = []
        for (task, number), part in groupby(requests, key=shard):
            asked = list(part)
            name = f"{task}-{kind}-{number:05}"
            answers += self._shards.obtain(
                name, [request.args for request in asked], partial(self._compute, compute, asked)
            )
        return answers

    def _compute(self, compute: Callable[..., Answers], asked: list[Any]) -> Answers:
        """The answers of one shard; each begins with the recipe's batch, so that its bits stay the same."""

        def ask(size: int) -> Answers:
            self.batch_size_per_gpu = size
            torch.manual_seed(self._asking.seed)
            return compute(asked, disable_tqdm=True)

        answers, _ = halving(ask, self._asking.batch_size, f"task {asked[0].task_name}")
        return answers

    def _model_call(self, *args: Any, **kwargs: Any) -> Any:
        logits = super()._model_call(*args, **kwargs)
        self._asking.after_batch()
        return logits

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **kwargs: Any) -> Any:
        with torch.no_grad():
            if kwargs.get("num_beams", 1) > 1:
                tokens = self._search_beams(context, max_length, stop, kwargs)
            else:
                tokens = super()._model_generate(context, max_length, stop, **kwargs)
        self._asking.after_batch()
        return tokens

    def _search_beams(self, context: Any, max_length: int, stop: list[str], wishes: dict[str, Any]) -> Any:
        """As lm-eval does, but for its stop signs, which end a whole batch with the first few beams of it."""
        if not wishes.get("do_sample"):
            wishes = {name: wish for name, wish in wishes.items() if name != "temperature"}
        signs = StopSigns(stop, self.tokenizer, context.shape[1])
        with torch.autocast(
            self.device.type, self.mixed_precision_dtype, enabled=self.mixed_precision_dtype is not None
        ):
            return self.model.generate(
                input_ids=context,
                max_length=max_length,
                stopping_criteria=StoppingCriteriaList([signs]),
                pad_token_id=self.tokenizer.pad_token_id,
                **wishes,
            )


class StopSigns(StoppingCriteria):
    """Ends every beam by itself, once a stop sign is in what it has written.

    Args:
        begin: tokens of the question, padding included.
    """

    def __init__(self, signs: list[str], tokenizer: PreTrainedTokenizerBase, begin: int) -> None:
        self._signs, self._tokenizer, self._begin = signs, tokenizer, begin

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Which of the n rows of tokens (n x length) have ended: n truth values."""
        texts = self._tokenizer.batch_decode(input_ids[:, self._begin :])
        ended = [any(sign in text for sign in self._signs) for text in texts]
        return torch.tensor(ended, device=input_ids.device)
