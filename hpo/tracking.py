"""Which tracker follows the trials of a study while they run. Its client is loaded on the nodes alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic.dataclasses import dataclass

from hpo.errors import Problem
from hpo.validation import STRICT

NONE: Literal["none"] = "none"


@dataclass(frozen=True, config=STRICT)
class TrackingSettings:
    """The group `tracking`; each tracker has keys of its own, see conf/tracking."""

    tracker: Literal["none", "wandb", "mlflow", "tensorboard"] = NONE
    mode: Literal["online", "offline"] | None = None
    project: str | None = None
    entity: str | None = None
    uri: str | None = None

    def problems(self, *, elsewhere: bool) -> Iterator[Problem]:
        """What can be said before anything is submitted.

        Args:
            elsewhere: nodes have a Python of their own, of whose libraries nothing is known here.
        """
        if self.tracker != NONE and not elsewhere and find_spec(self.tracker) is None:
            text = f"got {self.tracker}, whose client library is not installed here"
            yield "tracking", f"{text}; hint: pip install 'frontrunner[tracking]', or tracking=none"
        if self.uri and urlsplit(self.uri).password is not None:
            text = "expected a URI without a password, as study files keep it; hint: MLFLOW_TRACKING_PASSWORD"
            yield "tracking.uri", text

    def for_trials(self, uid: str) -> dict[str, Any]:
        """What the spec of a trial says of it; nothing where there is no tracker.

        Args:
            uid: of the study.
        """
        if self.tracker == NONE:
            return {}
        return {name: value for name, value in {"uid": uid, **asdict(self)}.items() if value is not None}
