"""Hydra's sweep grammar as parameters."""

import pytest

from hpo.controller.compose import compose_config
from hpo.errors import InputError
from hpo.space.grammar import parse_parameter
from hpo.space.space import Choice, Constant, Derived, Float, Integer, Parameter, parse_space


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(0, 1)", Float(0, 1)),
        ("tag(log, interval(1e-5, 1e-3))", Float(1e-5, 1e-3, log=True)),
        ("range(4, 256, step=4)", Integer(4, 256, step=4)),
        ("range(1, 8)", Integer(1, 8)),
        ("tag(log, range(1, 64))", Integer(1, 64, log=True)),
        ("range(0.1, 0.5, step=0.1)", Float(0.1, 0.5, step=0.1)),
        ("int(interval(4, 256))", Integer(4, 256)),
        ("tag(log, int(interval(4, 256)))", Integer(4, 256, log=True)),
        ("int(tag(log, interval(4, 256)))", Integer(4, 256, log=True)),
        ("tag(int, log, interval(1, 8))", Integer(1, 8, log=True)),
        ("choice(qv, attention, all)", Choice(("qv", "attention", "all"))),
        ("qv, attention", Choice(("qv", "attention"))),
        ("tag(ordered, choice(small, large))", Choice(("small", "large"), ordered=True)),
        ("choice(1, 2.5, true, 'x y')", Choice((1, 2.5, True, "x y"))),
        ("str(choice(1, 2))", Choice(("1", "2"))),
        ("3", Constant(3)),
        ("1e-3", Constant(1e-3)),
        ("true", Constant(True)),
        ("cosine", Constant("cosine")),
        ("derive(2 * lora_rank)", Derived("2 * lora_rank")),
        ("derive( round(ratio * (lora_rank + 1)) )", Derived("round(ratio * (lora_rank + 1))")),
        ("tag(auxiliary, derive(2 * rank))", Derived("2 * rank", auxiliary=True)),
        ("tag(auxiliary, interval(0.5, 4))", Float(0.5, 4, auxiliary=True)),
        ("tag(auxiliary, log, range(1, 64))", Integer(1, 64, log=True, auxiliary=True)),
        ("tag(auxiliary, range(0.5, 2, step=0.5))", Float(0.5, 2, step=0.5, auxiliary=True)),
        ("tag(auxiliary, ordered, choice(1, 2))", Choice((1, 2), ordered=True, auxiliary=True)),
    ],
)
def test_the_grammar_means_what_hydra_users_expect(text: str, expected: Parameter) -> None:
    assert parse_parameter(text) == expected


def test_the_upper_end_of_a_range_is_included() -> None:
    parameter = parse_parameter("range(4, 256, step=4)")
    assert isinstance(parameter, Integer)
    assert parameter.level((parameter.levels or 0) - 1) == 256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("interval(1", "got 'interval(1'"),
        ("", "got ''"),
        ("[1, 2]", "or one plain value"),
        ("null", "or one plain value"),
        ("choice([1, 2], [3])", r"expected plain values to choose from, got \[1, 2\]"),
        ("choice()", "empty choice"),
        ("tag(cubic, interval(0, 1))", "unknown tag cubic"),
        ("tag(log, choice(a, b))", "unknown tag log"),
        ("int(range(10, 1))", "low must not be above high, got low 10 and high 1"),
        ("range(0.5, 3, step=0.5, foo=1)", "expected interval"),
        ("tag(int, interval(0.5, 2))", "expected an integer, got 0.5"),
        ("derive(2 *)", "got '2 *': invalid syntax"),
        ("derive()", "got '': invalid syntax"),
    ],
)
def test_what_means_no_parameter_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace("*", r"\*")):
        parse_parameter(text)


def test_the_command_line_takes_derivations_conditions_and_constraints() -> None:
    """As the shell hands them over; a derivation needs no quotes of its own."""
    config, problems = compose_config(
        [
            "space.alpha_ratio=tag(auxiliary, interval(0.5, 4))",
            "space.lora_alpha=derive(round(alpha_ratio * lora_rank))",
            "space.trainer.args.warmup_steps=interval(0, 0.1)",
            "space.conditions.trainer.args.warmup_steps=\"target_modules == 'all'\"",
            'space.constraints=["lora_rank + lora_alpha <= 64", "target_modules != \'qv\' or lora_rank > 4"]',
        ]
    )
    space = parse_space(config["space"])
    assert problems == []
    assert space.parameters["alpha_ratio"] == Float(0.5, 4, auxiliary=True)
    assert space.parameters["lora_alpha"] == Derived("round(alpha_ratio * lora_rank)")
    assert space.conditions == {"trainer.args.warmup_steps": "target_modules == 'all'"}
    assert space.constraints == ("lora_rank + lora_alpha <= 64", "target_modules != 'qv' or lora_rank > 4")


@pytest.mark.parametrize(
    "text",
    [
        "space.lora_alpha='derive(2 * lora_rank)'",
        'space.lora_alpha="derive(2 * lora_rank)"',
        "space.lora_alpha={type: derived, expression: '2 * lora_rank'}",
        "+space.lora_alpha=derive(2 * lora_rank)",
    ],
)
def test_the_ways_to_write_a_derivation_mean_the_same(text: str) -> None:
    config, problems = compose_config([text])
    assert problems == []
    assert parse_space(config["space"]).parameters["lora_alpha"] == Derived("2 * lora_rank")
