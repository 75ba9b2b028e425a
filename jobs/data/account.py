"""What became of the rows: read, left out and why, kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class SourceAccount:
    """The rows of one source."""

    rows: int = 0  # in the file
    equal: int = 0  # to another row
    beyond: int = 0  # after the caps were reached: not looked at
    train: int = 0
    validation: int = 0
    cut: int = 0  # at data.max_length, in the response
    dropped: dict[str, int] = field(default_factory=dict)  # reason -> examples
    template: str = ""  # that was taken, where data.template=auto
    unread: list[str] = field(default_factory=list)  # columns that its template does not read


@dataclass(frozen=True)
class CuratedPart:
    """What curation made of the training examples of one source and kind."""

    source: str
    kind: str
    examples: int
    loss: float | None  # of the untuned base model, nats per response token, or see `by`; None: not taken
    read: int  # by an epoch
    distinct: int  # of those read
    by: str = "untuned loss"  # what `loss` is; by score, 1 less the mean of exact matches or ROUGE-L


@dataclass
class Account:
    """All sources, and the beginning of one response for each reason to drop."""

    sources: dict[str, SourceAccount] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)
    curated: list[CuratedPart] = field(default_factory=list)

    def drop(self, source: str, reason: str, text: str, shown: int = 80) -> None:
        """Count an example that is left out.

        Args:
            text: of which an example is shown, and how many characters.
        """
        dropped = self.sources[source].dropped
        dropped[reason] = dropped.get(reason, 0) + 1
        self.samples.setdefault(reason, " ".join(text.split())[:shown])

    @property
    def dropped(self) -> int:
        """Examples left out, of all sources and for all reasons."""
        return sum(sum(source.dropped.values()) for source in self.sources.values())

    @property
    def cut(self) -> int:
        """Examples whose response was cut."""
        return sum(source.cut for source in self.sources.values())

    def reasons(self) -> dict[str, int]:
        """Reason -> examples of all sources, the most frequent first."""
        total: dict[str, int] = {}
        for source in self.sources.values():
            for reason, count in source.dropped.items():
                total[reason] = total.get(reason, 0) + count
        return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))

    def notes(self) -> Iterator[str]:
        """For people: how each source was read."""
        for name, source in self.sources.items():
            yield from reading_notes(name, source.template, source.unread)

    def lines(self) -> Iterator[str]:
        """For people: why examples were left out."""
        for reason, count in self.reasons().items():
            yield f"dropped {count}: {reason}"

    def curation(self) -> Iterator[str]:
        """For people: how often an epoch reads the examples of each source and kind, where curated."""
        if not self.curated:
            return
        rows = [("curated source", "kind", "examples", self.curated[0].by, "read by an epoch", "distinct")]
        for part in self.curated:
            loss = "-" if part.loss is None else f"{part.loss:.4f}"
            rows.append(
                (part.source, part.kind, str(part.examples), loss, str(part.read), str(part.distinct))
            )
        yield from aligned(rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Account:
        """What `to_json` gave."""
        sources = {name: SourceAccount(**values) for name, values in record["sources"].items()}
        curated = [CuratedPart(**part) for part in record.get("curated", ())]
        return cls(sources, dict(record["samples"]), curated)


def reading_notes(name: str, template: str, unread: Collection[str]) -> Iterator[str]:
    """How a source is read, as far as that is not what its recipe says.

    Args:
        template: that was taken for auto, else "".
        unread: columns that hold something and are not read.
    """
    if template:
        yield f"{name}: read by the template {template} (data.template=auto)"
    if unread:
        yield f"{name}: columns that the template does not read: {', '.join(sorted(unread))}"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of cells as lines: the first column to the left, the others to the right.

    Args:
        rows: all of the same length.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *others in rows:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield f"{name.ljust(widths[0])}  {'  '.join(cells)}"
