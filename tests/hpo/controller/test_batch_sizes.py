"""How many trials are in flight where the site decides it."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from hpo.commands.plan import plan
from hpo.controller.assembly import assemble
from hpo.controller.batch_sizes import BatchSizes, batch_sizes
from hpo.controller.compose import compose_config
from hpo.controller.config import BatchSettings
from hpo.errors import InputError
from hpo.ports import Room


def room(at_once: int | None, waiting: int = 0, submitted: int | None = None) -> Room:
    """What a site says."""
    return {"at_once": at_once, "waiting": waiting, "submitted": submitted, "why": "as it says"}


@pytest.mark.parametrize(
    ("site", "sizes"),
    [
        (room(40, 10), (50, 10)),
        (room(8, 2), (10, 2)),
        (room(4, 1), (5, 1)),
        (room(1, 1), (2, 1)),
        (room(2), (2, 1)),
        (room(100, 25), (64, 12)),
        (room(40, 10, submitted=30), (30, 6)),
        (room(None), (4, 1)),
    ],
)
def test_as_many_as_run_and_a_few_that_wait(site: Room, sizes: tuple[int, int]) -> None:
    """At most 64, and no more than may be submitted; four where nothing is known."""
    made = batch_sizes(BatchSettings("auto", "auto"), lambda: site)
    assert (made.size, made.refill) == sizes
    assert "as it says" in made.why


def test_numbers_of_the_users_ask_nobody() -> None:
    """Each of them may be given alone; a refill never exceeds what the site has room for."""

    def nobody() -> Room:
        raise AssertionError("asked")

    assert batch_sizes(BatchSettings(8, 4), nobody) == BatchSizes(8, 4)
    assert batch_sizes(BatchSettings(8, "auto"), nobody) == BatchSizes(8, 1)
    assert batch_sizes(BatchSettings("auto", 8), lambda: room(2)).refill == 2


@pytest.mark.parametrize("value", ["0", "-1", "many", "2.5", "true", "null"])
def test_another_value_is_one_problem(value: str) -> None:
    """Not one for each kind of value that it is not."""
    with pytest.raises(InputError) as caught:
        assemble(*compose_config(["cluster=local", "trainer=synthetic", f"batch.size={value}"]))
    assert [key for key, _ in caught.value.problems] == ["batch.size"]
    assert "expected a whole number above 0, or auto" in str(caught.value)


def test_the_demo_keeps_four_and_other_studies_follow_the_machine() -> None:
    """On this machine as many as there are slots; the number is in the settings that the journal keeps."""
    common = ["cluster=local", "cluster.max_parallel=3", "trainer=synthetic"]
    demo = assemble(*compose_config(common))
    assert demo.settings["batch"] == {"size": 4, "refill": 4}
    assert "batch_auto" not in demo.settings
    auto = assemble(*compose_config([*common, "batch.size=auto", "batch.refill=auto"]))
    assert auto.settings["batch"] == {"size": 3, "refill": 1}
    assert auto.settings["batch_auto"] == "3 at once (cluster.max_parallel)"
    assert (auto.limits.batch_size, auto.limits.refill) == (3, 1)


def test_plan_says_how_it_came_to_the_number(tmp_path: Any) -> None:
    """With the number of trials that it shows."""
    console = Console(record=True, width=200)
    overrides = ["cluster=local", "cluster.max_parallel=3", "trainer=synthetic", "batch.size=auto"]
    plan([*overrides, "batch.refill=auto", f"study.root={tmp_path}"], None, console)
    text = console.export_text()
    assert "batch.size=auto: 3 trials in flight: 3 at once (cluster.max_parallel)" in text
    assert "a new array as soon as 1 of them are done" in text
