"""What a trial learns from and is judged by: files or hub data sets, alone or mixed. Loads no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", protected_namespaces=())
FORMATS = (".jsonl", ".json", ".csv", ".parquet")
COMPRESSED = (".gz", ".zst")
TEMPLATE_FILES = (".jinja", ".jinja2", ".j2")
ALONE = "data"  # the name of the only source where data.sources is empty
Count = Annotated[int, Field(ge=1)]


class Template(StrEnum):
    """How a row becomes a prompt and a response; see `jobs.data.templates`."""

    ALPACA = "alpaca"
    AUTO = "auto"  # by the columns of the first row
    CHAT = "chat"
    COMPLETION = "completion"
    HUMAN_ASSISTANT = "human_assistant"
    TEXT = "text"


class LossOn(StrEnum):
    """Which answers of a conversation are learned."""

    LAST = "last"
    ALL = "all"


class BadRows(StrEnum):
    """What follows from a row that cannot be read as the template wants."""

    STOP = "stop"
    SKIP = "skip"  # counted, up to data.bad_rows_limit


class Duplicates(StrEnum):
    """Which examples count as equal: capitals and white space make no difference."""

    NONE = "none"
    EXAMPLE = "example"  # prompt and response
    PROMPT = "prompt"


class CurateBy(StrEnum):
    """What the untuned base model does badly at, so that it is read more often."""

    NONE = "none"
    SOURCE = "source"  # the mean of the examples of its source and kind
    EXAMPLE = "example"  # its own
    SCORE = "score"  # how badly it answers those of its source and kind, not their loss


class Missing(StrEnum):
    """What becomes of a set of the hub that is not in the cache, as it could not be had."""

    STOP = "stop"
    SKIP = "skip"  # of a mixture; the others are read


class Packing(StrEnum):
    """How the training examples of a forward pass lie beside each other."""

    NONE = "none"  # one a row, padded; those of like length are read together
    PACKED = "packed"  # end to end in one row; read in random order


def _known_template(name: str) -> str:
    known = [template.value for template in Template]
    if name in known or "{%" in name or name.endswith(TEMPLATE_FILES):
        return name
    listed = ", ".join(repr(template) for template in known)
    raise ValueError(
        f"got {name!r}, expected {listed}, Jinja text with {{% generation %}} before the response, "
        "or a file of it that ends in .jinja"
    )


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"got {text!r}: {error}, expected a regular expression") from error
    return text


TemplateName = Annotated[str, AfterValidator(_known_template)]
Expression = Annotated[str, AfterValidator(_expression)]
Share = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]  # beyond, powers of losses overflow
Columns = dict[str, str | None]  # name that the template reads -> name in the data; None: not to be read


@dataclass(frozen=True, config=STRICT)
class HubRecipe:
    """Which part of a hub data set is read."""

    subset: str | None = None
    split: str = "train"
    revision: str | None = None


@dataclass(frozen=True, config=STRICT)
class FilterRecipe:
    """What is left out before the caps; nothing where a rule is not set. Lengths in tokens."""

    min_tokens: Count | None = None
    max_tokens: Count | None = None
    min_response_tokens: Count | None = None
    duplicates: Duplicates = Duplicates.NONE
    keep: list[Expression] = field(default_factory=list)
    drop: list[Expression] = field(default_factory=list)
    empty_response: bool = False
    max_repetition: Share | None = None
    min_word_characters: Share | None = None


@dataclass(frozen=True, config=STRICT)
class CurationRecipe:
    """How often an epoch reads each training example; see `jobs.evaluation.curation`."""

    by: CurateBy = CurateBy.NONE
    strength: Strength = 1.0  # an example is read in proportion to its loss to this power
    exact_match_share: Share | None = None  # of what an epoch reads; None: as the weights have it
    exact_match_tokens: Count = 8  # responses of at most so many are exact-match; the end mark is one
    scored: Count = 256  # by source: examples of each source and kind whose loss is taken
    examples: Count | None = None  # an epoch reads; None: as many as without curation
    seed: int = 0  # of the draw

    @property
    def active(self) -> bool:
        """Whether anything differs from the mixture as its weights have it."""
        return not (self.by is CurateBy.NONE and self.exact_match_share is None and self.examples is None)


@dataclass(frozen=True, config=STRICT)
class DataSizes:
    """How much there is to read, for forecasts before the data is here."""

    rows: Count
    tokens: Annotated[float, Field(gt=0)]  # of an example, prompt and response, on average


@dataclass(frozen=True, config=STRICT)
class SourceRecipe:
    """One part of a mixture; `path` as in DataRecipe, and what is None is as there."""

    path: str | None
    template: TemplateName | None = None
    columns: Columns | None = None
    hub: HubRecipe = field(default_factory=HubRecipe)
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0  # how often an epoch reads an example
    cap: Count | None = None  # of the training examples
    copies: Count = 1  # of each example, times the weight
    where: dict[str, Expression] = field(default_factory=dict)  # column -> what its text must hold to be read


@dataclass(frozen=True)
class DataSource:
    """One part of the data with nothing left open."""

    name: str
    path: str | None
    template: str
    columns: Mapping[str, str | None]
    hub: HubRecipe
    weight: float
    cap: int | None
    where: Mapping[str, str] = field(default_factory=dict)
    may_lack: bool = False  # data.missing=skip: it has no rows where the cache lacks it

    @property
    def on_hub(self) -> bool:
        """Whether it is named as on the hub: owner/name, without the ending of a data file."""
        return self.path is not None and hub_name(self.path)

    @property
    def origin(self) -> str:
        """For messages."""
        return self.path or "the generated data"


@dataclass(frozen=True, config=STRICT)
class DataRecipe:
    """Examples to learn from and to be judged by; lengths in tokens."""

    path: str | None
    template: TemplateName
    max_length: Annotated[int, Field(ge=8)]
    train_examples: Count | None
    validation_examples: Count | None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: int
    packing: Packing = Packing.NONE
    columns: Columns = field(default_factory=dict)
    hub: HubRecipe = field(default_factory=HubRecipe)
    sources: dict[str, SourceRecipe] = field(default_factory=dict)
    filters: FilterRecipe = field(default_factory=FilterRecipe)
    curation: CurationRecipe = field(default_factory=CurationRecipe)
    sizes: DataSizes | None = None
    loss_on: LossOn = LossOn.LAST
    bad_rows: BadRows = BadRows.STOP
    missing: Missing = Missing.STOP
    bad_rows_limit: Share = 0.01  # of the rows; with more of them skip stops too

    def parts(self) -> list[DataSource]:
        """The sources of the mixture, or the only one, in the order given."""
        if not self.sources:
            return [DataSource(ALONE, self.path, self.template, self.columns, self.hub, 1.0, None)]
        return [
            DataSource(
                name,
                part.path,
                part.template or self.template,
                self.columns if part.columns is None else part.columns,
                part.hub,
                part.weight * part.copies,
                part.cap,
                part.where,
                self.missing is Missing.SKIP,
            )
            for name, part in self.sources.items()
        ]

    def key_of(self, source: DataSource, setting: str) -> str:
        """The key path of a setting of a source, for messages.

        Args:
            setting: path, template or columns.
        """
        own = self.sources and getattr(self.sources[source.name], setting) is not None
        return f"data.sources.{source.name}.{setting}" if own else f"data.{setting}"


def hub_name(path: str) -> bool:
    """Whether a path is to be read as a name on the hub."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", path) is not None and data_format(path) is None


