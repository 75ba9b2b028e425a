"""Templates, masks, splits and the order of reading."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from selected_examples import load_examples, split

from jobs.data import demo_data
from jobs.data.chat import chat_writer
from jobs.data.files import read_rows
from jobs.data.pieces import Example
from jobs.data.reading_order import reading_order
from jobs.data.templates import render
from jobs.data.tokens import COUNTED, IGNORED, TOKENS, Collator, Tokens, tokenise
from jobs.errors import DataError
from jobs.recipes.data import Template
from jobs.recipes.recipe import parse


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file without their places."""
    return [one.row for one in read_rows(path)]


@pytest.mark.parametrize(
    ("template", "row", "prompt_end", "response"),
    [
        ("completion", {"prompt": "2+2=", "completion": "4"}, "2+2=", "4"),
        ("completion", {"question": "Why?", "answer": "So."}, "Why?", "So."),
        ("alpaca", {"instruction": "Go", "input": "", "output": "ok"}, "tion:\nGo\n\n### Response:\n", "ok"),
        ("alpaca", {"instruction": "Go", "input": "x", "output": "ok"}, "Input:\nx\n\n### Response:\n", "ok"),
        ("chat", {"prompt": "hi", "completion": "yo"}, "<u>hi</s><a>", "yo</s>"),
        ("text", {"text": "all of it"}, "", "all of it"),
    ],
)
def test_template_writes(
    template: str, row: dict[str, str], prompt_end: str, response: str, tokenizer: Any
) -> None:
    """Prompt and response of each template, worked by hand."""
    example = render(Template(template), row, chat_writer(tokenizer))
    assert example.prompt.endswith(prompt_end)
    assert example.response == response


def test_chat_learns_the_last_answer_only(tokenizer: Any) -> None:
    """Everything before the last message of the assistant is prompt."""
    said = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    row = {"messages": [{"role": role, "content": text} for role, text in said]}
    example = render(Template.CHAT, row, chat_writer(tokenizer))
    assert example == Example("<u>a</s><a>b</s><u>c</s><a>", "d</s>", whole=True)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": "hi"},
        {"messages": [{"role": "user", "content": "hi"}]},
        {"messages": [{"text": "x"}, {}]},
    ],
)
def test_chat_refuses_what_is_no_conversation(row: dict[str, Any], tokenizer: Any) -> None:
    """A conversation is a list of roles and contents that ends with the assistant."""
    with pytest.raises(DataError, match="messages: got"):
        render(Template.CHAT, row, chat_writer(tokenizer))


def test_only_the_response_counts(tokenizer: Any) -> None:
    """One token a character: two of the prompt are masked, the answer and the end mark are not."""
    (tokens,) = tokenise([Example("a:", "bb")], tokenizer)
    a, colon, b = tokenizer.convert_tokens_to_ids(["a", ":", "b"])
    assert tokens.ids == (a, colon, b, b, tokenizer.eos_token_id)
    assert tokens.labels == [IGNORED, IGNORED, b, b, tokenizer.eos_token_id]


def test_first_token_of_all_never_counts(tokenizer: Any) -> None:
    """Nothing predicts it, even where there is no prompt."""
    (tokens,) = tokenise([Example("", "ab")], tokenizer)
    assert tokens.labels[0] == IGNORED


def test_collator_pads_without_counting() -> None:
    """Gaps hold the padding token, are masked, and do not count."""
    batch = Collator(pad=9)([Tokens((1, 2, 3), 1), Tokens((4, 5), 1)])
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 5, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 2, 3], [IGNORED, 5, IGNORED]]
    assert batch[COUNTED].tolist() == [1, 2, 4]
    assert batch[TOKENS] == 5


