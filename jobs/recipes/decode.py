"""What a trial of decoding is made of: a fixed model, how it generates text, the tasks that judge it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from jobs.errors import sound
from jobs.recipes.evaluation import EvaluationRecipe, TaskRecipe
from jobs.recipes.recipe import ModelRecipe, Quantisation, read_group
from jobs.recipes.task_files import TaskFiles
from jobs.recipes.task_metrics import survey

STRICT = ConfigDict(extra="forbid", protected_namespaces=())
GENERATES = "generate_until"
ADAPTER_FILE = "adapter_config.json"

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Problem = tuple[str, str]


@dataclass(frozen=True, config=STRICT)
class DecodeTrainer:
    """The keys of conf/trainer/decode.yaml."""

    adapter: str | None
    quantisation: Quantisation
    double_quantisation: bool
    do_sample: bool
    temperature: Positive
    top_p: Annotated[float, Field(gt=0, le=1)]
    top_k: Annotated[int, Field(ge=0)]  # 0: all tokens
    repetition_penalty: Positive
    num_beams: Count
    max_gen_toks: Count | None

    @property
    def decoding(self) -> dict[str, Any]:
        """How text is generated, in the words of transformers and lm-eval; the rest is as the tasks say."""
        chosen: dict[str, Any] = {
            "do_sample": self.do_sample,
            "repetition_penalty": self.repetition_penalty,
            "num_beams": self.num_beams,
        }
        if self.do_sample:
            chosen |= {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        return chosen if self.max_gen_toks is None else {**chosen, "max_gen_toks": self.max_gen_toks}


@dataclass(frozen=True, config=STRICT)
class DecodeRecipe:
    """The whole of a trial but for its seed."""

    model: ModelRecipe
    trainer: DecodeTrainer
    evaluation: EvaluationRecipe

    @property
    def tasks(self) -> TaskRecipe:
        """Those of the evaluation, which a recipe without problems has."""
        assert self.evaluation.tasks is not None
        return self.evaluation.tasks


def parse(raw: Mapping[str, Any]) -> DecodeRecipe:
    """Turn plain values into a recipe.

    Args:
        raw: mappings `model`, `trainer` and `evaluation`; others are passed over.

    Raises:
        RecipeError: naming every problem by its key path.
    """
    return sound(*examine(raw))


def examine(raw: Mapping[str, Any]) -> tuple[DecodeRecipe | None, list[Problem]]:
    """What could be read of a recipe, and (key path, what is wrong) for the rest."""
    found: list[Problem] = []
    model = read_group(ModelRecipe, "model", raw, found)
    trainer = read_group(DecodeTrainer, "trainer", raw, found)
    evaluation = read_group(EvaluationRecipe, "evaluation", raw, found)
    if trainer is not None and trainer.adapter is not None:
        folder = Path(trainer.adapter).expanduser()
        if not (folder / ADAPTER_FILE).is_file():
            found.append(("trainer.adapter", f"got {str(folder)!r}, expected a folder with {ADAPTER_FILE}"))
    if evaluation is not None:
        found += _unfit(evaluation)
    if model is None or trainer is None or evaluation is None:
        return None, found
    return DecodeRecipe(model, trainer, evaluation), found


def _unfit(evaluation: EvaluationRecipe) -> Iterator[Problem]:
    if evaluation.plain_too:
        yield "evaluation.bases", "got [4bit, 16bit], expected [4bit]: trainer.quantisation chooses the base"
    if evaluation.samples is not None and evaluation.samples.prompts:
        yield "evaluation.samples.prompts", "got some, expected none: the tasks' answers are what is judged"
    if evaluation.tasks is None:
        text = "got none, expected at least one task of lm-eval that generates text"
        yield "evaluation.tasks", f"{text}\n\nhint: evaluation=tasks 'evaluation.tasks.names=[gsm8k]'"
        return
    found = survey(evaluation.tasks)
    yield from found.problems
    if found.problems:
        return
    files = TaskFiles(evaluation.tasks.place)
    for name in dict.fromkeys(one.task for one in found.reported):
        file = files.find(name)
        kind = GENERATES if file is None or "group" in file.content else _kind(file.content)
        if kind != GENERATES:
            yield "evaluation.tasks.names", f"got {name} ({kind}), expected tasks that generate text"


def _kind(task: Mapping[str, Any]) -> str:
    return str(task.get("output_type", GENERATES))
