"""A small trainer as anybody might have one, for conf/experiment/command.yaml; `--help` lists what it takes.

Ridge regression by stochastic gradient descent on generated data. It knows nothing of the rest of this
repository: it reads arguments, saves and resumes by itself, ends on TERM, and writes its metrics as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FEATURES, TRAIN, VALIDATION, NOISE = 20, 40, 200, 1.0
DIVERGED = 3  # exit code
BOUND = 1e6  # of a weight
SAVE_EVERY = 500  # steps

Row = tuple[list[float], float]


@dataclass
class State:
    """What a checkpoint holds."""

    step: int = 0
    weights: list[float] = field(default_factory=lambda: [0.0] * FEATURES)
    draws: Any = None  # state of the random numbers


def main(arguments: Sequence[str]) -> int:
    """Train, or go on with it.

    Returns:
        0 if it is done, or saved because it was told to end; 3 if it diverged.
    """
    asked = _parsed(arguments)
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    state, draw, rows = _resumed(asked.checkpoint), random.Random(asked.seed), _rows(TRAIN, 1)
    if state.draws is not None:
        draw.setstate((state.draws[0], tuple(state.draws[1]), state.draws[2]))
    while state.step < asked.steps:
        batch = [rows[draw.randrange(len(rows))] for _ in range(asked.batch_size)]
        rate = asked.learning_rate / (1 + 4 * state.step / asked.steps)
        state.weights = _stepped(state.weights, batch, rate, asked.ridge)
        state.step += 1
        if not all(abs(weight) < BOUND for weight in state.weights):
            print(f"step {state.step}: the weights are beyond {BOUND:g}", file=sys.stderr)
            return DIVERGED
        if told or state.step % SAVE_EVERY == 0:
            state.draws = draw.getstate()
            _save(asked.checkpoint, state)
            _tell(
                asked.progress, step=state.step, steps=asked.steps, saved=True, loss=_errors(state.weights)[0]
            )
        if told:
            print(f"saved at step {state.step}")
            return 0
    asked.metrics.write_text(json.dumps({"loss": _errors(state.weights)}))
    return 0


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo_program")
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--ridge", type=float, required=True, help="weight of the squared weights")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0, help="of the batches")
    parser.add_argument("--checkpoint", type=Path, required=True, help="file to save to and to go on from")
    parser.add_argument("--progress", type=Path, required=True, help="file of JSON lines to add to")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON file to write")
    return parser.parse_args(arguments)


def _rows(count: int, seed: int) -> list[Row]:
    """Random features and a target of which a quarter of them decide."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        features = [draw.gauss(0, 1) for _ in range(FEATURES)]
        rows.append((features, sum(features[:: FEATURES // 5]) + draw.gauss(0, NOISE)))
    return rows


def _stepped(weights: list[float], batch: Sequence[Row], rate: float, ridge: float) -> list[float]:
    slope = [2 * ridge * weight / TRAIN for weight in weights]
    for features, target in batch:
        error = 2 * (_dot(weights, features) - target) / len(batch)
        slope = [own + error * feature for own, feature in zip(slope, features, strict=True)]
    return [weight - rate * own for weight, own in zip(weights, slope, strict=True)]


def _errors(weights: list[float]) -> list[float]:
    """Mean squared error on rows that were not learned, and its standard error."""
    squares = [(_dot(weights, features) - target) ** 2 for features, target in _rows(VALIDATION, 2)]
    mean = sum(squares) / len(squares)
    spread = sum((square - mean) ** 2 for square in squares) / (len(squares) - 1)
    return [mean, math.sqrt(spread / len(squares))]


def _dot(weights: Sequence[float], features: Sequence[float]) -> float:
    return sum(weight * feature for weight, feature in zip(weights, features, strict=True))


def _resumed(checkpoint: Path) -> State:
    return State(**json.loads(checkpoint.read_text())) if checkpoint.exists() else State()


def _save(checkpoint: Path, state: State) -> None:
    half = checkpoint.with_suffix(".half")
    half.write_text(json.dumps(asdict(state)))
    half.replace(checkpoint)


def _tell(progress: Path, **line: Any) -> None:
    with progress.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
