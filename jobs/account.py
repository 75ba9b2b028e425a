"""What became of the rows: read, left out and why, kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


@dataclass
class Account:
    """All sources, and the beginning of one response for each reason to drop."""

    sources: dict[str, SourceAccount] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)

    def drop(self, source: str, reason: str, text: str) -> None:
        """Count an example that is left out.

        Args:
            source: its name.
            reason: to leave it out.
            text: of its response.
        """
        dropped = self.sources[source].dropped
        dropped[reason] = dropped.get(reason, 0) + 1
        self.samples.setdefault(reason, " ".join(text.split())[:80])

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

    def lines(self) -> Iterator[str]:
        """For people: why examples were left out."""
        for reason, count in self.reasons().items():
            yield f"dropped {count}: {reason}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Account:
        """What `to_json` gave.

        Args:
            record: plain values.
        """
        sources = {name: SourceAccount(**values) for name, values in record["sources"].items()}
        return cls(sources, dict(record["samples"]))
