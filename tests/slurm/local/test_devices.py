"""CPUs and GPUs of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm.local.devices import least_used, slots, visible_gpus


@pytest.mark.parametrize(
    ("named", "gpus"),
    [
        ("0,1", ("0", "1")),
        ("3, GPU-ab", ("3", "GPU-ab")),
        ("", ()),
        ("MIG-1", ("MIG-1",)),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("1,-1,0", ("1",)),
    ],
)
def test_cuda_visible_devices_is_respected(named: str, gpus: tuple[str, ...]) -> None:
    """What the user has hidden stays hidden; an empty value hides all, and -1 what comes after it."""
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": named}) == gpus


def test_without_it_every_gpu_of_nvidia_smi_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that are no GPU, such as MIG slices, are not counted."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: V100'; echo '  MIG 1g'; echo 'GPU 1: V100'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert visible_gpus({}) == ("0", "1")


def test_without_nvidia_smi_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a driver."""
    monkeypatch.setenv("PATH", "")
    assert visible_gpus({}) == ()


@pytest.mark.parametrize(
    ("max_parallel", "cpus", "cpu_count", "gpu_count", "gpus", "expected"),
    [
        (None, 1, 8, 0, 1, 8),
        (None, 4, 8, 0, 1, 2),
        (None, 16, 8, 0, 1, 1),
        (None, 1, 8, 2, 1, 2),
        (None, 4, 8, 4, 1, 2),
        (None, 1, 8, 5, 2, 2),
        (None, 1, 8, 0, 2, 8),
        (5, 4, 8, 1, 1, 5),
    ],
)
def test_slots_follow_the_machine_unless_told(
    max_parallel: int | None, cpus: int, cpu_count: int, gpu_count: int, gpus: int, expected: int
) -> None:
    """CPUs bound it, GPUs too where there are any, and the user's word outranks both."""
    assert slots(max_parallel, cpus, cpu_count, gpu_count, gpus) == expected


def test_the_gpu_with_the_fewest_elements_is_taken() -> None:
    """The first one on a tie; none where there is none."""
    assert least_used(["0", "1"], []) == "0"
    assert least_used(["0", "1"], ["0"]) == "1"
    assert least_used(["0", "1"], ["0", "1", "1"]) == "0"
    assert least_used([], []) == ""


def test_an_element_of_several_gpus_gets_those_with_the_fewest_elements() -> None:
    """As CUDA_VISIBLE_DEVICES takes them; none where there is none."""
    assert least_used(["0", "1", "2", "3"], ["0,2"], 2) == "1,3"
    assert least_used(["0", "1", "2"], ["0,1", "2,0"], 2) == "1,2"
    assert least_used([], [""], 2) == ""
