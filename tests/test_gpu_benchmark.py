"""What the benchmark of a card writes follows from what was measured; the way there is gone on a CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu.__main__ import main
from benchmarks.gpu.page import errors, section
from benchmarks.gpu.parts import recipes
from benchmarks.gpu.shares import PARTS, part_of, profiled, shares
from benchmarks.gpu.training import Case
from benchmarks.trial.page import PAGE, replaced

ABOUT = {
    "card": "a card",
    "commit": "abc",
    "torch": "2",
    "transformers": "5",
    "peft": "0",
    "bitsandbytes": "1",
}
REPOSITORY = Path(__file__).resolve().parents[1]


def _memory(case: str, peak: float) -> dict[str, Any]:
    sizes = {"length": 1024, "micro_batch": 4, "quantisation": "nf4"}
    return {
        "part": "memory",
        "model": "M",
        "case": case,
        **sizes,
        "peak_gib": peak,
        "foretold_gib": 10.0,
        **ABOUT,
    }


def test_memory_is_told_with_its_errors() -> None:
    """Measured 10.4, 9.0 and 10.1 of 10 foretold: +4, -10 and +1%, median 4%; a case that failed is named."""
    records = [_memory("a", 10.4), _memory("b", 9.0), _memory("c", 10.1)]
    assert errors(records) == pytest.approx([0.04, -0.1, 0.01])
    failed = {"part": "memory", "model": "M", "case": "d", "error": "OutOfMemoryError: none left", **ABOUT}
    text = section([*records, failed])
    assert "Memory of 3 recipes: median error 4.0% (5% is asked), largest 10.0% (12%)." in text
    assert "| M | nf4 | b | 1024 | 4 | 9.00 | 10.00 | -10.0% |" in text
    assert "- memory, d: OutOfMemoryError: none left" in text


def test_speed_is_told_beside_the_plain_script_of_the_same_examples() -> None:
    """Packed rows beside padded ones: 300 of 150 is 2."""
    common: dict[str, Any] = {"part": "speed", "model": "M", "compute": "float16", "forced": False, **ABOUT}
    records: list[dict[str, Any]] = [
        {
            **common,
            "arm": "trial",
            "case": "natural lengths, packed",
            "tokens_per_second": 300.0,
            "tflops": 12.34,
        },
        {**common, "arm": "plain", "case": "natural lengths", "tokens_per_second": 150.0},
        {**common, "arm": "shares", "case": "profile", "shares": dict.fromkeys(PARTS, 0.125)},
    ]
    text = section(records)
    assert "| M | float16 | natural lengths, packed | trial | 300 | 2.00 | 12.3 |" in text
    assert "| M | float16 | natural lengths | plain | 150 | - | - |" in text
    assert "12%" in text


def test_every_operation_is_some_part_of_a_step() -> None:
    """By name, and products by whether they have the adapter's rank; the rest of the time is the host's."""
    asked = {
        "bitsandbytes::dequantize_4bit": "dequantisation",
        "aten::_scaled_dot_product_efficient_attention_backward": "attention",
        "aten::_log_softmax": "loss",
        "aten::_fused_adamw_": "optimiser",
        "aten::add": "other",
    }
    assert {name: part_of(name, [], 16) for name in asked} == asked
    assert part_of("aten::mm", [[4096, 4096], [4096, 11008]], 16) == "matrix products"
    assert part_of("aten::mm", [[4096, 4096], [4096, 16]], 16) == "adapters"
    told = shares([("aten::mm", [[8, 8]], 2.0), ("aten::add", [], 1.0)], 4.0, 16)
    assert (told["matrix products"], told["other"], told["host"]) == (0.5, 0.25, 0.25)
    assert sum(told.values()) == pytest.approx(1.0)


def test_a_profile_knows_products_of_adapters_from_others() -> None:
    """Two products of one size, one of them with the rank."""
    wide, narrow = torch.ones(256, 256), torch.ones(256, 4)
    found = profiled(lambda: [wide @ wide, wide @ narrow], 4, cuda=False)
    assert found["matrix products"] > 0
    assert found["adapters"] > 0


def test_recipes_are_many_and_can_be_read() -> None:
    """At least 20 with those of the second model; each is a recipe, and the first example the longest."""
    cases = recipes(1024)
    assert len(cases) + 7 >= 20
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.recipe.micro_batches for case in cases)
    drawn = [len(one) for one in Case("natural", length=512, natural=True).examples(300, 200)]
    assert drawn[0] == max(drawn) == 512
    assert 50 < sorted(drawn)[100] < 160  # a fifth of the longest: 102


def test_the_page_has_a_place_for_it() -> None:
    """And says that no card has been there as long as none has."""
    assert replaced(PAGE.read_text(), "gpu", "measured") != PAGE.read_text()


def test_without_a_card_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hint, and no file."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path)])
    assert main() == 2
    assert "error: torch sees no CUDA device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_whole_way_is_gone_on_a_cpu() -> None:
    """Every part with tiny shapes, and of the recipes whose memory is foretold two: nothing fails."""
    cases = ["--cases", "rank 16, all", "DoRA"]  # the first on each of four bases
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry", "--minutes", "60", *cases]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=2400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    for part in ("Memory of 5 recipes", "Where the time goes", "from process to first step", "lm-eval"):
        assert part in done.stdout
