"""The entry point's side of Hydra: overrides in, a plain mapping and every problem out."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf, _utils, open_dict
from omegaconf.errors import OmegaConfBaseException

from hpo.clocks import clocks_as_text
from hpo.controller.groups import CONF, options, options_with, with_fitting_refill, without_misplaced
from hpo.errors import InputError, Problem

# Hydra minds the value of a group's choice, such as objectives=0, by a plain ValueError
REFUSALS = (HydraException, OmegaConfBaseException, ValueError)
OPEN_GROUPS = ("space.", "objectives.")
OPEN_MAPPINGS = (
    "cluster.extra",
    "data.sources",
    "data.columns",
    "trainer.parameters",
    "trainer.env",
)  # names of the user's own
# written with commas; outside -m that is no sweep
LISTS = ("cluster.partition", "cluster.gres", "trainer.target_modules")
# derive(...) and usual(...) without quotes: Hydra's parser knows no such functions, and no operators either
_OURS = re.compile(
    r"^(?P<key>\+*space\.[^=]+=)(?P<value>((tag\(\s*auxiliary\s*,\s*)?derive|usual)\(.*)$", re.DOTALL
)


def compose_config(
    overrides: Sequence[str], config_dir: str | None = None
) -> tuple[dict[str, Any], list[Problem]]:
    """Compose `conf/config.yaml` with overrides in Hydra's grammar.

    Args:
        overrides: as on the command line; a sweep under `space.` is taken as that parameter's range.
        config_dir: a folder of the user's own, searched for groups before ours.

    Returns:
        The configuration without the overrides that do not apply, and a problem for each of those.

    Raises:
        InputError: not even the configuration without overrides can be composed.
    """
    texts, problems = _prepared(overrides)
    try:
        with _hydra():
            config, refused = _compose(texts, config_dir)
    except REFUSALS as error:
        raise InputError(f"the configuration cannot be composed: {_first_line(error)}") from error
    return config, [*problems, *refused]


def shown_config(overrides: Sequence[str], config_dir: str | None = None, *, resolve: bool) -> dict[str, Any]:
    """The composed configuration for people to read.

    Args:
        resolve: put values into the place of interpolations.

    Raises:
        InputError: with every override that does not apply.
    """
    config, problems = compose_config(overrides, config_dir)
    if problems:
        raise InputError(problems)
    if resolve:
        return config
    with _hydra():
        return _plain([*_searched(config_dir), *_prepared(overrides)[0]], config_dir, resolve=False)


def composed_files(overrides: Sequence[str], config_dir: str | None = None) -> list[tuple[str, str]]:
    """The files that a configuration is made of, in the order in which they are laid over each other.

    Returns:
        (name below conf, name of the file that asks for it) of each.

    Raises:
        InputError: with every override that does not apply.
    """
    if problems := compose_config(overrides, config_dir)[1]:
        raise InputError(problems)
    with _hydra():
        loader = GlobalHydra.instance().config_loader()
        texts = [*_searched(config_dir), *_prepared(overrides)[0]]
        entries = loader.compute_defaults_list("config", texts, RunMode.RUN).defaults
    own = [entry for entry in entries if not str(entry.config_path).startswith("hydra/")]
    return [(str(entry.config_path), str(entry.parent)) for entry in own]


def _searched(config_dir: str | None) -> list[str]:
    """What makes Hydra look into a folder of the user's own as well."""
    if config_dir and not Path(config_dir).is_dir():
        raise InputError([("--config-dir", f"expected a folder with configuration groups, got {config_dir}")])
    return [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []


def swept(text: str) -> list[str]:
    """The overrides that a sweep stands for, one per value; the text itself where it is none.

    Args:
        text: an override; under `space.` and `objectives.` a sweep says what is searched, and is none.

    Raises:
        InputError: a sweep that does not list its values, such as an interval.
    """
    if text.lstrip("+").startswith(OPEN_GROUPS):
        return [text]
    try:
        parsed = OverridesParser.create().parse_override(text)
    except HydraException:
        return [text]  # told of where the study is composed
    if not parsed.is_sweep_override():
        return [text]
    if not parsed.is_discrete_sweep():
        problem = f"got {text.partition('=')[2]}, expected values to sweep over"
        raise InputError([(parsed.key_or_group, problem)])
    return [f"{parsed.get_key_element()}={value}" for value in parsed.sweep_string_iterator()]


def override_config(
    base: Mapping[str, Any], overrides: Sequence[str], config_dir: str | None = None
) -> tuple[dict[str, Any], list[Problem]]:
    """Put overrides on top of a configuration that was composed earlier.

    Args:
        base: the configuration, as plain values.
        overrides: see `compose_config`; the choice of a group, as in `cluster=slurm`, replaces it whole.

    Returns:
        See `compose_config`.
    """
    texts, problems = _prepared(overrides)
    choices = [text for text in texts if options(text.partition("=")[0], config_dir)]
    values = [text for text in texts if text not in choices]
    preset = [] if any(_key(text) == "experiment" for text in choices) else ["experiment=none"]
    with _hydra():
        chosen, refused = _compose([*preset, *choices], config_dir)
    groups = {key: chosen[key] for text in choices if (key := text.partition("=")[0]) in chosen}
    with tempfile.TemporaryDirectory() as folder:
        content = yaml.safe_dump(_escaped({**base, **groups}), allow_unicode=True, sort_keys=False)
        (Path(folder) / "config.yaml").write_text(content, encoding="utf-8")
        with _hydra(Path(folder)):
            config, wrong = _compose(values, None)
    return config, [*problems, *refused, *wrong]


def whole_cluster(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """The cluster group of a study that an earlier version may have begun, which knew fewer of its keys."""
    base = yaml.safe_load((CONF / "cluster" / "base.yaml").read_text(encoding="utf-8"))
    return {**base, **cluster, "helper": {**base["helper"], **cluster.get("helper", {})}}


def _escaped(value: Any) -> Any:
    """Plain values in which nothing is taken for an interpolation."""
    if isinstance(value, Mapping):
        return {key: _escaped(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def _compose(texts: Sequence[str], config_dir: str | None) -> tuple[dict[str, Any], list[Problem]]:
    """The configuration of the overrides that apply, and a problem for each other one, all told together."""
    extra, good, refused = _searched(config_dir), list(texts), dict[str, Exception]()
    said = ""
    while True:
        try:
            base = _plain([*extra, *good], config_dir)
        except REFUSALS as error:
            text = _named_by(str(error), good)
            if text is None or str(error) == said:
                return _composed_in_turn(texts, config_dir)
            good.remove(text)
            refused[text], said = error, str(error)
        else:
            return base, [_refused(text, error, base, config_dir) for text, error in refused.items()]


def _named_by(message: str, texts: Sequence[str]) -> str | None:
    """The override that Hydra complains of, as far as its words tell; None where they do not."""
    named = [text for text in texts if re.search(rf"(?<![\w.]){re.escape(_key(text))}(?![\w.])", message)]
    return max(named, key=lambda text: len(_key(text)), default=None)


def _composed_in_turn(texts: Sequence[str], config_dir: str | None) -> tuple[dict[str, Any], list[Problem]]:
    """The same where Hydra does not say which override it means: one by one, groups before values."""
    good, problems = _searched(config_dir), list[Problem]()
    base = _plain(good, config_dir)
    for text in sorted(texts, key=lambda text: "." in text.split("=")[0]):
        try:
            base = _plain([*good, text], config_dir)
            good.append(text)
        except REFUSALS as error:
            problems.append(_refused(text, error, base, config_dir))
    return base, problems


def _plain(texts: Sequence[str], config_dir: str | None, *, resolve: bool = True) -> dict[str, Any]:
    config = compose("config", overrides=list(texts), return_hydra_config=True)
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    container = OmegaConf.to_container(config, resolve=resolve, throw_on_missing=True)
    assert isinstance(container, dict)
    plain = {str(key): value for key, value in container.items()}
    named = {_key(text) for text in texts}
    return with_fitting_refill(without_misplaced(plain, choices, named, config_dir), named)


def _key(text: str) -> str:
    """The key or group that an override is about."""
    return text.lstrip("+~").split("=", 1)[0].split("@", 1)[0]


class _hydra:
    """Hydra's global state, for the duration of a block; `config.yaml` is that of a folder.

    OmegaConf, which reads every file for Hydra, asks a function of its own for the class of its YAML loader;
    there is no setting for it. In the block that class is one that leaves clock times alone.
    """

    def __init__(self, folder: Path = CONF) -> None:
        self._folder = folder
        self._loader = _utils.get_yaml_loader

    def __enter__(self) -> None:
        GlobalHydra.instance().clear()
        _utils.get_yaml_loader = lambda: clocks_as_text(self._loader())
        self._scope = initialize_config_dir(str(self._folder), version_base="1.3")
        self._scope.__enter__()

    def __exit__(self, *exception: object) -> None:
        _utils.get_yaml_loader = self._loader
        self._scope.__exit__(*exception)


def _prepared(overrides: Sequence[str]) -> tuple[list[str], list[Problem]]:
    """Let new keys into the open groups, and quote sweeps, which Hydra would refuse outside a multirun."""
    texts: list[str] = []
    problems: list[Problem] = []
    parser = OverridesParser.create()
    for given in overrides:
        text = _OURS.sub(lambda match: match["key"] + _in_quotes(match["value"]), given)
        try:
            parsed = parser.parse_override(text)
        except HydraException as error:
            problems.append((text, f"is not an override: {_first_line(error)}; expected KEY=VALUE"))
            continue
        if not parsed.key_or_group:
            problems.append((text, "is not an override: it names no key; expected KEY=VALUE"))
            continue
        texts.append(_quoted(parsed, text))
    return texts, problems


def _quoted(parsed: Override, text: str) -> str:
    key = parsed.key_or_group
    if key in LISTS and parsed.is_sweep_override():
        return f"{parsed.get_key_element()}={_in_quotes(parsed.get_value_string())}"
    is_open = key.startswith(OPEN_GROUPS) or f"{key}.".startswith(tuple(f"{name}." for name in OPEN_MAPPINGS))
    if not is_open or parsed.type == OverrideType.DEL:
        return text
    value = parsed.get_value_string() if parsed.value() is not None else "null"
    if parsed.is_sweep_override():
        value = _in_quotes(value)
    return f"++{key}={value}"  # may be new: these groups are mappings, not a fixed set of keys


def _in_quotes(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _refused(text: str, error: Exception, base: Mapping[str, Any], config_dir: str | None) -> Problem:
    key = _key(text)
    if names := options(key, config_dir):
        return key, f"expected one of {', '.join(names)}, got {text.partition('=')[2]}"
    known = sorted(set(_keys(base)))
    if key in known:
        return key, _first_line(error)
    if choices := options_with(key, config_dir):
        return (
            key,
            f"there is no such key; {' and '.join(choices)} {'has' if len(choices) == 1 else 'have'} it",
        )
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    advice = f"; did you mean {' or '.join(near)}?" if near else ""
    return key, f"there is no such key{advice}"


def _keys(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")


def _first_line(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:3] if line.strip())
