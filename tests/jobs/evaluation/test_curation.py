"""Curation: more of what the untuned base model does badly, balanced by kind, the same for every trial."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from hpo.records import TrialResult, write_json
from jobs.data.selection import SelectedExample
from jobs.data.tokens import Collator, Tokens
from jobs.errors import DataError
from jobs.evaluation import scores
from jobs.evaluation.curation import cells, curate, spread, to_score
from jobs.evaluation.examples import obtain_examples
from jobs.kinds.qlora import Qlora
from jobs.models.precision import precision_for
from jobs.prepare.preview import main as preview
from jobs.recipes.data import CurateBy, CurationRecipe, DataSource, HubRecipe
from jobs.recipes.recipe import parse
from jobs.run_trial import main as run_trial

READER = """
    import json, os, sys
    from pathlib import Path
    from jobs.models.precision import precision_for
    from jobs.recipes.recipe import parse
    from jobs.training.trial import load_all
    recipe = parse(json.loads(Path("recipe.json").read_text()))
    children = []
    for _ in range(6):  # processes that begin at the same moment, the libraries loaded
        if (child := os.fork()) == 0:
            examples = load_all(recipe, Path("cache"), precision_for(None)).examples
            ids = tuple(tuple(one.ids) for one in examples.train)
            sys.stdout.write(f"{hash(ids)}\\n")  # one piece, whole lines
            sys.stdout.flush()
            os._exit(0)
        children.append(child)
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def of(name: str, weight: float = 1.0) -> DataSource:
    """A source."""
    return DataSource(name, None, "completion", {}, HubRecipe(), weight, None)


def kept(lengths: Sequence[int], source: int = 0) -> list[SelectedExample]:
    """Examples of responses of so many tokens after a prompt of one."""
    return [SelectedExample(Tokens(tuple(range(1 + length)), 1), source) for length in lengths]


@pytest.mark.parametrize(
    ("weights", "count", "offset", "expected"),
    [
        ([1, 1, 2], 4, 0.0, [1, 1, 2]),
        ([1, 1, 2], 2, 0.5, [1, 0, 1]),  # borders 0.5, 1, 2 and marks at 0.5, 1.5
        ([1, 1, 2], 2, 0.4, [0, 1, 1]),  # marks at 0.6, 1.6
        ([0, 1, 0], 3, 0.9, [0, 3, 0]),
        ([3, 1], 0, 0.2, [0, 0]),
        ([0.1] * 10, 1, math.nextafter(1, 0), [1] + [0] * 9),
    ],
)
def test_spread_is_systematic(weights: list[float], count: int, offset: float, expected: list[int]) -> None:
    """Worked by hand: the marks k - offset, k = 1, 2, ... fall between the borders of the weights."""
    assert spread(weights, count, offset) == expected


def test_example_is_read_in_proportion_to_a_power_of_its_loss() -> None:
    """Losses per token of 1, 2 and 3 at strength 2 over 28 reads: 1:4:9 makes exactly 2, 8 and 18."""
    losses = {0: (20.0, 20), 1: (20.0, 10), 2: (90.0, 30)}
    recipe = CurationRecipe(CurateBy.EXAMPLE, strength=2, examples=28)
    made = curate(kept([20, 10, 30]), [of("a")], recipe, losses, usual=3)
    assert made.times == [2, 8, 18]
    (part,) = made.parts
    assert (part.kind, part.examples, part.read, part.distinct) == ("generation", 3, 28, 3)
    assert part.loss == pytest.approx(130 / 60)


def test_source_is_read_in_proportion_to_its_weight_and_mean_loss() -> None:
    """Weight 2 and loss 1.5 against weight 1 and loss 1: 3:1, whatever the losses of single examples."""
    train = [*kept([20] * 4, 0), *kept([20] * 4, 1)]
    recipe = CurationRecipe(CurateBy.SOURCE, scored=2, examples=32)
    assert to_score(train, recipe) == [0, 1, 4, 5]
    losses = {0: (20.0, 20), 1: (40.0, 20), 4: (0.0, 20), 5: (40.0, 20)}
    made = curate(train, [of("a", 2), of("b")], recipe, losses, usual=8)
    assert made.times == [6] * 4 + [2] * 4


