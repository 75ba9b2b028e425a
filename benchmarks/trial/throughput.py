"""Tokens a second, ours beside a plain script: `python -m benchmarks.trial.throughput --data alpaca.jsonl`.

The same examples, one epoch each, in turns: NF4 of the demo model, rank 8 on all linear layers. Once with the
lengths that the examples have, once with those that have at least `--length` tokens, cut there: no padding.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.records import RESULTS, Record, append, forget
from benchmarks.table import rows_of
from benchmarks.trial.page import write_part
from benchmarks.trial.scene import (
    SEED,
    circumstances,
    default_cache,
    measured,
    named,
    recipe_of,
    write_trial,
)

FILE = "trial_throughput.jsonl"
ARMS = {"plain": "plain transformers and peft", "ours": "trial", "packed": "trial, `data.packing=packed`"}
SPREADS = {"equal": "all of one length", "natural": "as they come"}
ASKED = {"equal": 1.0, "natural": 1.3}
RANK, ALPHA = 8, 16
SPARE = 40


@dataclass(frozen=True)
class Case:
    """What both sides train.

    Args:
        spread: of the lengths, of `SPREADS`.
        data: a file of rows for the template alpaca.
        model: folder of a model; None: the demo's.
        batch: examples a step.
        length: at most so many tokens; with `equal`, all.
        steps: the first is not measured.
        spare: rows beyond the examples wanted, for those whose prompt alone is too long.
    """

    spread: str
    data: Path
    model: str | None
    batch: int
    length: int
    steps: int
    spare: int = 0

    def recipe(self, packing: str) -> dict[str, Any]:
        """Of the trial."""
        examples = {"train_examples": self.batch * self.steps + self.spare, "validation_examples": 1}
        data: dict[str, Any] = {"path": str(self.data.resolve()), "max_length": self.length, **examples}
        whole = {"micro_batch_size": self.batch, "gradient_checkpointing": False}  # as the plain script does
        trainer = {"batch_size": self.batch, "max_steps": self.steps, **whole}
        trainer |= {"lora_rank": RANK, "lora_alpha": ALPHA}
        made = recipe_of(self.model, data | {"packing": packing}, trainer, own_file=True)
        if self.spread == "equal":
            made["data"]["filters"]["min_tokens"] = self.length
        return made


def prepared(case: Case, cache: Path, folder: Path) -> tuple[Case, dict[str, Any]]:
    """The case with as many rows as it takes; the plain script's settings: the same base and examples."""
    from jobs.attempt.environment import keep_quiet

    keep_quiet()
    from transformers import AutoTokenizer

    from jobs.evaluation.examples import obtain_examples
    from jobs.models.base_model import obtain_base
    from jobs.models.libraries import quiet
    from jobs.recipes.recipe import parse

    quiet()
    wanted, base = case.batch * case.steps, obtain_base(parse(case.recipe("none")), cache, print)
    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    for spare in range(SPARE + 1):
        case = replace(case, spare=spare)
        examples = obtain_examples(parse(case.recipe("none")), cache, lambda: tokenizer, lambda line: None)
        if len(examples.train) == wanted:
            break
    else:
        raise SystemExit(f"--data: got {len(examples.train)} training examples, expected {wanted}")
    lines = [json.dumps({"input_ids": list(one.ids), "labels": one.labels}) for one in examples.train]
    (folder / "examples.jsonl").write_text("".join(line + "\n" for line in lines))
    return case, {
        "model": str(base.plain),
        "examples": str(folder / "examples.jsonl"),
        "folder": str(folder / "plain"),
        "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "rank": RANK,
        "alpha": ALPHA,
        "batch": case.batch,
        "seed": SEED,
    }


