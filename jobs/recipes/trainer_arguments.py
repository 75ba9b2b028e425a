"""What `trainer.args` may hold: fields of transformers' TrainingArguments, read from its source.

Importing transformers would load torch, and take seconds.
"""

from __future__ import annotations

import ast
import importlib.util
import math
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from jobs.errors import RecipeError

FILES = ("training_args.py", "trainer_utils.py")
# What the trial decides; setting it in trainer.args would have no effect, or spoil what it promises.
DECIDED = {
    "learning_rate": "trainer.learning_rate",
    "per_device_train_batch_size": "trainer.micro_batch_size",
    "auto_find_batch_size": "trainer.micro_batch_size",
    "gradient_accumulation_steps": "trainer.batch_size and trainer.micro_batch_size",
    "max_steps": "trainer.max_steps",
    "num_train_epochs": "trainer.epochs",
    "activation_checkpointing": "trainer.gradient_checkpointing",
    "gradient_checkpointing": "trainer.gradient_checkpointing",
    "save_steps": "trainer.checkpoint_every_s",
    "per_device_eval_batch_size": "evaluation.batch_size",
    "label_smoothing_factor": "the loss, which is cross-entropy alone,",
    **dict.fromkeys(("fp16", "bf16", "fp16_full_eval", "bf16_full_eval", "use_cpu"), "the card"),
    **dict.fromkeys(("seed", "data_seed"), "the seed of the trial"),
    **dict.fromkeys(
        (
            "output_dir", "train_sampling_strategy", "save_strategy", "eval_strategy", "logging_strategy",
            "logging_nan_inf_filter", "report_to", "disable_tqdm", "remove_unused_columns",
            "dataloader_pin_memory", "use_cache", "logging_steps", "logging_first_step", "eval_steps",
            "eval_delay", "eval_on_start", "do_train", "do_eval", "do_predict", "save_only_model",
            "save_total_limit", "load_best_model_at_end", "metric_for_best_model", "greater_is_better",
            "ignore_data_skip", "resume_from_checkpoint", "push_to_hub", "hub_token", "hub_model_id",
            "hub_strategy", "hub_private_repo", "hub_always_push", "hub_revision",
        ),
        "the trial itself",
    ),
}  # fmt: skip
PLAIN: Mapping[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "dict": (Mapping,),
    "list": (list, tuple),
    "None": (type(None),),
}
WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "dict": "a mapping",
    "list": "a list",
    "None": "null",
}
Problem = tuple[str, str]


def argument_problems(recipe: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with `trainer.args`.

    Returns:
        (key path, what is wrong) per problem.
    """
    trainer = recipe.get("trainer")
    args = trainer.get("args") if isinstance(trainer, Mapping) else None
    if not isinstance(args, Mapping):
        return []
    told = {name: _problem(str(name), value) for name, value in args.items()}
    return [(f"trainer.args.{name}", problem) for name, problem in told.items() if problem]


def _problem(name: str, value: object) -> str | None:
    fields = training_fields()
    if name in DECIDED:
        return f"got a setting of what {DECIDED[name]} decides, expected none"
    if name not in fields:
        near = get_close_matches(name, [known for known in fields if known not in DECIDED], 1)
        hint = f"\n\nhint: is trainer.args.{near[0]} meant?" if near else ""
        return f"got an unknown key, expected a field of TrainingArguments{hint}"
    if not _finite(value):
        return f"got {value!r}, expected finite numbers"
    kinds = fields[name]
    choices = [choice for kind in kinds for choice in _enumerations().get(kind, ())]
    if any(kind not in PLAIN and kind not in _enumerations() for kind in kinds) or _fits(value, kinds):
        if not choices or not isinstance(value, str) or value in choices:
            return None
        return f"got {value!r}, expected one of {', '.join(choices)}{_near(value, choices)}"
    return f"got {value!r}, expected {' or '.join(WORDS[kind] for kind in kinds if kind in WORDS)}"


def _finite(value: object) -> bool:
    """Whether there is no infinity and no NaN in a value, however deep."""
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _fits(value: object, kinds: tuple[str, ...]) -> bool:
    allowed = tuple(type_ for kind in kinds for type_ in PLAIN.get(kind, ()))
    if isinstance(value, bool):  # an int to Python, a mistake where a number is asked for
        return "bool" in kinds
    return isinstance(value, allowed)


def _near(value: str, choices: list[str]) -> str:
    near = get_close_matches(value, choices, 1)
    return f"\n\nhint: is {near[0]} meant?" if near else ""


@cache
def training_fields() -> Mapping[str, tuple[str, ...]]:
    """The fields of TrainingArguments and the names of the types that each may have.

    Raises:
        RecipeError: transformers is not installed.
    """
    found = {}
    for node in _classes(FILES[0]):
        if node.name == "TrainingArguments":
            lines = [line for line in node.body if isinstance(line, ast.AnnAssign)]
            found = {
                line.target.id: tuple(_types(line.annotation))
                for line in lines
                if isinstance(line.target, ast.Name)
            }
    return found


def _types(annotation: ast.expr) -> Iterator[str]:
    """The names in an annotation such as `dict[str, Any] | str | None`, without what is in brackets."""
    match annotation:
        case ast.BinOp(left=left, right=right):
            yield from _types(left)
            yield from _types(right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Constant(value=bool())):
            yield "bool"
        case ast.Subscript(value=value):
            yield from _types(value)
        case ast.Name(id=name):
            yield name
        case ast.Constant(value=None):
            yield "None"
        case _:
            yield ast.unparse(annotation)


@cache
def _enumerations() -> Mapping[str, tuple[str, ...]]:
    """The values of every enumeration that a field may hold."""
    return {
        node.name: tuple(
            str(line.value.value)
            for line in node.body
            if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant)
        )
        for file in FILES
        for node in _classes(file)
        if any(isinstance(base, ast.Name) and base.id == "ExplicitEnum" for base in node.bases)
    }


@cache
def _classes(file: str) -> tuple[ast.ClassDef, ...]:
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise RecipeError("transformers: got nothing, expected it to be installed", "`make setup`")
    tree = ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
    return tuple(node for node in tree.body if isinstance(node, ast.ClassDef))
