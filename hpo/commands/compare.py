"""`compare`: several studies side by side, as curves, tables and a statement of what is beyond noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from hpo.comparison.groups import compare_studies, grouped, measure_of
from hpo.comparison.tables import curves_csv, show
from hpo.records import write_text
from hpo.study.journal import load_study
from hpo.study.store import find_study


def compare(
    names: Sequence[str], root: Path, group: str, objective: str | None, to: Path, console: Console
) -> int:
    """Set studies side by side.

    Args:
        names: of study folders, or names under `root`; finished or not.
        root: the study root.
        group: auto (what differs in the seed alone), strategy, or name (without the number at its end).
        objective: whose incumbent is compared; None: the hypervolume, or the only objective.
        to: folder for the picture and the CSV file.
        console: where to show the tables.

    Raises:
        InputError: studies that are not there, that optimise different things, or have no result.
    """
    studies = [load_study(find_study(name, root).journal) for name in dict.fromkeys(names)]
    measure = measure_of(studies, objective)
    compared = compare_studies(grouped(studies, group), measure)
    show(compared, console)
    to.mkdir(parents=True, exist_ok=True)
    write_text(to / "curves.csv", curves_csv(compared))
    console.print(str(to / "curves.csv"), highlight=False, soft_wrap=True)
    try:
        from hpo.comparison.figures import draw_curves
    except ImportError as error:
        console.print(f"no picture: {error}; pip install 'frontrunner[report]'", highlight=False)
        return 0
    draw_curves(compared, to / "curves.png")
    console.print(str(to / "curves.png"), highlight=False, soft_wrap=True)
    return 0
