"""What a study folder may name to be imported: the executors and trial kinds of our own configuration.

A `_target_` is code. The user's own configuration and command line may name any; a folder, whose study.yaml
and journal anybody may have written, only those that conf/ names, or that the user names as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hpo.controller.groups import CONF
from hpo.errors import InputError
from hpo.study.trust import TRUST, trusted_names

GROUPS = ("cluster", "trainer")
# What a configuration has programs, or code that comes with a model, run by.
PROGRAMS = (
    *("cluster.setup", "cluster.python", "cluster.extra", "notify.command"),
    *("trainer.argv", "trainer.env", "model.trust_remote_code"),
)


def refuse_unknown_targets(raw: Mapping[str, Any], named: Collection[str] = ()) -> None:
    """Check what a configuration from a study folder would import, before it is.

    Args:
        raw: the configuration; groups that it lacks are passed over.
        named: what the user has named besides what `hpo.study.trust.trusted_names` tells.

    Raises:
        InputError: with each target that neither conf/ nor the user names.
    """
    found = {group: target_of(raw, group) for group in GROUPS if group in raw}
    known = {*named, *trusted_names()}
    problems = [
        (f"{group}._target_", f"the study folder names {name!r}, expected {' or '.join(sorted(ours))}")
        for group, name in found.items()
        if name not in known and name not in (ours := own_targets(group))
    ]
    if problems:
        hint = f"nothing of it was imported; if you know it: --trust NAME, or {TRUST}=NAME"
        raise InputError(problems, hint=hint)


def target_of(raw: Mapping[str, Any], group: str) -> str:
    """What a group names as the object that reads it; "" where it names none."""
    own = raw[group]
    return str(own.get("_target_", "")) if isinstance(own, Mapping) else ""


@cache
def own_targets(group: str) -> frozenset[str]:
    """What our own configuration names in a group, now and in earlier versions."""
    aliases = yaml.safe_load((CONF / "aliases.yaml").read_text(encoding="utf-8"))
    return frozenset([*_targets_in(CONF / group), *aliases[group]])


def named_by_user(overrides: Sequence[str], config_dir: str | None) -> set[str]:
    """The targets that a command line names: in overrides, and in the user's own configuration groups."""
    texts = (text.partition("=") for text in overrides)
    given = {value.strip("'\"") for key, _, value in texts if key.endswith("._target_")}
    folders = [Path(config_dir) / group for group in GROUPS] if config_dir else []
    return given.union(*map(_targets_in, folders))


def _targets_in(folder: Path) -> Iterator[str]:
    for path in folder.glob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(content, Mapping) and "_target_" in content:
            yield str(content["_target_"])


def programs(raw: Mapping[str, Any]) -> list[str]:
    """What a configuration has run besides our own modules, a line each."""
    found = []
    for key in PROGRAMS:
        group, name = key.split(".")
        own = raw.get(group)
        if value := own.get(name) if isinstance(own, Mapping) else None:
            found.append(f"{key}: {value}")
    return found
