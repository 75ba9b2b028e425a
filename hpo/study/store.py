"""Study folders: found, created whole, and refused where they belong to a different configuration."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from hpo import __version__
from hpo.clocks import clocks_as_text
from hpo.errors import InputError
from hpo.paths import StudyPaths
from hpo.records import SCHEMA_VERSION, RecordError, append_jsonl, set_aside, utc_now, write_text
from hpo.study.recipe import content_hash
from hpo.study.state import Event, Study
from hpo.study.trust import refuse_ways_out

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "botorch", "gpytorch", "submitit", "hydra-core")


def find_study(name: str, root: Path) -> StudyPaths:
    """The study folder of this name or path.

    Raises:
        InputError: there is none, or reading it would read what is outside.
    """
    for folder in (Path(name), root / name):
        paths = StudyPaths(folder.resolve())
        if paths.journal.exists():
            refuse_ways_out(paths.folder)
            return paths
        if paths.configuration.exists():
            raise InputError(
                f"{paths.journal}: there is no such file; expected the events of the study",
                hint=f"`frontrunner doctor {folder}` rebuilds it from the study's other files",
            )
    known = sorted(path.parent.name for path in root.glob("*/journal.jsonl"))
    raise InputError(
        f"no study {name!r}: expected a study folder, or one of the studies under {root.resolve()}: "
        f"{', '.join(known) or 'there are none'}",
        hint="`frontrunner tune study.name=NAME` starts one; --root names another study root",
    )


def find_folder(name: str, root: Path) -> StudyPaths:
    """The study folder of this name or path, whatever has become of its files.

    Raises:
        InputError: there is none.
    """
    for folder in (Path(name), root / name):
        paths = StudyPaths(folder.resolve())
        if paths.configuration.exists():
            return paths
    return find_study(name, root)


def identity(
    space: Any, objectives: Any, recipe: Mapping[str, Any], study: Mapping[str, Any]
) -> dict[str, Any]:
    """What may not change while a study goes on, as plain values under the user's own key paths."""
    same = {"space": space, "objectives": objectives, **recipe, "study": dict(study)}
    plain: dict[str, Any] = json.loads(json.dumps(same))  # enums and tuples as they come back from a file
    return plain


def refuse_unwritable(root: Path) -> None:
    """Check, leaving nothing behind, that study folders can be made below a study root.

    Raises:
        InputError: they cannot.
    """
    place = next(parent for parent in (root, *root.parents) if parent.exists())
    try:
        tempfile.TemporaryDirectory(dir=place, prefix=".frontrunner-").cleanup()
    except OSError as error:
        raise _unwritable(root, error) from error


def _unwritable(root: Path, error: OSError) -> InputError:
    return InputError(
        f"study.root: expected a folder that can be written, got {root}: {error.strerror or error}",
        hint="study.root=PATH names another place, on a file system that the compute nodes see",
    )


def create_study(
    paths: StudyPaths, config: Mapping[str, Any], same: Mapping[str, Any], created: Mapping[str, Any]
) -> None:
    """Make a study folder, whole or not at all.

    Args:
        paths: where.
        config: the composed configuration, as plain values.
        same: its identity, see `identity`.
        created: further fields of the `study_created` event.

    Raises:
        InputError: the study root cannot be written.
    """
    root = paths.folder.parent
    folder = root / f".{paths.name}.{uuid.uuid4().hex}.tmp"
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o777)  # less the process's umask, which is the study's
        _fill(StudyPaths(folder), paths.name, config, same, created)
        folder.rename(paths.folder)
    except OSError as error:
        raise _unwritable(root, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # nothing is left of it once it was renamed


def _fill(
    paths: StudyPaths,
    name: str,
    config: Mapping[str, Any],
    same: Mapping[str, Any],
    created: Mapping[str, Any],
) -> None:
    paths.trials.mkdir()
    paths.batches.mkdir()
    _write_configuration(paths, config, same)
    event = {"schema_version": SCHEMA_VERSION, "at": utc_now(), "event": Event.STUDY_CREATED.value}
    uid = uuid.uuid4().hex[:6]  # tells its arrays from those of a study of the same name elsewhere
    append_jsonl(paths.journal, {**event, "study": name, "uid": uid, "identity": dict(same), **created})


def _write_configuration(paths: StudyPaths, config: Mapping[str, Any], same: Mapping[str, Any]) -> None:
    record = {
        "schema_version": SCHEMA_VERSION,
        "created_at": utc_now(),
        "versions": versions(),
        "identity_hash": content_hash(same),
        "config": dict(config),
    }
    write_text(paths.configuration, yaml.safe_dump(record, sort_keys=False, allow_unicode=True))


def mend_configuration(paths: StudyPaths, config: Mapping[str, Any], same: Mapping[str, Any]) -> None:
    """Write study.yaml anew where it is damaged or missing; for who has just composed the study's own."""
    try:
        read_configuration(paths)
    except RecordError:
        if paths.configuration.exists():
            set_aside(paths.configuration)
        _write_configuration(paths, config, same)


def read_configuration(paths: StudyPaths) -> dict[str, Any]:
    """study.yaml.

    Raises:
        RecordError: there is none, or it is no mapping of this version.
    """
    again = "the study's own `tune` (`evaluate`, `train`) command writes it anew"
    try:
        text = paths.configuration.read_text(encoding="utf-8")
        record = yaml.load(text, clocks_as_text(yaml.SafeLoader))
    except FileNotFoundError as error:
        raise RecordError(f"{paths.configuration}: there is no such file; {again}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        wrong = " ".join(str(error).split())
        raise RecordError(f"{paths.configuration}: expected YAML: {wrong}; {again}") from error
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        got = f"expected the mapping that a controller wrote, got {record!r:.80}"
        raise RecordError(f"{paths.configuration}: {got}; {again}")
    return record


def refuse_other_configuration(paths: StudyPaths, study: Study, same: Mapping[str, Any]) -> None:
    """Check that a present study belongs to this configuration.

    Args:
        study: as its journal tells it.
        same: the identity of the configuration, see `identity`.

    Raises:
        InputError: their space, objectives, recipe or seed differ; the message shows how.
    """
    changes = list(differences(study.identity, same))
    if changes:
        raise InputError(
            [
                (key, f"study {paths.name} ({paths.folder}) has {old!r}, got {new!r}")
                for key, old, new in changes
            ],
            hint="study.name=ANOTHER starts a new study; study.allow_change=true goes on with this one",
        )


def differences(old: Any, new: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(key path, old, new) wherever two trees of plain values differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            path = f"{prefix}.{key}" if prefix else str(key)
            yield from differences(old.get(key, "nothing"), new.get(key, "nothing"), path)
    elif old != new:
        yield prefix, old, new


def versions() -> dict[str, str]:
    """The versions of what computes: this package and those it stands on."""
    found = {"frontrunner": __version__}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def set_umask(text: str) -> None:
    """Make study folders as private as `study.umask` says."""
    os.umask(int(text, 8))
