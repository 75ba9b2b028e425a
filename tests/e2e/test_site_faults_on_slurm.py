"""What a site does to a study on its first day, on a true one-machine Slurm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conditions import PATIENCE_S, wait_until
from study_runs import SYNTHETIC, StudyRun

from slurm.devcluster import cluster as devcluster
from slurm.devcluster.files import Layout, Options

pytestmark = pytest.mark.slurm

FOUR = [f"{number:04d}" for number in range(4)]
BLIND = """#!/bin/sh
# nodes that do not see the study folder cannot open the log either
for last; do :; done
sed -i -E 's#^(.SBATCH --(output|error)=).*#\\1/nowhere/log#' "$last"
exec {sbatch} "$@"
"""


@pytest.fixture
def run(tmp_path: Path, cluster: Layout) -> StudyRun:
    """A study of four trials of a second in one array."""
    options = [*SYNTHETIC, "cluster.mem_gb=0.25", "controller.poll_seconds=0.5", "controller.gone_seconds=1"]
    return StudyRun(tmp_path / "studies", options=[*options, "budget.trials=4", "trainer.seconds=1"])


def _path(folder: Path, **programs: str) -> str:
    """A PATH on which these scripts come first."""
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])


def _which(name: str) -> str:
    return subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("fault", ["setup", "silent setup", "python", "unseen folder"])
def test_tasks_that_never_begin_stop_the_study_and_the_same_command_goes_on(
    fault: str, run: StudyRun, tmp_path: Path
) -> None:
    """After an array or two exit code 1, with why; mended, four trials with one attempt each."""
    broken, told = {
        "setup": ("cluster.setup=['module_nowhere load cuda || exit 1']", "module_nowhere"),
        "silent setup": ("cluster.setup=['exit 1']", "cluster.setup"),
        "python": ("cluster.python=/nowhere/python", "/nowhere/python"),
        "unseen folder": ("cluster=slurm", f"the nodes may not see {run.paths.folder}"),
    }[fault]
    run.options = [*run.options, "cluster=slurm"]
    if fault == "unseen folder":
        run.environment = {"PATH": _path(tmp_path / "bin", sbatch=BLIND.format(sbatch=_which("sbatch")))}
    done = run.run(*run.command("tune", broken)[3:])
    assert done.returncode == 1, done.stdout
    assert "ended before a trial began, and none of this study ever has" in done.stderr
    assert told in done.stderr
    assert len(run.study.batches) <= 2
    assert run.study.excluded == {}
    run.environment = {}
    run.finish()
    assert run.attempts() == dict.fromkeys(FOUR, 1)
    assert run.completed() == FOUR


def test_a_study_of_auto_stays_on_slurm_where_slurm_is_not_seen(run: StudyRun, tmp_path: Path) -> None:
    """A step from a cron without a path to Slurm starts nothing on the login node; a later one goes on."""
    run.options = [*run.options, "trainer.seconds=3"]
    assert run.run(*run.command("step")[3:]).returncode == 0
    (tmp_path / "empty").mkdir()
    run.environment = {"PATH": str(tmp_path / "empty")}
    assert run.run(*run.command("step")[3:]).returncode == 0
    run.environment = {}
    run.finish()
    assert run.study.settings["executor"] == "slurm"
    assert run.attempts() == dict.fromkeys(FOUR, 1)
    assert len(run.study.batches) == 1


def test_no_study_of_auto_is_begun_while_slurm_is_silent(run: StudyRun, tmp_path: Path) -> None:
    """Exit code 1 with Slurm's words, and no folder."""
    away = "#!/bin/sh\necho 'Slurmctld(primary) at c1 is DOWN'; exit 1\n"
    run.environment = {"PATH": _path(tmp_path / "bin", scontrol=away)}
    done = run.run(*run.command()[3:])
    assert done.returncode == 1
    assert "Slurmctld(primary) at c1 is DOWN" in done.stderr
    assert not run.paths.folder.exists()


@pytest.mark.parametrize(("on_scancel", "code"), [("forget", 1), ("retry", 0)])
def test_scancel_of_everything(on_scancel: str, code: int, run: StudyRun) -> None:
    """It stops the study, and takes nothing of the budget; with retry all four are done all the same."""
    size = ["cluster.max_parallel=4", "trainer.seconds=20"]
    run.options = [*run.options, *size, "cluster=slurm", f"cluster.on_scancel={on_scancel}"]
    controller = run.start()
    wait_until(lambda: all(run.began(trial) for trial in FOUR))
    subprocess.run(["scancel", "--me"], check=True)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == code, output
    stopped = "4 tasks were cancelled by scancel, not by `frontrunner cancel`"
    assert (stopped in output) is (code == 1)
    assert run.completed() == ([] if code else FOUR)
    assert run.study.spent == (0 if code else 4)


def test_a_study_in_which_every_trial_fails_ends_with_1(run: StudyRun) -> None:
    """And says so, also when the same command finds nothing to do."""
    run.options = [*run.options, "cluster=slurm", "trainer.fail_diverged=1"]
    for _ in range(2):
        done = run.run(*run.command()[3:])
        assert done.returncode == 1, done.stdout
        assert "ended without a result: no trial has completed" in done.stdout


PROGRAM = """echo start >> "$1/starts"
trap 'echo term >> "$1/terms"; exit 0' TERM
for _ in $(seq 40); do sleep 0.1; done
echo '{"loss": 1}' > "$2"
"""


@pytest.mark.slow
@pytest.mark.long(60)
def test_a_program_that_term_has_ended_is_not_started_before_the_kill(
    require_slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preempted by TERM alone, with a grace time: one start before and one after, and one TERM."""
    layout = devcluster.up(
        tmp_path / "cluster", Options(nodes=1, grace_s=4, extra=("AuthInfo=cred_expire=5",))
    )
    monkeypatch.setenv("SLURM_CONF", str(layout.configuration))
    try:
        script = tmp_path / "program.sh"
        script.write_text(PROGRAM)
        options = [
            "experiment=command",
            "cluster=slurm",
            "cluster.mem_gb=0.25",
            "controller.poll_seconds=0.5",
        ]
        argv = f'trainer.argv=[/bin/sh,{script},"{{folder}}","{{metrics}}","{{x}}","{{batch_size}}"]'
        size = ["budget.trials=1", "batch.size=1", "batch.refill=1"]
        space = ["~space.learning_rate", "~space.ridge", "~space.steps", "space.x='interval(0,1)'"]
        run = StudyRun(tmp_path / "studies", options=[*options, argv, *size, *space])
        controller = run.start()
        program = run.paths.trial("0000").program
        wait_until(lambda: (program / "starts").exists() or controller.poll() is not None)
        urgent = ["--partition=urgent", "--exclusive", "--mem=1", "--wrap=sleep 1", "--output=/dev/null"]
        subprocess.run(["sbatch", *urgent], check=True, capture_output=True)
        output, _ = controller.communicate(timeout=PATIENCE_S)
        assert controller.returncode == 0, output
        assert (program / "starts").read_text().split() == ["start"] * 2
        assert (program / "terms").read_text().split() == ["term"]
        assert run.attempts() == {"0000": 2}
    finally:
        devcluster.down(tmp_path / "cluster")