def data_format(name: str) -> str | None:
    """The format of a data file by its name, one of `FORMATS`; None where it is none."""
    name = name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return next((ending for ending in FORMATS if name.endswith(ending)), None)


def saved_dataset(path: Path) -> bool:
    """Whether a folder is one that `save_to_disk` of `datasets` wrote."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def local_paths(data: Mapping[str, Any]) -> dict[str, Any]:
    """The group `data` of a recipe with absolute paths; a folder that is here is no name on the hub."""
    resolved = dict(data)
    if isinstance(path := resolved.get("path"), str) and path:
        place = Path(path).expanduser()
        if place.is_dir() or not hub_name(path):
            resolved["path"] = str(place.resolve())
    if isinstance(resolved.get("sources"), Mapping):
        resolved["sources"] = {
            name: local_paths(part) if isinstance(part, Mapping) else part
            for name, part in resolved["sources"].items()
        }
    return resolved


def resolve_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """The group `data` of a recipe with absolute paths, and the text of template files in their place."""
    resolved = local_paths(data)
    template = resolved.get("template")
    if isinstance(template, str) and template.endswith(TEMPLATE_FILES) and "{%" not in template:
        resolved["template"] = Path(template).expanduser().read_text(encoding="utf-8")
    if isinstance(resolved.get("sources"), Mapping):
        resolved["sources"] = {name: resolve_data(part) for name, part in resolved["sources"].items()}
    return resolved
