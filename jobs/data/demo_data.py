"""The generated demo data: short tasks of several kinds, the same for a seed on every Python version.

Only `Random.random` is drawn from: its sequence for a seed is the one that Python promises to keep.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import zip_longest
from random import Random
from typing import TypeVar

WORDS = (
    "amber apple blue bread cedar chair cherry cloud coral eagle fig grape green honey horse ivory knife "
    "lamp lemon mango maple olive peach pear pepper plum river salt silver spoon stone sugar table tiger "
    "wolf zebra"
)
NAMES = "Ann Ben Carl Dora Emma Finn Gus Hana Ivan Jill Kurt Lena Max Nora Omar Pia"
SITES = "site.org mail.net post.com desk.io team.org lab.edu shop.net city.gov"
MONTHS = "January February March April May June July August September October November December"
UNITS = (("km", "m", 1000), ("kg", "g", 1000), ("m", "cm", 100), ("hours", "minutes", 60))
ROWS_PER_KIND = 80

Row = dict[str, str]
T = TypeVar("T")


def _below(random: Random, stop: int) -> int:
    return int(random.random() * stop)


def _one(random: Random, items: Sequence[T]) -> T:
    return items[_below(random, len(items))]


def _words(random: Random, text: str, count: int) -> list[str]:
    return _some(random, text.split(), count)


def _some(random: Random, items: Sequence[T], count: int) -> list[T]:
    left = list(items)
    return [left.pop(_below(random, len(left))) for _ in range(count)]


def _sort(random: Random) -> tuple[str, str]:
    words = _words(random, WORDS, 3)
    return f"Sort the words: {' '.join(words)}", " ".join(sorted(words))


def _upper(random: Random) -> tuple[str, str]:
    words = _words(random, WORDS, 2)
    return f"Write in capitals: {' '.join(words)}", " ".join(words).upper()


def _reverse(random: Random) -> tuple[str, str]:
    numbers = [str(_below(random, 10)) for _ in range(4)]
    return f"Reverse the list: {' '.join(numbers)}", " ".join(reversed(numbers))


def _larger(random: Random) -> tuple[str, str]:
    numbers = _some(random, range(10, 1000), 2)
    return f"Which is larger: {numbers[0]} or {numbers[1]}?", str(max(numbers))


def _add(random: Random) -> tuple[str, str]:
    first, second = 1 + _below(random, 49), 1 + _below(random, 49)
    return f"Add: {first} + {second}", str(first + second)


def _date(random: Random) -> tuple[str, str]:
    day, month, year = 1 + _below(random, 28), _below(random, 12), 1990 + _below(random, 40)
    return f"ISO date: {day} {MONTHS.split()[month]} {year}", f"{year}-{month + 1:02}-{day:02}"


def _address(random: Random) -> tuple[str, str]:
    address = f"{_one(random, NAMES.split()).lower()}@{_one(random, SITES.split())}"
    before, after = _words(random, WORDS, 2)
    return f"Find the e-mail: {before} {address} {after}", address


def _convert(random: Random) -> tuple[str, str]:
    large, small, factor = _one(random, UNITS)
    amount = 2 + _below(random, 60)
    return f"Convert {amount} {large} to {small}", f"{amount * factor} {small}"


def _as_json(random: Random) -> tuple[str, str]:
    record = {"name": _one(random, NAMES.split()), "age": 18 + _below(random, 60)}
    return f"As JSON: name {record['name']}, age {record['age']}", json.dumps(record)


KINDS: tuple[Callable[[Random], tuple[str, str]], ...] = (
    _sort,
    _upper,
    _reverse,
    _larger,
    _add,
    _date,
    _address,
    _convert,
    _as_json,
)


def rows(seed: int) -> list[Row]:
    """Generate the demo data.

    Returns:
        `ROWS_PER_KIND` rows of each kind, distinct by content, with columns prompt, completion and kind.
    """
    made: list[Row] = []
    for number, kind in enumerate(KINDS):
        random = Random(1000 * seed + number)
        prompts: set[str] = set()
        while len(prompts) < ROWS_PER_KIND:
            task, answer = kind(random)
            if task not in prompts:
                prompts.add(task)
                made.append({"prompt": f"{task}\n", "completion": answer, "kind": kind.__name__.strip("_")})
    return made


def questions(kinds: Sequence[str], count: int, seed: int) -> list[dict[str, object]]:
    """Generate questions with four answers to choose from, one of them right.

    Args:
        count: how many, taken from the kinds in turn.
        seed: of everything that is drawn, above 0; what the rows of seed 0 ask is left out.

    Returns:
        Rows with columns prompt, choices (4 texts) and gold (index of the right one).
    """
    known = {row["prompt"] for row in rows(0)}
    chosen = [row for row in rows(seed) if row["kind"] in kinds and row["prompt"] not in known]
    by_kind = [[row for row in chosen if row["kind"] == kind] for kind in kinds]
    in_turn = [row for turn in zip_longest(*by_kind) for row in turn if row is not None]
    random = Random(1000 * seed + len(KINDS))
    made: list[dict[str, object]] = []
    for row in in_turn[:count]:
        wrong: list[str] = []
        while len(wrong) < 3:
            other = _changed(random, row["completion"])
            if other not in (*wrong, row["completion"]):
                wrong.append(other)
        gold = _below(random, 4)
        made.append(
            {
                "prompt": row["prompt"],
                "choices": [*wrong[:gold], row["completion"], *wrong[gold:]],
                "gold": gold,
            }
        )
    return made


def _changed(random: Random, answer: str) -> str:
    """A wrong answer that looks like the right one: two words are swapped, or one sign is another."""
    words = answer.split(" ")
    if len(words) > 1 and random.random() < 0.7:
        first, second = _some(random, range(len(words)), 2)
        words[first], words[second] = words[second], words[first]
        return " ".join(words)
    place = _one(random, [number for number, sign in enumerate(answer) if sign.isalnum()])
    signs = "0123456789" if answer[place].isdigit() else "abcdefghijklmnopqrstuvwxyz"
    sign = _one(random, signs)
    return f"{answer[:place]}{sign.upper() if answer[place].isupper() else sign}{answer[place + 1 :]}"
