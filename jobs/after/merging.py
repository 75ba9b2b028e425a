"""An adapter merged into the base model that is not quantised: a model folder like any other."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from hpo.records import Metric, Progress, TrialResult, TrialSpec
from jobs.after.adapter_evaluation import provenance
from jobs.attempt.attempt import Attempt
from jobs.attempt.card import Card
from jobs.attempt.console import say
from jobs.attempt.disk import disk_errors
from jobs.errors import ModelError
from jobs.models.base_model import obtain_base
from jobs.models.libraries import quiet
from jobs.models.precision import of_this_machine
from jobs.prepare.bases import on_base
from jobs.recipes.evaluation import JudgedBase
from jobs.recipes.recipe import Recipe, parse

PROBE_TOKENS = 32
# Root mean square of the difference over the standard deviation of the logits. A merged weight is rounded to
# the base's format: relative 2^-9 in bfloat16, 2^-11 in float16, and the errors of a layer add up like noise.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.05}


def run(spec: TrialSpec, attempt: Attempt) -> TrialResult:
    """Merge, compare, and write the folder that `merge.into` of the recipe names, whole or not at all.

    Raises:
        ModelError: the merged model does not compute what base model and adapter do.
        TrialError: see `jobs.errors`.
    """
    quiet()
    recipe, into = on_base(parse(spec.recipe), JudgedBase.PLAIN), Path(spec.recipe["merge"]["into"])
    progress = attempt.progress()
    progress.phase(Progress(attempt.number, "loading"))
    precision = of_this_machine()
    card = Card.of(precision.device)
    attempt.log.on_device(card.name)
    base = obtain_base(recipe, Path(spec.cache), say)
    assert spec.adapter is not None
    merged, difference = _merge_somewhere(base.folder, Path(spec.adapter), recipe, precision.device)
    say(f"logits differ by {difference:.1e} of their spread")
    progress.phase(Progress(attempt.number, "saving"))
    trust = recipe.model.trust_remote_code
    tokenizer = cast(
        PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(base.folder, trust_remote_code=trust)
    )
    attempt.owner.confirm()
    attempt.insist(lambda: _write(merged, tokenizer, into), "write the merged weights")
    size = sum(file.stat().st_size for file in into.iterdir())
    progress.phase(Progress(attempt.number, "done"))
    metrics = {"logit_difference": Metric(difference), "bytes": Metric(size)}
    dtype = str(merged.dtype).removeprefix("torch.")
    details = {
        **provenance(card, precision),
        "dtype": dtype,
        "hashes": {"recipe": spec.recipe_hash, "base": base.key},
    }
    return TrialResult(spec.trial, attempt.number, metrics, details)


def _merge_somewhere(base: Path, adapter: Path, recipe: Recipe, device: torch.device) -> tuple[Any, float]:
    """See `merge`; on the CPU where the card is too small for a model that is not quantised."""
    try:
        return merge(base, adapter, recipe, device)
    except torch.OutOfMemoryError:
        say("the card is too small for the model that is not quantised: merging on the CPU")
    return merge(base, adapter, recipe, torch.device("cpu"))


def merge(base: Path, adapter: Path, recipe: Recipe, device: torch.device) -> tuple[Any, float]:
    """Merge an adapter into a base model, in the number format of the base.

    Returns:
        The merged model, and the root mean square by which its logits differ from those of base and adapter
        on a fixed row of tokens, as a share of their standard deviation.

    Raises:
        ModelError: they differ by more than rounding explains.
    """
    trust = recipe.model.trust_remote_code
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype="auto", device_map={"": device}, trust_remote_code=trust
    )
    adapted: Any = PeftModel.from_pretrained(model, str(adapter)).eval()
    generator = torch.Generator().manual_seed(0)
    probe = torch.randint(model.config.vocab_size, (1, PROBE_TOKENS), generator=generator)
    probe = probe.to(device)
    with torch.no_grad():
        before = adapted(input_ids=probe).logits.double()
        merged = adapted.merge_and_unload(safe_merge=True)  # which refuses weights that are not finite
        after = merged(input_ids=probe).logits.double()
    difference = float((after - before).square().mean().sqrt() / before.std())
    tolerance = TOLERANCE.get(merged.dtype, TOLERANCE[torch.bfloat16])
    if not difference <= tolerance:
        raise ModelError(
            f"merged weights: their logits differ by {difference:.2g} of the logits' spread from those of "
            f"base model and adapter, expected at most {tolerance:g} in {merged.dtype}",
            "use base model and adapter as they are",
        )
    return merged, difference


def _write(merged: Any, tokenizer: PreTrainedTokenizerBase, into: Path) -> None:
    made = into.with_name(f".{into.name}.{uuid.uuid4().hex}.tmp")
    try:
        with disk_errors():
            merged.save_pretrained(str(made))
            tokenizer.save_pretrained(str(made))
        shutil.rmtree(into, ignore_errors=True)
        made.rename(into)
    finally:
        shutil.rmtree(made, ignore_errors=True)
