"""What an array asks for, by the settings and by its own options."""

from __future__ import annotations

from typing import Any

import pytest

from slurm.errors import SubmissionError
from slurm.resources import resources
from slurm.settings import ClusterSettings
from slurm.view import ArrayOptions


def made(settings: dict[str, Any], **changes: Any) -> ClusterSettings:
    """Settings with some changes."""
    return ClusterSettings(**{**settings, **changes})


def test_options_outrank_the_settings(settings: dict[str, Any]) -> None:
    """Time, excluded nodes, how many at once; the rest stays."""
    options: ArrayOptions = {"time_limit_min": 90, "exclude": ["gpu3", "gpu7"], "at_once": 2}
    asked = resources(made(settings, max_parallel=5), options)
    assert (asked.time_limit_min, asked.exclude, asked.at_once) == (90, "gpu3,gpu7", 2)
    assert (asked.gres, asked.cpus) == ("gpu:1", 1)


def test_without_options_the_settings_hold(settings: dict[str, Any]) -> None:
    """Every one of them."""
    asked = resources(made(settings, max_parallel=5))
    assert (asked.time_limit_min, asked.exclude, asked.at_once) == (240, None, 5)


def test_nodes_that_the_user_excludes_stay_excluded(settings: dict[str, Any]) -> None:
    """sbatch would take the last of two lists only."""
    asked = resources(made(settings, extra={"exclude": "gpu[1-2]", "nice": 10}), {"exclude": ["gpu7"]})
    assert asked.exclude == "gpu[1-2],gpu7"
    assert asked.extra == {"nice": 10}


def test_a_helper_asks_for_no_gpu_and_for_nothing_that_needs_one(settings: dict[str, Any]) -> None:
    """Its own CPUs, memory and time; partition, account and QOS of the trials unless it has its own."""
    trials = {"partition": "gpu", "account": "lab", "qos": "long", "constraint": "v100"}
    helper = {**settings["helper"], "partition": "cpu"}
    asked = resources(made(settings, **trials, helper=helper, extra={"nodelist": "gpu1"}), {"helper": True})
    assert (asked.partition, asked.account, asked.qos) == ("cpu", "lab", "long")
    assert (asked.gres, asked.constraint, asked.extra) == (None, None, {})
    assert (asked.cpus, asked.memory, asked.time_limit_min) == (2, {"mem": "8192M"}, 60)


@pytest.mark.parametrize(("options", "minutes"), [({}, 240), ({"time_limit_min": 33}, 33)])
def test_a_time_limit_that_is_found_out_starts_with_four_hours(
    settings: dict[str, Any], options: ArrayOptions, minutes: int
) -> None:
    """Until the controller knows better."""
    assert made(settings, time_limit="auto").time_limit_min is None
    assert resources(made(settings, time_limit="auto"), options).time_limit_min == minutes


def test_an_option_that_leaves_no_time_before_the_warning_is_refused(settings: dict[str, Any]) -> None:
    """The task would be warned before it began."""
    with pytest.raises(SubmissionError, match="less than the time limit of 2 min, got 120 s") as caught:
        resources(made(settings), {"time_limit_min": 2})
    assert not caught.value.busy
    assert resources(made(settings, signal_delay_s=60), {"time_limit_min": 2}).time_limit_min == 2


@pytest.mark.parametrize(
    ("keys", "memory"),
    [
        ({}, {}),
        ({"mem_gb": 1.5}, {"mem": "1536M"}),
        ({"mem_per_cpu_gb": 4}, {"mem_per_cpu": "4096M"}),
        ({"mem_per_gpu_gb": 0.1}, {"mem_per_gpu": "103M"}),
    ],
)
def test_memory_is_asked_for_by_the_key_that_is_set(
    settings: dict[str, Any], keys: dict[str, Any], memory: dict[str, str]
) -> None:
    """Rounded up to MiB; none where no key is set."""
    assert resources(made(settings, **{"mem_gb": None, **keys})).memory == memory
    helper = {**settings["helper"], "mem_gb": None, "mem_per_cpu_gb": keys.get("mem_per_cpu_gb")}
    asked = resources(made(settings, helper=helper), {"helper": True})
    assert asked.memory == (memory if "mem_per_cpu" in memory else {})
