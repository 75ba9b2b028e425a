"""The cluster keys: checks, and the shipped profiles."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pydantic import ValidationError

from slurm.settings import ClusterSettings, limit_minutes

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [
        *[(90, 90), ("90", 90), ("4:00:00", 240), ("00:00:30", 1), ("1-02:03:00", 1563), ("0:01:01", 2)],
        *[("30:00", 30), ("4:30", 5), ("1-2", 1560), ("1-02:30", 1590), ("60:00", 60), ("120:00:00", 7200)],
    ],
)
def test_time_limits_become_whole_minutes_rounded_up(limit: int | str, minutes: int) -> None:
    """Every form that sbatch knows means what it means to sbatch; of two numbers the first are minutes."""
    assert limit_minutes(limit) == minutes


@pytest.mark.parametrize(
    "limit", [0, -5, "0:00:00", "soon", "1-", "-2", "1-2:3:4:5", "1:2:3:4", "", "4h", "0", "00:00"]
)
def test_other_time_limits_are_refused(limit: int | str) -> None:
    """A limit that is not positive, or has another form, is no limit."""
    with pytest.raises(ValueError, match="expected"):
        limit_minutes(limit)


def test_all_problems_are_reported_together_by_key(settings: dict[str, Any]) -> None:
    """One error names every key that is wrong, an unknown one too."""
    wrong = {"cpus": 0, "mem_gb": -1, "time_limit": "soon", "extra": {"array": "0-3"}, "partitoin": "gpu"}
    with pytest.raises(ValidationError) as caught:
        ClusterSettings(**{**settings, **wrong})
    assert {error["loc"][0] for error in caught.value.errors()} == set(wrong)


def test_a_missing_key_is_reported(settings: dict[str, Any]) -> None:
    """No default hides in the code: every key comes from the configuration."""
    with pytest.raises(ValidationError) as caught:
        ClusterSettings()  # type: ignore[call-arg]
    assert {error["loc"][0] for error in caught.value.errors()} == set(settings)


OWN = ["array", "mem", "--time", "cpus_per_task", "open-mode", "-p", "p", "-A", "-t", "-N", "-M", "-W"]
OWN += ["mem-per-cpu", "mem_per_gpu", "--export", "export-file", "partit", "--mem-per", "ntasks"]


@pytest.mark.parametrize("option", OWN)
def test_extra_refuses_what_another_key_sets(settings: dict[str, Any], option: str) -> None:
    """An option cannot be set in two places, also by its letter or by the beginning of its name."""
    with pytest.raises(ValidationError, match="no other key sets"):
        ClusterSettings(**{**settings, "extra": {option: "1"}})


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"-w": "gpu01"}, {"nodelist": "gpu01"}),
        ({"nodelist": ["gpu01", "gpu02"]}, {"nodelist": "gpu01,gpu02"}),
        ({"L": "a:1", "mail_type": "END"}, {"licenses": "a:1", "mail-type": "END"}),
        ({"time-min": "1:00:00", "gres-flags": "enforce-binding"},) * 2,
    ],
)
def test_extra_takes_other_options_in_any_spelling(
    settings: dict[str, Any], given: dict[str, Any], options: dict[str, Any]
) -> None:
    """Kept by sbatch's long names, lists with commas."""
    assert ClusterSettings(**{**settings, "extra": given}).extra == options


STRANGE = [{"a b": 1}, {"nice=5 --hold": True}, {"": 1}, {"comment": "a\n#SBATCH -p x"}]


@pytest.mark.parametrize("given", STRANGE)
def test_extra_refuses_what_is_no_option_on_one_line(settings: dict[str, Any], given: dict[str, Any]) -> None:
    """Each becomes one line of the script."""
    with pytest.raises(ValidationError, match="expected"):
        ClusterSettings(**{**settings, "extra": given})


@pytest.mark.parametrize("keys", [{}, {"mem_per_cpu_gb": 4}, {"mem_per_gpu_gb": 40.5}])
def test_memory_may_be_asked_for_by_one_key_or_none(settings: dict[str, Any], keys: dict[str, Any]) -> None:
    """Neither is missed."""
    changed = {**settings, "mem_gb": None, **keys}
    assert ClusterSettings(**changed).mem_gb is None


