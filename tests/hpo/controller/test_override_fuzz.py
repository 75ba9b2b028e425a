"""Whatever is typed as overrides gives a plan or one message: never a traceback, nothing written.

FRONTRUNNER_FUZZ_EXAMPLES=5000 makes a long run of it.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from hpo.commands.plan import plan
from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.controller.groups import CLOSED_GROUPS, option_values, options
from hpo.errors import InputError, Problem

# of the slower of the two; a long run sets it to thousands
EXAMPLES = int(os.environ.get("FRONTRUNNER_FUZZ_EXAMPLES", "4"))
FAST = 12  # times as many of the other
GROUPS = (*CLOSED_GROUPS, "space", "objectives", "experiment", "scale")
# signs of a message that was written for programs
UNREADABLE = ("^[", "\\S", "pattern", "NoneType", "object at 0x", "Traceback", "isinstance")


def _listed(text: str) -> tuple[str, ...]:
    """What stands in a text with two blanks or a new line between."""
    return tuple(re.split(r"  |\n", text.strip()))


NUMBERS = _listed(r"""
0  1  2  -1  -0.5  0.5  7  1e-400  1e400  inf  -inf  nan  99999999999999999999  007  1_000
""")
WORDS = _listed(r"""
null  true  false  auto  none  all  ''  ""  a  qv  4bit  min  max  login  local  None
""")
TEXTS = _listed(r"""
a b  'a b'  ä€  a,b  1,2,3  ..  /  ~  ~nobody/x  a:b  4:00:00  '0:00:00'  gpu:-1  gpu:0  gpu:a:2  ,  a=b
'\n'  'a\nb'  '\0'  %s  {}{  ]  (  '  \
""")
NESTED = _listed(r"""
[]  {}  [5]  [a,b]  [null]  [[]]  [{}]  {a: 1}  {a: null}  {a: {b: 1}}  [{a: 1}]  {1: 2}
[{lora_rank: 4}]  [{lora_rank: {}}]  {null: 1}  {direction: max}
""")
GRAMMAR = _listed(r"""
interval(0,1)  interval(1,0)  interval(0,0)  interval(a,b)  interval(1e-400,1)  interval(-inf,nan)
range(1,4)  range(4,1)  range(0,1,step=0)  range(1,8,step=-1)  tag(log,interval(0,1))
tag(log,interval(1e-5,1e-3))  tag(foo,interval(0,1))  choice()  choice(a)  choice(a,a)
choice(1,2.5,true)  choice([1],2)  derive(1)  derive(lora_rank*2)  derive(1/0)  derive(
derive(lora_rank**lora_rank**9)  glob(*)  sort(3,1)  shuffle(1,2)  int(interval(1,8))  str(5)
json_str({a: 1})
""")
INTERPOLATIONS = _listed(r"""
${seed}  ${nothing}  ${oc.env:HOME}  ${oc.env:NOT_THERE}  ${  ${cluster}  ???  ${now:%Y}
""")
VALUES = (*NUMBERS, *WORDS, *TEXTS, *NESTED, *GRAMMAR, *INTERPOLATIONS)
ODD = _listed(r"""
=5  =  a  -x  +  ~  ~=  ++=1  +a  ~study  ~study.name  ~space  ~space.lora_rank  ~cluster  ~experiment
strategy@x=bo  @=1  a.=1  .a=1  a..b=1  [0]=1  study.enqueue[0]=1  study[name]=a  hydra.run.dir=x
+hydra/launcher=basic  +new=1  +study.new=1  +cluster.extra.nodelist=a  +trainer.args.new=1  --flag
study=a  study=null  cluster=null  strategy=[bo,random]  space={}  objectives=[]  ../conf=x
trainer=../x  model=  config=config
""")


def _keys(values: object, prefix: str) -> Iterator[str]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.")


def _every_key() -> list[str]:
    """Of the default study and of every option, but for those that name code, and the cache."""
    raw, _ = compose_config([])
    keys = set(_keys(raw, ""))
    for group in CLOSED_GROUPS:
        for option in options(group, None):
            keys |= set(_keys(option_values(group, option), f"{group}."))
    return sorted(key for key in keys if not key.endswith(("_target_", "cache")))


OPEN_KEYS = _listed(r"""
space.dropout  space.trainer.args.optim  space.conditions.lora_rank  space.constraints
objectives.tokens  objectives.x  data.sources.a.path  data.sources.a.weight  data.columns.a
trainer.parameters.a  trainer.env.A  trainer.args.weight_decay  cluster.extra.nodelist  arms.a
""")
KEYS = (*_every_key(), *OPEN_KEYS)
CHOICES = [f"{group}={name}" for group in GROUPS for name in (*options(group, None), "nothing")]

assignments = st.builds(
    lambda sign, key, value: f"{sign}{key}={value}",
    st.sampled_from(["", "", "", "", "+", "++", "~"]),
    st.sampled_from(KEYS),
    st.sampled_from(VALUES) | st.integers().map(str) | st.floats().map(str) | st.text(max_size=6),
)
override = assignments | st.sampled_from(CHOICES) | st.sampled_from(ODD)


# studies of every kind, into which values are put without Hydra, which takes most of the time
STUDIES: tuple[list[str], ...] = (
    [],
    ["trainer=synthetic", "strategy=nsga2"],
    ["experiment=command", "strategy=lhs"],
    ["experiment=decode", "scale=demo", "strategy=grid"],
    ["evaluation=tasks", "evaluation.tasks.folder=demo", "strategy=soo", "objectives=loss"],
    ["experiment=challenge_24gb"],
)
PLAIN = (
    None,
    True,
    0,
    1,
    -1,
    10**30,
    0.5,
    -0.5,
    math.nan,
    math.inf,
    "",
    "a",
    "a b",
    "auto",
    "a,b",
    "~nobody/x",
)
plain = st.recursive(
    st.sampled_from(PLAIN) | st.sampled_from(VALUES) | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "name", "path", "lora_rank"]), inner, max_size=2)
    ),
    max_leaves=3,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder, in which the command is typed."""
    folder = tmp_path_factory.mktemp("typed")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@cache
def _study(number: int) -> str:
    raw, problems = compose_config(["cluster=local", *STUDIES[number]])
    assert problems == []
    return json.dumps(raw)


def _with(raw: dict[str, Any], key: str, value: object) -> None:
    """Put a value where a key is, as far as there is such a place."""
    *way, last = key.split(".")
    node: Any = raw
    for part in way:
        node = node.get(part) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node[last] = value


def _refusals(attempt: Callable[[], object]) -> list[Problem] | None:
    """What is wrong, as the command line tells it with exit 2; None where nothing is."""
    try:
        attempt()
    except InputError as error:
        return error.problems
    return None


def _check(problems: list[Problem] | None, place: Path) -> None:
    assert problems != []
    texts = [text for _, text in problems or []]
    assert [text for text in texts if not text.strip() or any(sign in text for sign in UNREADABLE)] == []
    assert list(place.iterdir()) == []


@given(overrides=st.lists(override, min_size=1, max_size=3))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@example(["=5"])
@example(["study.enqueue=[5]"])
@example(["objectives=[]"])
@example(["cluster.gres=gpu:-1"])
def test_what_is_typed(place: Path, overrides: list[str]) -> None:
    """`plan` of overrides in Hydra's grammar, or near it."""
    console = Console(file=io.StringIO())
    _check(_refusals(lambda: plan(["cluster=local", *overrides], None, console)), place)


