"""How a trained adapter is judged: by the loss, by tasks of lm-eval, by reading. Loads no torch."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", protected_namespaces=())
Count = Annotated[int, Field(ge=1)]
DEMO = "demo"  # as evaluation.tasks.folder: the tasks that come with the package
DEMO_TASKS = Path(__file__).resolve().parents[1] / "demo_tasks"


class JudgedBase(StrEnum):
    """The base model under the adapter while it is judged."""

    AS_TRAINED = "4bit"  # as trainer.quantisation says
    PLAIN = "16bit"  # not quantised; float32 where there is no card


def _as_trained_first(chosen: list[JudgedBase]) -> list[JudgedBase]:
    if chosen not in ([JudgedBase.AS_TRAINED], [JudgedBase.AS_TRAINED, JudgedBase.PLAIN]):
        got = ", ".join(chosen)
        raise ValueError(f"got [{got}], expected [4bit] or [4bit, 16bit]")
    return chosen


def _some(names: list[str]) -> list[str]:
    if not names or not all(name.strip() for name in names):
        raise ValueError(f"got {names}, expected at least one name, and none that is empty; null for all")
    return names


Names = Annotated[list[str], AfterValidator(_some)]


@dataclass(frozen=True, config=STRICT)
class TaskRecipe:
    """Tasks of lm-eval, by name or from a folder of task files."""

    names: Names | None  # tasks, groups and tags; null: every task of the folder
    folder: str | None
    metrics: Names | None  # null: all that the tasks name
    limit: Count | None  # the first documents of each task; null: all
    fewshot: Annotated[int, Field(ge=0)] | None  # null: what the task says
    chat_template: bool
    shard_documents: Count

    @property
    def place(self) -> Path | None:
        """The folder of task files; None: there is none."""
        if self.folder is None:
            return None
        return DEMO_TASKS if self.folder == DEMO else Path(self.folder).expanduser()


@dataclass(frozen=True, config=STRICT)
class SampleRecipe:
    """Prompts that the model answers for people to read, always with the most probable token."""

    prompts: list[str | dict[str, Any]]  # texts, or rows as data.template reads them, without the answer
    max_new_tokens: Count
    validation: Annotated[int, Field(ge=0)] = 0  # the first so many held-out examples that have a prompt

    @property
    def wanted(self) -> bool:
        """Whether there is anything to be answered."""
        return bool(self.prompts or self.validation)


@dataclass(frozen=True, config=STRICT)
class EvaluationRecipe:
    """How the trained adapter is judged."""

    batch_size: Count  # sequences a forward pass
    bases: Annotated[list[JudgedBase], AfterValidator(_as_trained_first)]
    samples: SampleRecipe | None = None
    tasks: TaskRecipe | None = None

    @property
    def samples_wanted(self) -> bool:
        """Whether there is anything to be answered."""
        return self.samples is not None and self.samples.wanted

    @property
    def plain_too(self) -> bool:
        """Whether the adapter is also judged on the base model that is not quantised."""
        return JudgedBase.PLAIN in self.bases