def test_kinds_are_weighed_apart_and_balanced() -> None:
    """Of 16 reads a quarter are exact-match, however low their losses are against the others'."""
    train = kept([1, 20, 8, 20, 20])
    assert [exact for _, exact in cells(train, 8)] == [True, False, True, False, False]
    losses = {0: (0.1, 1), 1: (80.0, 20), 2: (2.4, 8), 3: (80.0, 20), 4: (80.0, 20)}
    recipe = CurationRecipe(CurateBy.EXAMPLE, exact_match_share=0.25, examples=16)
    made = curate(train, [of("a")], recipe, losses, usual=5)
    assert made.times == [1, 4, 3, 4, 4]
    usual = curate(train, [of("a")], CurationRecipe(CurateBy.EXAMPLE), losses, usual=5)
    assert (usual.times[0] + usual.times[2], sum(usual.times)) == (2, 5)


def test_balance_alone_needs_no_losses() -> None:
    """Six of eight reads are the one exact-match example's; another seed draws other long ones."""
    train = kept([2, *[20] * 50])
    draws = []
    for seed in range(20):
        recipe = CurationRecipe(exact_match_share=0.75, examples=8, seed=seed)
        assert recipe.active
        assert to_score(train, recipe) == []
        made = curate(train, [of("a")], recipe, {}, usual=51)
        assert made.times[0] == 6
        assert sum(made.times) == 8
        assert made == curate(train, [of("a")], recipe, {}, usual=51)
        draws.append(tuple(made.times))
    assert len(set(draws)) > 5


def test_losses_of_nought_leave_all_alike() -> None:
    """Nothing is done badly: nothing is preferred."""
    losses = dict.fromkeys(range(4), (0.0, 20))
    made = curate(kept([20] * 4), [of("a")], CurationRecipe(CurateBy.EXAMPLE), losses, usual=4)
    assert made.times == [1] * 4


def test_kind_that_is_not_there_is_told() -> None:
    """By key, with what would help."""
    with pytest.raises(DataError, match=r"(?s)exact_match_share: got 0.5.*no response of at most 8 tokens"):
        curate(kept([20] * 4), [of("a")], CurationRecipe(exact_match_share=0.5), {}, usual=4)
    with pytest.raises(DataError, match="no response of more than 8 tokens"):
        curate(kept([2] * 4), [of("a")], CurationRecipe(exact_match_share=0.5), {}, usual=4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strength": -1}, "expected at least 0"),
        ({"exact_match_share": 1.5}, "expected less than or equal to 1"),
        ({"by": "task"}, "'none', 'source', 'example' or 'score'"),
    ],
)
def test_wrong_settings_are_told(recipe: dict[str, Any], change: dict[str, Any], words: str) -> None:
    """Each by its key path, before anything is submitted."""
    recipe["data"]["curation"] = change
    assert words in dict(Qlora().problems(recipe))[f"data.curation.{next(iter(change))}"]


def test_shipped_profiles_curate_nothing(shipped: dict[str, Any]) -> None:
    """The defaults for older recipes are those of conf/."""
    assert CurationRecipe(**shipped["data"]["curation"]) == CurationRecipe()
    assert not CurationRecipe().active


