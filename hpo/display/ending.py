"""What a study's end looks like on a terminal."""

from __future__ import annotations

from rich.console import Console

from hpo.display.tables import front_table
from hpo.formatting import duration
from hpo.paths import StudyPaths
from hpo.study.snapshot import elapsed_s, take
from hpo.study.state import TrialState


def show_end(paths: StudyPaths, console: Console, headline: str) -> None:
    """Print how many trials ended how, the front, and where the files are.

    Args:
        paths: of the study.
        console: where to print.
        headline: what has happened.
    """
    snapshot = take(paths)
    study = snapshot.study
    console.print(f"\n{headline} ({study.finished})", style="bold", highlight=False)
    ended = {state: len(study.in_state(state)) for state in TrialState}
    console.print(
        f"{ended[TrialState.COMPLETED]} trials completed, {ended[TrialState.FAILED]} failed, "
        f"{ended[TrialState.CANCELLED]} cancelled in {duration(elapsed_s(study))}\n"
    )
    console.print(front_table(study, snapshot.objectives))
    console.print(_files(paths), highlight=False, soft_wrap=True)


def _files(paths: StudyPaths) -> str:
    trained = any(paths.trials.glob("*/adapter"))  # not every kind of trial does
    adapters = f"\nadapters  {paths.trials}/<trial>/adapter" if trained else ""
    return f"\nfolder    {paths.folder}{adapters}"
