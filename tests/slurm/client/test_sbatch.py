"""The sbatch script, and what is said when sbatch fails."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from slurm import maskwrap
from slurm.client import sbatch as submission
from slurm.client.refusals import submission_hint
from slurm.errors import SubmissionError
from slurm.slurm_executor import SlurmExecutor


def options(text: str) -> dict[str, str]:
    """The #SBATCH lines of a script, read as a shell would."""
    words = [shlex.split(line)[1] for line in text.splitlines() if line.startswith("#SBATCH ")]
    return {word.removeprefix("--").partition("=")[0]: word.partition("=")[2] for word in words}


def preview(settings: dict[str, Any], count: int = 3, folder: str = "/shared/batch 1") -> str:
    """The script of an array of some elements."""
    arguments = [[str(index)] for index in range(count)]
    return SlurmExecutor(**settings).preview(
        name="study-1-ab", folder=folder, target="module:function", arguments=arguments
    )


def test_the_script_holds_exactly_the_options_of_the_defaults(settings: dict[str, Any]) -> None:
    """Nothing that was not asked for reaches sbatch: no partition, account, comment or wckey."""
    assert options(preview(settings)) == {
        "array": "0-2%3",
        "cpus-per-task": "1",
        "error": "/shared/batch 1/%A_%a_0_log.err",
        "export": "ALL",
        "gres": "gpu:1",
        "hold": "",
        "job-name": "study-1-ab",
        "mem": "256M",
        "nodes": "1",
        "open-mode": "append",
        "output": "/shared/batch 1/%A_%a_0_log.out",
        "requeue": "",
        "signal": "USR2@120",
        "time": "240",
    }


def test_every_key_reaches_the_script(settings: dict[str, Any]) -> None:
    """Each as sbatch spells it; an extra that is true is a flag, one that is null is left out."""
    wanted = {
        "partition": "gpu",
        "account": "lab",
        "qos": "long",
        "gres": "gpu:v100:2",
        "constraint": "v100|a100",
        "cpus": 8,
        "mem_gb": 1.5,
        "time_limit": "1-00:00:00",
        "max_parallel": 2,
        "signal_delay_s": 60,
        "extra": {"nodelist": "gpu[1-2]", "exclusive": True, "reservation": None, "mail_type": "END"},
    }
    found = options(preview({**settings, **wanted, "gpus": 2}))
    expected = {
        "partition": "gpu",
        "account": "lab",
        "qos": "long",
        "gres": "gpu:v100:2",
        "constraint": "v100|a100",
        "cpus-per-task": "8",
        "mem": "1536M",
        "time": "1440",
        "array": "0-2%2",
        "signal": "USR2@60",
        "nodelist": "gpu[1-2]",
        "exclusive": "",
        "mail-type": "END",
    }
    assert {key: found.get(key) for key in expected} == expected
    assert "reservation" not in found


def test_two_gpus_are_asked_for_one_task(settings: dict[str, Any]) -> None:
    """Of one node and one srun, so that lease, signals and requeue stay those of one process."""
    text = preview({**settings, "gpus": 2})
    found = options(text)
    assert (found["gres"], found["nodes"]) == ("gpu:2", "1")
    assert not {"ntasks", "ntasks-per-node", "gpus-per-task"} & set(found)
    assert [line.split()[0] for line in text.splitlines() if "submitit_start" in line] == ["srun"]


def test_options_reach_the_script_of_their_array(settings: dict[str, Any]) -> None:
    """More time, other nodes, fewer at once."""
    text = SlurmExecutor(**settings).preview(
        name="study-1-ab",
        folder="/shared",
        target="module:function",
        arguments=[["1"], ["2"], ["3"]],
        options={"time_limit_min": 480, "exclude": ["gpu3", "gpu7"], "at_once": 2},
    )
    found = options(text)
    assert (found["time"], found["exclude"], found["array"]) == ("480", "gpu3,gpu7", "0-2%2")


def test_a_helper_is_an_array_without_a_gpu(settings: dict[str, Any]) -> None:
    """Of one element, with the helper's own resources."""
    text = SlurmExecutor(**{**settings, "constraint": "v100"}).preview(
        name="propose", folder="/shared", target="m:f", arguments=[["1"]], options={"helper": True}
    )
    found = options(text)
    assert not {"gres", "constraint"} & set(found)
    assert (found["cpus-per-task"], found["mem"], found["time"]) == ("2", "8192M", "60")


def test_a_batch_of_one_is_an_array_too(settings: dict[str, Any]) -> None:
    """Otherwise its element would have no index, and another kind of id."""
    assert options(preview(settings, count=1))["array"] == "0-0%1"


def test_setup_comes_before_python_and_python_starts_with_signals_blocked(settings: dict[str, Any]) -> None:
    """srun starts the mask wrapper with the configured Python, after the setup lines."""
    lines = preview({**settings, "setup": ["module load cuda"], "python": "env/bin/python"}).splitlines()
    command = shlex.split(lines[-1])
    assert lines.index("module load cuda") < lines.index(lines[-1])
    assert command[0] == "srun"
    start = command.index("env/bin/python")
    assert command[start : start + 3] == ["env/bin/python", "-IS", maskwrap.__file__]


