"""The groups of the configuration as files: which options there are, and which keys an option has.

An experiment or a scale writes into groups that somebody else may choose: what it says there holds for the
options that have the key. A key that no override names is never refused in the user's face.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times quicker, where it was built
CONF = Path(__file__).resolve().parents[2] / "conf"
# whose options differ in their keys; those of space and objectives are the user's own
CLOSED_GROUPS = ("model", "data", "trainer", "evaluation", "strategy", "cluster", "tracking")


def places(config_dir: str | None) -> list[Path]:
    """The folders in which options are looked for, the first that has one wins."""
    return [*([Path(config_dir)] if config_dir else []), CONF]


def options(group: str, config_dir: str | None) -> list[str]:
    """The choices of a configuration group; none where there is no such group."""
    found = (path for place in places(config_dir) for path in (place / group).glob("*.yaml"))
    return sorted({path.stem for path in found}) if group and ".." not in group else []


def option_values(group: str, option: str, config_dir: str | None = None) -> dict[str, Any] | None:
    """What an option says, with what it is based on; None where that is written in a way not read here."""
    files = (place / group / f"{option}.yaml" for place in places(config_dir))
    path = next((path for path in files if path.is_file()), None)
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, _LOADER) or {}
    except (OSError, ValueError, yaml.YAMLError):
        return None  # Hydra complains of it
    if "@package" in text or not isinstance(content, dict):
        return None
    values: dict[str, Any] = {}
    for base in content.pop("defaults", None) or []:
        if base == "_self_":
            continue
        inherited = option_values(group, base, config_dir) if isinstance(base, str) else None
        if inherited is None:
            return None
        values |= inherited
    return values | content


def options_with(key: str, config_dir: str | None) -> list[str]:
    """The choices, as `group=option`, that have a key."""
    group, *path = key.split(".")
    if group not in CLOSED_GROUPS or not path:
        return []
    return [
        f"{group}={name}"
        for name in options(group, config_dir)
        if _has(option_values(group, name, config_dir), path)
    ]


def _has(values: Any, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def without_misplaced(
    config: Mapping[str, Any], choices: Mapping[str, Any], named: Collection[str], config_dir: str | None
) -> dict[str, Any]:
    """A configuration without what presets say of keys that other options of the group have.

    Args:
        config: as composed.
        choices: group -> its option.
        named: keys that the user's overrides name; these stay, so that they are checked.
        config_dir: a folder with groups of the user's own.
    """
    fitted = dict(config)
    for group in CLOSED_GROUPS:
        known = option_values(group, str(choices.get(group)), config_dir)
        values = config.get(group)
        if known is None or not isinstance(values, Mapping):
            continue
        extra = [key for key in values if key not in known and not _is_named(f"{group}.{key}", named)]
        if extra:
            others = [option_values(group, name, config_dir) or {} for name in options(group, config_dir)]
            misplaced = {key for key in extra if any(key in other for other in others)}
            fitted[group] = {key: value for key, value in values.items() if key not in misplaced}
    return fitted


def with_fitting_refill(config: dict[str, Any], named: Collection[str]) -> dict[str, Any]:
    """A smaller batch has a smaller refill, where the user has not said otherwise."""
    batch = config.get("batch")
    if not isinstance(batch, Mapping) or "batch.refill" in named:
        return config
    size, refill = batch.get("size"), batch.get("refill")
    if type(size) is int and type(refill) is int and 1 <= size < refill:
        return {**config, "batch": {**batch, "refill": size}}
    return config


def _is_named(key: str, named: Collection[str]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for name in named)
