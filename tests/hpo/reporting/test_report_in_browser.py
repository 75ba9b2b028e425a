"""Reports as people see them: opened from the disk in a headless Chromium."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import EVERY_FIGURE, check, chromium, open_page
from rich.console import Console
from written_study import OBJECTIVES, write_study

from hpo.commands.report import report
from hpo.paths import StudyPaths

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; skipped where there is none, failed where there has to be."""
    with chromium() as started:
        if started is None:
            pytest.skip("there is no Chromium: apt-get install chromium")
        yield started


def made(paths: StudyPaths) -> Path:
    """The page of a study."""
    assert report(str(paths.folder), paths.folder.parent, Console(file=io.StringIO())) == 0
    return paths.report / "report.html"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study of 200 trials with failures, preemptions, prices, and markup in its texts."""
    return made(write_study(tmp_path_factory.mktemp("large"), 200))


def test_page_of_two_hundred_trials(browser: Any, large: Path) -> None:
    """Every section and figure, no error, no request, small and quick."""
    check(browser, large, EVERY_FIGURE | {"calibration"})


def test_page_of_two_thousand_trials(browser: Any, tmp_path: Path) -> None:
    """With three objectives: as small and as quick, and it says what it left out."""
    page = made(write_study(tmp_path, 2000, objectives=list(OBJECTIVES)))
    check(browser, page, EVERY_FIGURE | {"calibration", "front-1", "front-2", "objective-2"})
    text = page.read_text()
    assert "The figures of this section show 1000 of the 2000 trials, evenly chosen" in text
    assert "Shown are 200 of 2000 trials." in text


def test_markup_in_texts_is_shown_and_not_run(browser: Any, large: Path) -> None:
    """An error message with a script element is readable as such, and did not change the title."""
    page = open_page(browser, large).page
    assert page.title() == "written"
    assert "<script>document.title = 'taken'</script>" in page.inner_text("section#failures")
    page.close()


def test_hovering_tells_everything_of_a_trial(browser: Any, large: Path) -> None:
    """The mouse over a point: its id and parameters."""
    page = open_page(browser, large).page
    front = page.query_selector('[data-figure="front-0"]')
    front.scroll_into_view_if_needed()
    page.wait_for_selector('[data-figure="front-0"][data-drawn="true"]')
    box = front.query_selector(".scatterlayer .trace .points path.point").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector('[data-figure="front-0"] .hoverlayer .hovertext')
    told = page.text_content('[data-figure="front-0"] .hoverlayer .hovertext')
    for word in ("trial 0", "learning_rate = ", "lora_rank = ", "target_modules = ", "warmup = "):
        assert word in told
    page.close()


def test_hovering_tells_of_an_attempt(browser: Any, large: Path) -> None:
    """The mouse over a bar of the timeline: the trial, how long, and how much of it was lost."""
    page = open_page(browser, large).page
    timeline = page.query_selector('[data-figure="timeline"]')
    timeline.scroll_into_view_if_needed()
    page.wait_for_selector('[data-figure="timeline"][data-drawn="true"]')
    box = timeline.query_selector(".barlayer .trace .points .point path").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector('[data-figure="timeline"] .hoverlayer .hovertext')
    told = page.text_content('[data-figure="timeline"] .hoverlayer .hovertext')
    assert re.search(r"trial \d{4}, attempt 1: completed.*of which 0s lost", told), told
    page.close()


def test_front_is_sorted_by_the_head_that_is_clicked(browser: Any, large: Path) -> None:
    """The smallest number first, then the largest; the row of the untuned model has none and goes last."""
    page = open_page(browser, large).page
    heads = page.query_selector_all("#decision thead th")
    place = next(at for at, head in enumerate(heads) if head.inner_text().startswith("train_seconds"))

    def column() -> list[float]:
        cells = page.query_selector_all(f"#decision tbody tr td:nth-child({place + 1})")
        return [float(re.split(" ±", cell.inner_text())[0]) for cell in cells if cell.inner_text()]

    heads[place].click()
    assert column() == sorted(column())
    assert len(column()) > 3
    heads[place].click()
    assert column() == sorted(column(), reverse=True)
    page.close()
