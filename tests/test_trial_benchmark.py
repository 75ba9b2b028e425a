"""What the trial's benchmark writes follows from what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.records import append
from benchmarks.trial import crowd, loss_memory, startup, throughput
from benchmarks.trial.clock import Clock
from benchmarks.trial.page import PAGE, PARTS, replaced, write_part

ABOUT = {
    "commit": "abc", "load": 1.5, "cores": 2, "threads": 2, "torch": "2", "transformers": "5", "peft": "0",
    "bitsandbytes": "0", "model": "demo",
}  # fmt: skip


def test_clock_leaves_the_first_step_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends at 10, 12 and 14 s after 50, 150 and 250 tokens: 200 tokens in 4 s."""
    times = iter([10.0, 12.0, 14.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    clock = Clock()
    for tokens in (50, 150, 250):
        clock.step_ended(tokens)
    record = clock.record()
    assert (record["steps"], record["tokens"], record["seconds"]) == (2, 200, 4.0)
    assert record["tokens_per_second"] == 50.0


def test_throughput_is_compared_by_medians() -> None:
    """100, 110 and 500 tokens a second against 50, 55 and 60: 110 / 55 = 2."""
    rates = {"plain": (50, 60, 55), "ours": (100, 500, 110)}
    records = [
        {
            "spread": "natural",
            "arm": arm,
            "length": 512,
            "batch": 4,
            "tokens": rate,
            "seconds": 1.0,
            "cpu_s": 2.0,
        }
        | ABOUT
        for arm, found in rates.items()
        for rate in found
    ]
    text = throughput.section(records)
    assert "| as they come, at most 512 tokens | trial | 110 | 2.00 | 2.00 | 3 | 1.5 to 1.5 |" in text
    assert "packed" not in text


def test_start_is_told_as_a_ratio_with_its_parts() -> None:
    """9 s of 20 s: 0.45."""
    records = [
        {
            "cache": cache,
            "start_seconds": seconds,
            "start_cpu_s": 8.0,
            "parts": {"imports": 3.0, "reading": seconds - 3},
        }
        | ABOUT
        for cache, seconds in (("cold", 20.0), ("warm", 9.0))
    ]
    text = startup.section(records)
    assert "**0.45**" in text
    assert "| full cache | **9.0 s** | 8.0 s | 3.0 s | 6.0 s | 1 |" in text


@pytest.mark.parametrize(
    ("change", "clean"),
    [({}, True), ({"quantised": 2}, False), ({"damaged": 1}, False), ({"completed": 19}, False)],
)
def test_crowd_is_clean_only_if_one_did_the_work(change: dict[str, int], clean: bool) -> None:
    """Two that quantised, a damaged entry or a missing result are told."""
    record: dict[str, Any] = {
        "trials": 20,
        "completed": 20,
        "quantised": 1,
        "tokenised": 1,
        "different_results": 1,
        "entries": 2,
        "damaged": 0,
        "left_behind": 0,
        "seconds": 9.0,
    }
    assert crowd.is_clean(record | change) is clean
    assert crowd.section([record | ABOUT]).startswith("20 processes")


def test_page_has_a_place_for_every_part(tmp_path: Path) -> None:
    """Written between the marks, as often as one likes; the rest stays as it was."""
    page = PAGE.read_text()
    assert all(replaced(page, part, "x") != page for part in PARTS)
    with pytest.raises(ValueError, match="<!-- nothing -->"):
        replaced(page, "nothing", "x")
    own = {
        "way": "full",
        "peak_mib": 1200.0,
        "resident_mib": 1300.0,
        "losses_apart": 0.0,
        "gradient_apart": 1e-9,
    }
    append(tmp_path / loss_memory.FILE, own | loss_memory.SIZES | ABOUT)
    copy = tmp_path / "training.md"
    copy.write_text(page)
    for _ in range(2):
        write_part("loss", tmp_path, copy)
    written = copy.read_text()
    assert "| whole logits | 1200 MiB | 1300 MiB |" in written
    assert written.count("## ") == page.count("## ")