@pytest.mark.parametrize("key", ["mem_per_cpu_gb", "mem_per_gpu_gb"])
def test_memory_by_two_keys_is_refused(settings: dict[str, Any], key: str) -> None:
    """Of the trials as of a helper, by the key that was set on top."""
    with pytest.raises(ValidationError, match=r"there is mem_gb=0\.25; set that to null") as caught:
        ClusterSettings(**{**settings, key: 4})
    assert [error["loc"] for error in caught.value.errors()] == [(key,)]
    helper = {**settings["helper"], "mem_per_cpu_gb": 2}
    with pytest.raises(ValidationError, match="there is mem_gb=8; set that to null"):
        ClusterSettings(**{**settings, "helper": helper})


def test_lists_of_gres_and_partitions_have_commas(settings: dict[str, Any]) -> None:
    """Also where YAML has them as lists."""
    made = ClusterSettings(**{**settings, "gres": ["gpu", "nvme:1"], "partition": ["a", "b"]}, gpus=2)
    assert (made.gres, made.partition) == ("gpu:2,nvme:1", "a,b")


def test_a_warning_that_would_come_before_the_task_is_refused(settings: dict[str, Any]) -> None:
    """With a limit that would do; a short one with a short delay is fine, and so is auto."""
    with pytest.raises(ValidationError, match="a time limit of 9 min or more") as caught:
        ClusterSettings(**{**settings, "time_limit": 2})
    assert caught.value.errors()[0]["loc"] == ("signal_delay_s",)
    ClusterSettings(**{**settings, "time_limit": 1, "signal_delay_s": 59})
    assert ClusterSettings(**{**settings, "time_limit": "auto"}).default_minutes == 240


def test_the_keys_of_a_helper_are_checked_too(settings: dict[str, Any]) -> None:
    """By their path."""
    wrong = {**settings["helper"], "cpus": 0, "time_limit": "auto", "gres": "gpu:1"}
    with pytest.raises(ValidationError) as caught:
        ClusterSettings(**{**settings, "helper": wrong})
    assert {error["loc"][:2] for error in caught.value.errors()} == {
        ("helper", "cpus"),
        ("helper", "time_limit"),
        ("helper", "gres"),
    }


@pytest.mark.parametrize(
    ("gres", "gpus", "asked"),
    [
        ("gpu", 1, "gpu:1"),
        ("gpu", None, "gpu:1"),
        ("gpu:v100:4", None, "gpu:v100:4"),
        ("gpu", 2, "gpu:2"),
        ("gpu:v100", 2, "gpu:v100:2"),
        ("gpu:1080ti", 2, "gpu:1080ti:2"),
        ("gpu:v100:2", 2, "gpu:v100:2"),
        ("nvme:1,gpu", 4, "nvme:1,gpu:4"),
        ("gpu:a100:1,gpu:v100:1", 2, "gpu:a100:1,gpu:v100:1"),
        ("shard:3", 2, "shard:3"),
        (None, 2, None),
    ],
)
def test_the_number_of_gpus_follows_what_trials_use(
    settings: dict[str, Any], gres: str | None, gpus: int | None, asked: str | None
) -> None:
    """Put in where the gres has none; kept where it is the same, or where the trainer does not say."""
    assert ClusterSettings(**{**settings, "gres": gres}, gpus=gpus).gres == asked


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gres", "gpu:1"),
        ("gres", "gpu:v100:4"),
        ("gres", "gpu:3g.20gb:1"),
        ("extra", {"gpus-per-task": "v100:1"}),
        ("extra", {"gpus": 4}),
    ],
)
def test_another_number_of_gpus_is_refused(settings: dict[str, Any], key: str, value: Any) -> None:
    """One key must not contradict another; the message names the one that leads."""
    with pytest.raises(ValidationError, match=r"expected 2, as trainer\.gpus says") as caught:
        ClusterSettings(**{**settings, key: value}, gpus=2)
    assert [error["loc"] for error in caught.value.errors()] == [(key,)]


@pytest.mark.parametrize("profile", ["auto", "local", "slurm"])
def test_each_profile_holds_every_key_and_can_be_built(profile: str) -> None:
    """What a profile composes to is its target and exactly the keys of ClusterSettings."""
    with initialize_config_dir(str(CONF / "cluster"), version_base=None):
        composed = OmegaConf.to_container(compose(profile))
    assert isinstance(composed, dict)
    keys = {field.name for field in dataclasses.fields(ClusterSettings)} - {"gpus"}  # trainer.gpus says it
    assert set(composed) == keys | {"_target_"}
    expected = {"local": "local", "slurm": "slurm"}.get(profile)
    built = instantiate(composed, _convert_="all")
    assert built.name == (expected or built.name)
