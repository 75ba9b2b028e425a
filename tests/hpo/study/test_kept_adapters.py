"""Weights of trials that have left the front are deleted, once the journal says so and nobody uses them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from controlled_site import LIMITS, Site

from hpo.commands.derived import SourceStudy
from hpo.errors import InputError
from hpo.records import TrialSpec
from hpo.study import kept_adapters
from hpo.study.journal import load_study
from hpo.study.kept_adapters import use
from hpo.study.room import folder_size


def weights(site: Site, trial: str) -> None:
    """What a trial leaves: 4,000 bytes of adapter, 10,000 of checkpoints."""
    files = site.paths.trial(trial)
    for folder, count in ((files.adapter, 4000), (files.checkpoints / "0001" / "step-00000001", 10000)):
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_bytes(b"x" * count)


def left(site: Site) -> list[str]:
    each = (site.paths.trials.glob(f"*/{name}") for name in ("adapter", "checkpoints"))
    return sorted({path.parent.name for paths in each for path in paths})


def x_of(site: Site, trial: str) -> float:
    return float(TrialSpec.read(site.paths.trial(trial).spec).params["x"])


def run(site: Site) -> None:
    controller = site.controller()
    while not controller.step():
        for arguments in site.scheduler.start_all():
            weights(site, arguments[2])
            site.finish(arguments)


def test_front_of_forty_trials_keeps_its_weights_and_the_others_give_theirs_up(tmp_path: Path) -> None:
    """One objective, x itself: one trial is best: 40 x 14,000 bytes before, 14,000 after."""
    limits = replace(LIMITS, trials=40)
    whole = Site(tmp_path / "all", limits)
    site = Site(tmp_path / "front", replace(limits, keep_adapters="front"))
    run(whole)
    run(site)
    best = min(load_study(site.paths.journal).trials, key=lambda name: x_of(site, name))
    assert left(whole) == sorted(load_study(whole.paths.journal).trials)
    assert left(site) == [best]
    assert folder_size(whole.paths.trials).bytes >= 40 * 14000
    assert folder_size(site.paths.trials).bytes < 14000 + 40 * 2000  # specs and results stay
    study = load_study(site.paths.journal)
    assert [trial.id for trial in study.trials.values() if not trial.adapter_deleted] == [best]


def test_none_keeps_no_weights(tmp_path: Path) -> None:
    """Not even those of the best."""
    site = Site(tmp_path, replace(LIMITS, keep_adapters="none"))
    run(site)
    assert left(site) == []


def test_weights_in_use_are_not_deleted(tmp_path: Path) -> None:
    """Marked before the trial left the front: it keeps them for good, and counts as having them."""
    site = Site(tmp_path, replace(LIMITS, keep_adapters="front", batch_size=1, refill=1))
    site.enqueue = [{"x": 0.9}, {"x": 0.1}, {"x": 0.05}]
    controller = site.controller()
    for _ in range(3):
        controller.step()
        for arguments in site.scheduler.start_all():
            weights(site, arguments[2])
            site.finish(arguments)
    study = load_study(site.paths.journal)
    assert use(site.paths, study.trials["0001"])
    controller.step()
    assert left(site) == ["0001", "0002"]
    assert not load_study(site.paths.journal).trials["0001"].adapter_deleted


def test_killed_between_journal_and_deletion_the_next_controller_deletes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is deleted that the journal does not tell of, and what it tells of is deleted in the end."""
    site = Site(tmp_path, replace(LIMITS, keep_adapters="none", trials=1))
    controller = site.controller()
    controller.step()
    (arguments,) = site.scheduler.start_all()
    weights(site, arguments[2])
    site.finish(arguments)

    class Killed(Exception):
        pass

    def kill(files: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(kept_adapters, "delete_weights", kill)
        with pytest.raises(Killed):
            controller.step()
    assert left(site) == ["0000"]
    assert load_study(site.paths.journal).trials["0000"].adapter_deleted
    site.die()
    site.controller().adopt()
    assert left(site) == []


def test_who_would_use_a_deleted_adapter_is_told(tmp_path: Path) -> None:
    """With what is kept, and the way to train it again; no mark is left."""
    site = Site(tmp_path, replace(LIMITS, keep_adapters="front"))
    run(site)
    study = load_study(site.paths.journal)
    own = SourceStudy(site.paths, study, {})
    (kept,) = [trial for trial in study.trials.values() if not trial.adapter_deleted]
    other = next(trial for trial in study.trials.values() if trial.adapter_deleted)
    assert own.adapter(kept) == str(site.paths.trial(kept.id).adapter)
    with pytest.raises(InputError, match=rf"as study.keep_adapters said: .* keeps those of {kept.id}"):
        own.adapter(other)
    assert not site.paths.trial(other.id).adapter_used.exists()
    shutil.rmtree(site.paths.trial(kept.id).adapter)
    with pytest.raises(InputError, match="has no adapter"):
        own.adapter(kept)