@pytest.fixture
def long_and_short(recipe: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Sixty rows, a third of them with a response of two characters; half of the reads are theirs."""
    rows = [{"prompt": f"{n}:", "completion": "ab" if n % 3 == 0 else f"{n} is long" * 2} for n in range(60)]
    Path(recipe["data"]["path"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe["data"]["curation"] = {"by": "example", "exact_match_share": 0.5}
    return recipe


def test_losses_are_those_of_transformers(
    long_and_short: dict[str, Any], tokenizer: Any, tmp_path: Path
) -> None:
    """Example by example, by plain transformers on the base model that is not quantised."""
    from transformers import AutoModelForCausalLM

    long_and_short["trainer"]["quantisation"] = "none"
    made, base = parse(long_and_short), AutoModelForCausalLM.from_pretrained(long_and_short["model"]["path"])
    seen: list[Tokens] = []
    mine = scores.measure_with(base, Collator(1), 8, precision_for(None))

    def measure(part: Sequence[Tokens]) -> tuple[list[float], list[int]]:
        seen.extend(part)
        return mine(part)

    examples = obtain_examples(made, tmp_path, lambda: tokenizer, lambda line: None, measure)
    base.eval()
    sums = Counter[bool]()
    tokens = Counter[bool]()
    for one in seen:
        with torch.no_grad():
            found = base(input_ids=torch.tensor([list(one.ids)]), labels=torch.tensor([one.labels]))
        count = len(one) - one.response_at
        sums[count <= 8] += found.loss.item() * count
        tokens[count <= 8] += count
    exact, long = examples.account.curated
    assert exact.loss == pytest.approx(sums[True] / tokens[True], rel=1e-5)
    assert long.loss == pytest.approx(sums[False] / tokens[False], rel=1e-5)
    assert exact.examples + long.examples == len(seen) == exact.read + long.read == len(examples.train)


def test_losses_are_taken_once_and_go_on_where_they_stopped(
    long_and_short: dict[str, Any], tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended in the third part of eight examples: the next process takes the rest, the one after that none."""
    monkeypatch.setattr(scores, "PART", 8)
    made, asked = parse(long_and_short), list[int]()

    def measure(part: Sequence[Tokens]) -> tuple[list[float], list[int]]:
        asked.append(len(part))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return [float(sum(one.ids)) for one in part], [len(one) - one.response_at for one in part]

    def read() -> list[list[int]]:
        examples = obtain_examples(made, tmp_path, lambda: tokenizer, lambda line: None, measure)
        return [list(one.ids) for one in examples.train]

    with pytest.raises(KeyboardInterrupt):
        read()
    first = read()
    assert asked[:3] == [8, 8, 8]
    assert sum(asked[3:]) == len(first) - 16
    asked.append(0)
    before = len(asked)
    assert read() == first
    assert len(asked) == before
    (entry,) = (tmp_path / "scores").iterdir()
    assert not entry.name.startswith(".")


def test_strength_and_share_take_no_losses_anew(
    long_and_short: dict[str, Any], tokenizer: Any, tmp_path: Path
) -> None:
    """What is tuned is no part of the key; a loss that is not finite is refused."""

    def measure(part: Sequence[Tokens]) -> tuple[list[float], list[int]]:
        return [float(one.ids[0]) for one in part], [len(one) - one.response_at for one in part]

    def bad(part: Sequence[Tokens]) -> tuple[list[float], list[int]]:
        return [math.nan] * len(part), [1] * len(part)

    def read(how: Any) -> int:
        made = parse(long_and_short)
        return len(obtain_examples(made, tmp_path, lambda: tokenizer, lambda line: None, how).train)

    with pytest.raises(DataError, match="expected a finite number"):
        read(bad)
    usual = read(measure)
    long_and_short["data"]["curation"] |= {"strength": 0.5, "exact_match_share": 0.1, "seed": 3}
    assert read(lambda part: pytest.fail("taken again")) == usual


def test_trial_and_preview_read_the_same(
    long_and_short: dict[str, Any],
    make_trial: Any,
    tmp_path: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    keep_handlers: None,
) -> None:
    """`data` takes the losses, the trial finds them; both tell the same account."""
    long_and_short["data"]["curation"]["examples"] = 30
    write_json(tmp_path / "recipe.json", long_and_short)
    assert preview(str(tmp_path / "recipe.json"), str(cache)) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "an epoch reads 30 examples" in " ".join(shown)
    assert any("taking the untuned base model's loss" in line for line in shown)
    start = next(number for number, line in enumerate(shown) if line.startswith("curated source"))
    table = shown[start : start + 3]
    assert [line.split()[1] for line in table[1:]] == ["exact-match", "generation"]
    assert [line.split()[-2] for line in table[1:]] == ["15", "15"]
    paths = make_trial(long_and_short)
    assert run_trial(str(paths.folder.parent.parent), "000", "0000") == 0
    said = capsys.readouterr().out
    assert "\n".join(table) in said
    assert "taking the untuned" not in said
    assert TrialResult.read(paths.metrics).details["train_examples"] == 30


@pytest.mark.slow
def test_many_at_once_take_losses_once(long_and_short: dict[str, Any], tmp_path: Path) -> None:
    """Six processes on an empty cache: one takes the losses, all read the same examples."""
    write_json(tmp_path / "recipe.json", long_and_short)
    command = [sys.executable, "-c", textwrap.dedent(READER)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, check=True).stdout
    assert said.count("taking the untuned base model's loss") == 1
    assert list(Counter(line for line in said.splitlines() if line.lstrip("-").isdigit()).values()) == [6]