def test_this_interpreter_is_the_default_python(settings: dict[str, Any]) -> None:
    """With python null the node runs what runs here."""
    assert shlex.quote(sys.executable) in preview(settings)


def test_preview_needs_no_slurm_and_writes_nothing(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text can be made on a laptop, for a folder that does not exist."""
    monkeypatch.setenv("PATH", "")
    assert preview(settings, folder=str(tmp_path / "none")).startswith("#!/bin/bash")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_percent_sign_is_refused(settings: dict[str, Any]) -> None:
    """Slurm would take it for a placeholder and lose the logs."""
    with pytest.raises(SubmissionError, match="without '%'"):
        preview(settings, folder="/shared/50%")


def test_an_array_without_elements_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    """There is nothing that sbatch could be given."""
    with pytest.raises(SubmissionError, match="at least one element"):
        SlurmExecutor(**settings).submit(name="a", folder=str(tmp_path), target="m:f", arguments=[])


def fake_client(folder: Path, script: str, name: str = "sbatch") -> str:
    """A folder for PATH, with a client of our own; returns the new PATH."""
    program = folder / name
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_a_failing_sbatch_tells_command_exit_code_output_and_hint(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is needed to see what is wrong is in the message."""
    complaint = "sbatch: error: invalid partition specified: gpuu"
    monkeypatch.setenv("PATH", fake_client(tmp_path, f"echo seen; echo '{complaint}' >&2; exit 1"))
    with pytest.raises(SubmissionError) as caught:
        SlurmExecutor(**settings).submit(name="a", folder=str(tmp_path), target="m:f", arguments=[["1"]])
    message = str(caught.value)
    for part in (
        "sbatch --parsable",
        "exit code 1",
        "stdout: seen",
        complaint,
        "hint: set cluster.partition",
    ):
        assert part in message


def test_an_sbatch_that_waits_for_room_is_ended_and_busy(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on for two minutes; what it said until then is told."""
    said = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying"
    monkeypatch.setenv("PATH", fake_client(tmp_path, f"echo '{said}' >&2; exec sleep 60"))
    monkeypatch.setattr(submission, "SBATCH_TIMEOUT_S", 0.5)
    with pytest.raises(SubmissionError, match="temporarily unable") as caught:
        SlurmExecutor(**settings).submit(name="a", folder=str(tmp_path), target="m:f", arguments=[["1"]])
    assert caught.value.busy
    assert "wait" in caught.value.hint


def test_an_sbatch_without_a_job_id_is_an_error(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0 alone is no submission."""
    monkeypatch.setenv("PATH", fake_client(tmp_path, "echo fine"))
    with pytest.raises(SubmissionError, match="gave no job id"):
        SlurmExecutor(**settings).submit(name="a", folder=str(tmp_path), target="m:f", arguments=[["1"]])


QUEUE = """\
frontrunner|ARRAY_JOB_ID|ARRAY_TASK_ID|STATE|REASON|NODELIST|NAME
frontrunner|2026|0|PENDING|JobHeldUser||another
frontrunner|77|0|PENDING|JobHeldUser||a
"""


@pytest.mark.parametrize(
    "printed",
    [
        "Welcome to the cluster\n42 nodes are up\n\n77\n",
        "77\nmind your quota\n",
        "Submitted batch job 77\n",
        "Submitted batch job 77 on cluster far\n",
        "it is the year\n2026\n77\n",  # two that could be ids: the queue knows which
        "77\n2026\n",
        "your job is in the queue\n",
    ],
)
def test_the_job_id_is_found_among_what_a_wrapper_prints(
    printed: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its form, else by the array's name."""
    (tmp_path / "printed").write_text(printed)
    (tmp_path / "queue").write_text(QUEUE)
    fake_client(tmp_path, f"cat '{tmp_path}/queue'", name="squeue")
    monkeypatch.setenv("PATH", fake_client(tmp_path, f"cat '{tmp_path}/printed'"))
    executor = SlurmExecutor(**settings)
    assert executor.submit(name="a", folder=str(tmp_path), target="m:f", arguments=[["1"]]) == "77"


def test_an_array_of_a_named_cluster_keeps_its_bare_id(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sbatch --parsable adds the cluster's name on a federation; the id is what comes before."""
    monkeypatch.setenv("PATH", fake_client(tmp_path, "echo '77;far'"))
    executor = SlurmExecutor(**settings)
    job_id = executor.submit(name="a", folder=str(tmp_path), target="m:f", arguments=[["1"], ["2"]])
    assert job_id == "77"
    assert {path.name for path in tmp_path.glob("77_*")} == {
        "77_submission.sh",
        "77_0_submitted.pkl",
        "77_1_submitted.pkl",
    }


def test_without_sbatch_the_hint_names_the_other_profile() -> None:
    """A laptop user is sent to cluster=local."""
    assert "cluster=local" in submission_hint("[Errno 2] No such file or directory: 'sbatch'")
