"""What is asked of the group `tracking` before anything is submitted, and what trials are told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo import tracking
from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.display.tracked_runs import ways_to_see
from hpo.errors import InputError
from hpo.paths import StudyPaths
from hpo.study.state import Study

SHORT = ["trainer=synthetic", "cluster=local", "strategy=random"]


def problems(*overrides: str) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        assemble(*compose_config([*SHORT, *overrides]))
    return dict(caught.value.problems)


def accepted(*overrides: str) -> str:
    return assemble(*compose_config([*SHORT, *overrides])).config.tracking.tracker


def test_a_missing_client_is_told_of_before_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install; not where nodes have a Python of their own."""
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    assert "pip install 'frontrunner[tracking]'" in problems("tracking=wandb")["tracking"]
    assert accepted("tracking=wandb", "cluster.python=python3") == "wandb"
    assert accepted() == "none"


def test_a_password_is_refused_as_files_would_keep_it() -> None:
    """A name alone is no secret."""
    found = problems("tracking=mlflow", "tracking.uri='https://me:secret@example.org'")
    assert "MLFLOW_TRACKING_PASSWORD" in found["tracking.uri"]
    assert accepted("tracking=mlflow", "tracking.uri='https://me@example.org'") == "mlflow"


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (["tracking=wandb", "tracking.mode=sometimes"], "tracking.mode"),
        (["tracking=mlflow", "tracking.mode=online"], "tracking.mode"),
        (["tracking=comet"], "tracking"),
    ],
)
def test_wrong_settings_are_refused_by_key(given: list[str], key: str) -> None:
    """A value that there is not, a key of another tracker, a tracker that there is not."""
    assert key in problems(*given)


def test_trials_are_told_of_their_tracker_and_no_others() -> None:
    """The spec of a proposal has what the node needs; by default nothing."""
    parts = assemble(*compose_config([*SHORT, "tracking=wandb", "tracking.project=mine"]))
    (proposed,) = parts.proposer().propose(Study(uid="abc123", name="s"), 1)
    assert proposed.spec.tracking == {"tracker": "wandb", "uid": "abc123", "project": "mine"}
    (plain,) = assemble(*compose_config(SHORT)).proposer().propose(Study(uid="abc123", name="s"), 1)
    assert plain.spec.tracking == {}


def test_commands_that_show_runs_name_what_is_there(tmp_path: Path) -> None:
    """One line a tracker, fit for a shell."""
    paths = StudyPaths(tmp_path / "my study")
    (paths.trial("0000").wandb / "offline-run-20260101_000000-abc-0000").mkdir(parents=True)
    (paths.trial("0001").tensorboard).mkdir(parents=True)
    assert list(ways_to_see(paths)) == [
        ("wandb", f"wandb sync '{paths.trials}'/*/wandb/offline-run-*"),
        ("tensorboard", f"tensorboard --logdir '{paths.trials}'"),
    ]
