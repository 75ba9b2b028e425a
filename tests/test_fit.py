"""What docs/studies.md says of V100s is what planning the studies says."""

from __future__ import annotations

import re

import pytest

from benchmarks.fit import CARDS, PAGE, STUDIES, anatomy_section, fit_of, sections, summed
from benchmarks.table import rows_of
from hpo.controller.groups import CONF


def _part(name: str) -> str:
    found = re.search(f"<!-- {name} -->\n(.*?)\n<!-- end of {name} -->", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_a_row_of_the_page_is_what_the_planning_says() -> None:
    """The largest of the OpenLLaMA studies on 16 GB: its peak is the sum of its parts."""
    fit = fit_of("openllama_13b", "v100_16gb")
    assert rows_of([], [fit.row]).splitlines()[-1] in _part("fit")
    assert sum(summed(fit.peak)) == pytest.approx(fit.peak["total"])
    assert (fit.trials, fit.space.fits) == (8, 1.0)


def test_trials_of_arms_count() -> None:
    """20 of the pilot, 5 random and 5 proposed."""
    fit = fit_of("lora_pareto_1", "v100_32gb")
    assert fit.trials == 30
    least, most = map(float, fit.hours[1].split(" to "))
    assert fit.space.seconds is not None
    assert most == pytest.approx(30 * fit.space.seconds / 3600, rel=0.01)
    assert most / least == pytest.approx(125 / 3 / 5, rel=0.02)


def test_the_anatomy_adds_up() -> None:
    """Every column is the sum of its parts; four-bit weights of LLaMA-30B by hand, with 5% of waste."""
    assert anatomy_section() == _part("anatomy")
    rows = [line.strip("| ").split(" | ") for line in _part("anatomy").splitlines()[2:]]
    for column in range(1, 6):
        parts = [float(row[column]) for row in rows[:-2]]
        together = float(rows[-2][column].strip("*"))
        assert sum(parts) == pytest.approx(together, abs=0.1)
    weights = 60 * (4 * 6656 * 6656 + 3 * 6656 * 17920)
    assert float(rows[0][1]) == pytest.approx(1.05 * weights * 4.127 / 8 / 2**30, abs=0.01)


def test_every_published_study_is_planned() -> None:
    """Those of conf/experiment but the demo and the templates, in the order of the page."""
    own = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    assert own - set(STUDIES) == {"none", "demo", "command", "decode"}


@pytest.mark.slow
@pytest.mark.long(50)
def test_the_whole_page_is_up_to_date() -> None:
    """`python -m benchmarks.fit` would change nothing."""
    for name, text in sections():
        assert text == _part(name)
    rows = [line for line in _part("fit").splitlines() if line.startswith("| `") and "experiment" not in line]
    assert len(rows) == len(STUDIES) * len(CARDS)
