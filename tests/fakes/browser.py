"""Pages as people see them: opened from the disk in a headless Chromium, and looked through."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from written_study import SECTIONS

LARGEST_BYTES = 8_000_000
PATIENCE_MS = 120_000
READY_MS = 3000
LOADS = 3  # the machine may be busy with something else once


@dataclass
class Opened:
    """A page that was opened, and what was noticed meanwhile."""

    page: Any
    ready_ms: float = 0.0
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium; None where there is none, failed where there has to be."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        if os.environ.get("FRONTRUNNER_REQUIRE_BROWSER") == "1":
            pytest.fail(
                "a browser is required here (FRONTRUNNER_REQUIRE_BROWSER=1): apt-get install chromium"
            )
        yield None
        return
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        # as root, and where namespaces are forbidden, Chromium starts only without its sandbox
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


def open_page(browser: Any, path: Path) -> Opened:
    """Open a file, and note every error and every request."""
    opened = Opened(browser.new_page(viewport={"width": 1120, "height": 900}))
    page = opened.page
    page.on("console", lambda told: opened.errors.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: opened.errors.append(str(error)))
    page.on("request", lambda request: opened.requests.append(request.url))
    clock = page.context.new_cdp_session(page)
    clock.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached", timeout=PATIENCE_MS)
    opened.ready_ms = float(page.get_attribute("html", "data-ready"))
    if os.getloadavg()[0] > (os.cpu_count() or 1):  # others have the cores: what the page itself took
        told = {own["name"]: own["value"] for own in clock.send("Performance.getMetrics")["metrics"]}
        opened.ready_ms = min(opened.ready_ms, 1000 * told["ThreadTime"])
    return opened


def draw_all(page: Any) -> list[str]:
    """Scroll through the page; the names of the figures, each of which drew something."""
    names = []
    for box in page.query_selector_all(".figure"):
        box.scroll_into_view_if_needed()
        name = box.get_attribute("data-figure")
        page.wait_for_selector(f'[data-figure="{name}"][data-drawn="true"] svg.main-svg', timeout=PATIENCE_MS)
        names.append(name)
    return names


def check(browser: Any, path: Path, figures: set[str]) -> None:
    """What every page has to keep: size, speed, sections, figures, silence."""
    assert path.stat().st_size < LARGEST_BYTES
    took_ms = []
    for _ in range(LOADS):
        opened = open_page(browser, path)
        took_ms.append(opened.ready_ms)
        if took_ms[-1] < READY_MS:
            break
        opened.page.close()
    assert min(took_ms) < READY_MS, took_ms
    page = opened.page
    assert [name for name in SECTIONS if not page.is_visible(f"section#{name} h2")] == []
    assert figures <= set(draw_all(page))
    assert opened.errors == []
    assert opened.requests == [path.as_uri()]
    print(f"{path.parent.parent.name}: {path.stat().st_size / 1e6:.2f} MB, ready in {min(took_ms):.0f} ms")
    page.close()


EVERY_FIGURE = {
    *("front-0", "hypervolume", "incumbents", "objective-0", "objective-1", "history", "parallel"),
    *("importance", "slices", "trust", "curves", "timeline"),
}
