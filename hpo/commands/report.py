"""`report`: one self-contained HTML page, pictures and trials.csv of a study, at any stage of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from hpo.errors import FrontrunnerError
from hpo.exports.table import write_csv
from hpo.records import write_text
from hpo.reporting.choosing import parse_limits
from hpo.study.snapshot import take
from hpo.study.store import find_study, read_configuration


def report(name: str, root: Path, console: Console, limits: Sequence[str] = ()) -> int:
    """Write a study's report folder and say where it is.

    Args:
        name: a study folder, or a name under the study root.
        root: the study root.
        console: told what is done and where it is.
        limits: on the trial to be taken, as `train_seconds<=7200`.

    Raises:
        InputError: there is no such study, or a limit is none.
        FrontrunnerError: a library of the extra `report` is missing.
    """
    paths = find_study(name, root)
    snapshot = take(paths)
    bounds = parse_limits(limits, snapshot.study.metrics)
    try:
        from hpo.reporting.figures.png import draw
        from hpo.reporting.material import gather
        from hpo.reporting.page import render
    except ImportError as error:
        hint = "pip install 'frontrunner[report]'"
        raise FrontrunnerError(f"`report` needs a library that is not there: {error}", hint) from error

    def say(text: str) -> None:
        console.print(f"{text} ...", style="dim", highlight=False)

    material = gather(snapshot, read_configuration(paths), bounds, say)
    paths.report.mkdir(exist_ok=True)
    table, page = paths.report / "trials.csv", paths.report_page
    write_csv(snapshot, table)
    say("drawing")
    pictures = draw(material, paths.report)
    write_text(page, render(material))
    for path in [page, table, *pictures]:
        console.print(str(path), highlight=False, soft_wrap=True)
    return 0