@given(
    number=st.integers(0, len(STUDIES) - 1),
    changes=st.lists(st.tuples(st.sampled_from(KEYS), plain), min_size=1, max_size=2),
)
@settings(max_examples=FAST * EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@example(0, [("study.enqueue", ["a"])])
@example(0, [("model.package", "a.b")])
def test_what_is_composed(place: Path, number: int, changes: list[tuple[str, object]]) -> None:
    """Any value in the place of any other, as a file of the user's own may have it."""
    raw = json.loads(_study(number))
    for key, value in changes:
        _with(raw, key, value)
    _check(_refusals(lambda: assemble(raw, [])), place)


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        (["=5"], "=5", "names no key"),
        (["study.enqueue=[5]"], "study.enqueue.0", "dictionary"),
        (["cluster.gres=gpu:-1"], "cluster.gres", "expected gpu, gpu:KIND"),
        (["cluster.gres=gpu 2"], "cluster.gres", "without blanks"),
        (["study.umask=777"], "study.umask", "octal digits in quotes"),
        (["study.umask='777'"], "study.umask", "octal digits in quotes"),
        (["study.name='a b'"], "study.name", "a name of letters"),
        (["evaluation=tasks", "evaluation.tasks.names=[]"], "evaluation.tasks.names", "at least one name"),
        (
            ["evaluation=tasks", "evaluation.tasks.folder=demo", "evaluation.tasks.metrics=['']"],
            "evaluation.tasks.metrics",
            "at least one name",
        ),
        (["study.enqueue=[{lora_rank: 3}]"], "study.enqueue[0] lora_rank", "got 3"),
    ],
)
def test_what_was_taken_or_ended_in_a_traceback(overrides: list[str], key: str, words: str) -> None:
    """Each is told by its key, in words."""
    problems = _refusals(lambda: assemble(*compose_config(overrides))) or []
    assert [own for own, _ in problems] == [key]
    assert words in problems[0][1]
