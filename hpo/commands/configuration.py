"""`--cfg job` and `--info defaults`, as Hydra has them: what a command would run with; nothing is begun."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from rich.console import Console

from hpo.controller.compose import composed_files, shown_config


def show_config(overrides: Sequence[str], config_dir: str | None, out: Console, *, resolve: bool) -> int:
    """Print the composed configuration as YAML.

    Args:
        resolve: put values into the place of interpolations such as ${seed}.

    Raises:
        InputError: with every override that does not apply.
    """
    shown = yaml.safe_dump(
        shown_config(overrides, config_dir, resolve=resolve), allow_unicode=True, sort_keys=False
    )
    out.print(shown, markup=False, highlight=False, soft_wrap=True, end="")
    return 0


def show_defaults(overrides: Sequence[str], config_dir: str | None, out: Console) -> int:
    """Print the files that the configuration is made of, later ones over earlier ones.

    Raises:
        InputError: with every override that does not apply.
    """
    for name, parent in composed_files(overrides, config_dir):
        out.print(f"{name:32} from {parent}", markup=False, highlight=False, soft_wrap=True)
    return 0
