"""`plan`, what a study would do, and `prefetch`, what its nodes will need. Neither submits anything."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hpo.assembly import Assembly, assemble
from hpo.compose import compose_config
from hpo.proposals import Proposed
from hpo.study import Batch, Study
from hpo.submission import array_name, array_request
from hpo.tables import number


def plan(overrides: Sequence[str], config_dir: str | None, console: Console) -> int:
    """Show the space, the objectives, the first batch and the exact text that would be submitted.

    Raises:
        InputError: the configuration cannot be used.
    """
    parts = assemble(*compose_config(overrides, config_dir))
    study = Study(uid="000000", name=parts.paths.name, earlier=parts.earlier())
    console.print(
        f"study {study.name}, {parts.paths.folder}; cluster: {parts.executor.name}", highlight=False
    )
    console.print(_space_table(parts))
    proposals = parts.proposer().propose(study, min(parts.limits.batch_size, parts.limits.trials))
    console.print(_batch_table(proposals))
    console.print("\nwhat would be submitted:", style="bold")
    console.print(_preview(parts, study, proposals), markup=False, highlight=False, soft_wrap=True)
    return 0


def prefetch(overrides: Sequence[str], config_dir: str | None, console: Console) -> int:
    """Put into the cache what every trial needs.

    Raises:
        InputError: the configuration cannot be used.
    """
    parts = assemble(*compose_config(overrides, config_dir))
    parts.kind.prepare(parts.recipe, parts.cache, lambda line: console.print(line, markup=False))
    console.print(f"ready in {parts.cache}", highlight=False)
    return 0


def _space_table(parts: Assembly) -> Table:
    table = Table(title="Search space", title_justify="left", box=None, pad_edge=False)
    table.add_column("parameter")
    table.add_column("values")
    for name, parameter in parts.space.parameters.items():
        described = ", ".join(f"{key}={value}" for key, value in parameter.describe().items())
        condition = parts.space.conditions.get(name)
        table.add_row(name, escape(f"{described}, if {condition}" if condition else described))
    for constraint in parts.space.constraints:
        table.add_row("constraint", escape(constraint))
    for name, objective in parts.objectives.items():
        table.add_row(f"objective {name}", objective.direction)
    return table


def _batch_table(proposals: Sequence[Proposed]) -> Table:
    table = Table(title="First batch", title_justify="left", box=None, pad_edge=False)
    table.add_column("trial")
    names = list(dict.fromkeys(name for proposed in proposals for name in proposed.spec.params))
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("from")
    for proposed in proposals:
        values = (number(proposed.spec.params.get(name, "")) for name in names)
        table.add_row(proposed.spec.trial, *values, proposed.origin)
    return table


def _preview(parts: Assembly, study: Study, proposals: Sequence[Proposed]) -> str:
    batch = Batch(study.next_batch, [proposed.spec.trial for proposed in proposals])
    name = array_name(study, batch.id) + "nonce"
    return parts.executor.preview(**array_request(parts.paths, batch, name, parts.kind.target))