def test_long_examples_are_cut_or_dropped(recipe: dict[str, Any], tokenizer: Any, tmp_path: Path) -> None:
    """A prompt that fills the length is dropped, a response that crosses it is cut; both are counted."""
    rows = [{"prompt": f"{n}:", "completion": "b"} for n in range(30)]
    rows += [{"prompt": "long" * 3, "completion": "b"}, {"prompt": "c:", "completion": "d" * 20}]
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe["data"] |= {"path": str(path), "max_length": 10}
    examples = load_examples(parse(recipe).data, tokenizer)
    assert (examples.dropped, examples.cut) == (1, 1)
    assert max(len(example) for example in examples.train + examples.validation) == 10


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"x": "1"}\n\n{"x": "2"}\n'),
        ("a.json", '[{"x": "1"}, {"x": "2"}]'),
        ("a.csv", 'x\n1\n"2"\n'),
    ],
)
def test_formats_read_alike(tmp_path: Path, name: str, text: str) -> None:
    """The same two rows from each format."""
    path = tmp_path / name
    path.write_text(text)
    assert read(path) == [{"x": "1"}, {"x": "2"}]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '{"x": 1}', "got dict, expected a list of objects"),
        ("a.json", "", "got text that is not JSON"),
        ("a.jsonl", "", "got no rows"),
        ("a.txt", "x", "ends in .jsonl"),
    ],
)
def test_unreadable_file_says_where(tmp_path: Path, name: str, text: str, words: str) -> None:
    """What is wrong with a file is told with its name and line."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read(path)


def test_split_is_disjoint_and_complete(recipe: dict[str, Any]) -> None:
    """Every distinct row is on exactly one side; equal rows count once."""
    rows = [{"x": n} for n in range(200)] + [{"x": 0}]
    sides = split(rows, parse(recipe).data)
    assert sorted(row["x"] for row in sides.train + sides.validation) == list(range(200))


def test_split_depends_on_content_alone(recipe: dict[str, Any]) -> None:
    """A row stays on its side when the order changes and others go."""
    data = parse(recipe).data
    whole = split([{"x": n} for n in range(200)], data)
    part = split([{"x": n} for n in reversed(range(0, 200, 2))], data)
    assert [row for row in whole.validation if row["x"] % 2 == 0] == part.validation


def test_split_refuses_an_empty_side(recipe: dict[str, Any]) -> None:
    """One row cannot be on both sides."""
    with pytest.raises(DataError, match="expected at least one row on each side"):
        split([{"x": 1}], parse(recipe).data)


def test_demo_split_has_the_stated_sizes(shipped: dict[str, Any]) -> None:
    """480 rows to learn from and 96 to be judged by, no prompt in both."""
    sides = split(list(demo_data.rows(0)), parse(shipped).data)
    assert (len(sides.train), len(sides.validation)) == (480, 96)
    assert not {row["prompt"] for row in sides.train} & {row["prompt"] for row in sides.validation}
    assert len({row["kind"] for row in sides.validation}) == len(demo_data.KINDS)


def test_demo_answers_are_right() -> None:
    """Each kind checked by a second method on its own prompt."""
    rows = demo_data.rows(5)
    for row in rows:
        told = row["prompt"].strip().partition(": ")[2].split()
        answer = row["completion"]
        match row["kind"]:
            case "sort":
                assert answer.split() == sorted(told)
            case "upper":
                assert answer.lower().split() == told
            case "reverse":
                assert answer.split()[::-1] == told
            case "larger":
                assert answer == max(told[0], told[2].rstrip("?"), key=int)
            case "add":
                assert int(answer) == int(told[0]) + int(told[2])
            case "address":
                assert [word for word in told if "@" in word] == [answer]
            case "as_json":
                assert json.loads(answer) == {"name": told[1].rstrip(","), "age": int(told[3])}
    assert len({row["prompt"] for row in rows}) == len(rows)


def test_demo_data_is_the_same_everywhere() -> None:
    """A seed makes the same rows each time, another seed others."""
    rows = demo_data.rows(0)
    again = demo_data.rows(0)
    assert rows == again
    assert rows != demo_data.rows(1)


def test_every_epoch_reads_every_example_once() -> None:
    """10 examples, batches of 4: the 20 places of 5 steps are each example twice."""
    order = reading_order([5] * 10, batch_size=4, steps=5, seed=1)
    assert Counter(order) == dict.fromkeys(range(10), 2)


def test_batches_hold_examples_of_like_length() -> None:
    """The padding of 64 lengths in batches of 4 is far below that of a random order."""
    lengths = [1 + (7 * place) % 64 for place in range(64)]
    order = reading_order(lengths, batch_size=4, steps=16, seed=2)
    batches = [[lengths[place] for place in order[start : start + 4]] for start in range(0, 64, 4)]
    assert max(max(batch) - min(batch) for batch in batches) == 3
    assert batches != sorted(batches)


def test_order_depends_on_the_seed() -> None:
    """The same seed reads alike, another one does not."""
    assert reading_order([1] * 50, 5, 10, seed=1) == reading_order([1] * 50, 5, 10, seed=1)
    assert reading_order([1] * 50, 5, 10, seed=1) != reading_order([1] * 50, 5, 10, seed=2)
