"""`completion`: what the shell may put in on Tab. Reads the YAML files alone, so that nobody waits for it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import yaml
from rich.console import Console

from hpo.controller.groups import CONF, option_values, options

SCRIPTS = {
    "bash": """\
_frontrunner() {
    local line="${COMP_LINE:0:COMP_POINT}" typed current IFS=$' \\t\\n'
    read -ra typed <<< "$line"
    [[ "$line" == *[[:space:]] ]] && typed+=("")
    current="${typed[-1]}"
    IFS=$'\\n'
    COMPREPLY=($("${typed[0]}" completion words "${typed[@]:1}" 2>/dev/null))
    # for bash a word begins anew behind = and :
    COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*[=:]}"}"}")
    [[ "${COMPREPLY[0]}" == *[=.] ]] && compopt -o nospace
}
complete -o default -F _frontrunner frontrunner
""",
    "zsh": """\
_frontrunner() {
    local -a found
    found=("${(@f)$("${words[1]}" completion words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    [[ -n "$found" ]] && compadd -Q -S '' -- "${found[@]}" || _files
}
compdef _frontrunner frontrunner
""",
}


def completion(shell: str, words: Sequence[str], parser: argparse.ArgumentParser, out: Console) -> int:
    """Print what makes a shell ask, or answer it.

    Args:
        shell: bash or zsh; `words`: answer what may stand in the place of the last word.
        words: what was typed behind the program's name.
        parser: of the whole command line.
    """
    text = SCRIPTS.get(shell) or "\n".join(candidates(list(words), parser))
    out.print(text, markup=False, highlight=False, soft_wrap=True)
    return 0


def candidates(words: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """What may stand in the place of the last word."""
    commands = _commands(parser)
    *before, last = words or [""]
    if not before:
        return [name for name in commands if name.startswith(last)]
    command = commands.get(before[0])
    if command is None:
        return []
    if last.startswith("-"):
        return [text for text in command._option_string_actions if text.startswith(last)]
    if not any(action.dest == "overrides" for action in command._actions):
        return []
    sign = last[: len(last) - len(last.lstrip("+~"))]
    found = _overrides(before[1:], last.lstrip("+~"))
    return sorted(sign + text for text in found if text.startswith(last.lstrip("+~")))


def _commands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    actions = parser._actions
    return next(own.choices for own in actions if isinstance(own, argparse._SubParsersAction))


def _overrides(before: Sequence[str], typed: str) -> Iterator[str]:
    """Values of a group, or keys down to the next dot; a key that has keys of its own ends in a dot."""
    config_dir = _config_dir(before)
    key, assigned, _ = typed.partition("=")
    if assigned:
        yield from (f"{key}={name}" for name in options(key, config_dir))
        return
    values: Any = _configuration(before, config_dir)
    *way, _ = key.split(".")
    if not way:
        yield from (f"{path.name}=" for path in CONF.iterdir() if path.is_dir())
    for part in way:
        values = values.get(part) if isinstance(values, Mapping) else None
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if not str(name).startswith("_"):
            yield ".".join([*way, str(name)]) + ("." if isinstance(value, Mapping) and value else "=")


def _config_dir(before: Sequence[str]) -> str | None:
    named = [value for option, value in pairwise(before) if option == "--config-dir"]
    return named[-1] if named else os.environ.get("FRONTRUNNER_CONFIG_DIR")


def _configuration(before: Sequence[str], config_dir: str | None) -> dict[str, Any]:
    """The keys of the configuration, as far as the groups that were chosen before say them."""
    content = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))
    defaults = [entry for entry in content.pop("defaults") if isinstance(entry, dict)]
    chosen = {group: name for entry in defaults for group, name in entry.items()}
    chosen |= dict(word.split("=", 1) for word in before if "=" in word)
    groups = {group: option_values(group, str(name), config_dir) for group, name in chosen.items()}
    return {**content, **{group: values for group, values in groups.items() if values}}