def measure(case: Case, arms: Sequence[str], rounds: int, threads: int, cache: Path) -> list[Record]:
    """Every arm in turn, several times; says each as it comes."""
    records = []
    with tempfile.TemporaryDirectory(prefix="throughput-") as name:
        folder = Path(name)
        case, settings = prepared(case, cache, folder)
        (folder / "settings.json").write_text(json.dumps(settings))
        for number in range(rounds):
            for arm in arms:
                if arm == "plain":
                    found = measured("benchmarks.trial.plain", [str(folder / "settings.json")], threads)
                else:
                    study, packing = folder / f"{arm}-{number}", "packed" if arm == "packed" else "none"
                    write_trial(study, "0000", case.recipe(packing), cache)
                    found = measured("benchmarks.trial.ours", [str(study), "0000"], threads)
                kept = {
                    key: found[key] for key in ("steps", "tokens", "seconds", "cpu_s", "tokens_per_second")
                }
                about = {"spread": case.spread, "arm": arm, "round": number, "model": named(case.model)}
                sizes = {"batch": case.batch, "length": case.length}
                records.append({**about, **sizes, **kept, **circumstances(threads)})
                print(f"{case.spread} {arm} {number}: {found['tokens_per_second']} tokens/s", flush=True)
    return records


def section(records: Sequence[Record]) -> str:
    """The part of the page."""
    rows = [row for spread in SPREADS for row in _rows([own for own in records if own["spread"] == spread])]
    own = records[-1]
    about = (
        f"{own['model']} model, NF4, rank {RANK} on all linear layers, {own['batch']} examples a step, no "
        f"accumulation, {own['threads']} of {own['cores']} cores, torch {own['torch']}, transformers "
        f"{own['transformers']}, peft {own['peft']}, commit {own['commit']}. Tokens of text a second, "
        "padding not counted, from the end of the first step to the end of the last; median of the rounds. "
        "CPU: the same by the CPU time of the process, which other load disturbs less."
    )
    head = ["examples", "", "tokens/s", "to plain", "to plain, CPU", "rounds", "load"]
    return f"{about}\n\n{rows_of(head, rows)}"


def _rows(records: Sequence[Record]) -> list[list[str]]:
    def median(arm: str, by: str) -> float:
        found = [own["tokens"] / own[by] for own in records if own["arm"] == arm]
        return statistics.median(found) if found else 0.0

    rows = []
    for arm in (arm for arm in ARMS if median(arm, "seconds")):
        own = [one for one in records if one["arm"] == arm]
        ratios = ["-", "-"]
        if arm != "plain" and median("plain", "seconds"):
            ratios = [f"{median(arm, by) / median('plain', by):.2f}" for by in ("seconds", "cpu_s")]
        lengths = f"{SPREADS[own[0]['spread']]}, at most {own[0]['length']} tokens"
        load = f"{min(one['load'] for one in own):g} to {max(one['load'] for one in own):g}"
        rows.append([lengths, ARMS[arm], f"{median(arm, 'seconds'):.0f}", *ratios, str(len(own)), load])
    return rows


def main() -> int:
    """Measure and record; 1 where ours is slower than what is asked."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--data", type=Path, required=True, help="rows with instruction, input and output")
    own.add_argument("--model", help="folder of a model; the demo's if not given")
    own.add_argument("--spreads", nargs="*", choices=SPREADS, default=list(SPREADS))
    own.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    own.add_argument("--rounds", type=int, default=3)
    own.add_argument("--steps", type=int, default=9, help="the first one is not measured")
    own.add_argument("--batch", type=int, default=4, help="examples a step")
    own.add_argument("--lengths", type=int, nargs=2, default=[256, 512], help="tokens: equal, natural")
    own.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    own.add_argument("--cache", type=Path, default=default_cache())
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    own.add_argument("--dry", action="store_true", help="record nothing")
    options = own.parse_args()
    good = True
    for spread in options.spreads:
        length = options.lengths[list(SPREADS).index(spread)]
        case = Case(spread, options.data, options.model, options.batch, length, options.steps)
        records = measure(case, options.arms, options.rounds, options.threads, options.cache)
        print(section(records))
        rates = {arm: [one["tokens_per_second"] for one in records if one["arm"] == arm] for arm in ARMS}
        if rates["plain"] and rates["ours"]:
            ratio = statistics.median(rates["ours"]) / statistics.median(rates["plain"])
            good = good and ratio >= ASKED[spread]
        if not options.dry:
            forget(options.out / FILE, [{"spread": spread, "model": named(options.model)}])
            for record in records:
                append(options.out / FILE, record)
    if not options.dry:
        write_part("throughput", options.out)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
