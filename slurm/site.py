"""What can be known of a Slurm site before anything is submitted: the lines of `doctor`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from slurm.command import run
from slurm.refusals import submission_hint
from slurm.request import request
from slurm.settings import ClusterSettings
from slurm.site_limits import parse_configuration

Line = tuple[str, str, str]  # (ok | warn | fail, what, hint)

# Our own deadlines: a checkpoint takes seconds, so a shorter KillWait may cut it off.
SHORTEST_KILL_WAIT_S = 10


def check_site(settings: ClusterSettings) -> Sequence[Line]:
    """Ask the site about itself and about what the settings want of it."""
    ping = run(["scontrol", "ping"])
    if not ping.ok:
        return [("fail", f"Slurm: {ping.describe()}", "run this on a login node, or use cluster=local")]
    lines: list[Line] = [("ok", f"Slurm: {ping.stdout.strip().splitlines()[0]}", "")]
    configuration = parse_configuration(run(["scontrol", "show", "config"]).stdout)
    lines.extend(configuration_lines(configuration))
    nodes = run(["sinfo", "-h", "-o", "%P|%a|%G|%l"])
    lines.extend(partition_lines(nodes.stdout, settings))
    lines.append(trial_line(settings))
    return lines


def trial_line(settings: ClusterSettings) -> Line:
    """Ask the scheduler whether an array of one could run, without submitting it.

    A held array is taken whatever it asks for, and after its release waits for ever with the reason
    BadConstraints. Only a warning, as the answer is the same while the right nodes are drained.
    """
    from slurm.submission import array_executor  # submitit takes 0.2 s to load

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "test.sh"
        text = array_executor(settings, request(settings), "frontrunner-test", folder).text(1)
        script.write_text(text.replace("#SBATCH --hold\n", ""), encoding="utf-8")
        outcome = run(["sbatch", "--test-only", str(script)])
    if outcome.ok:
        return "ok", "sbatch --test-only: takes the request", ""
    return "warn", f"sbatch --test-only: {outcome.stderr.strip()}", submission_hint(outcome.stderr)


def configuration_lines(configuration: dict[str, str]) -> Iterator[Line]:
    """Say what the site's configuration means for us.

    Args:
        configuration: of `parse_configuration`.
    """
    if not configuration:
        yield "warn", "Slurm: scontrol show config gave nothing", "ask the site's administrators"
        return
    yield "ok", f"Slurm: version {configuration.get('SLURM_VERSION', 'unknown')}", ""
    accounting = configuration.get("AccountingStorageType", "")
    if accounting.endswith("/none") or not accounting:
        hint = "works; why a task ended and GPU-hours are then known from our own files only"
        yield "warn", "Slurm: no accounting", hint
    else:
        yield "ok", f"Slurm: accounting by {accounting}", ""
    yield from _limit_lines(configuration)
    yield from _preemption_lines(configuration)


def _limit_lines(configuration: dict[str, str]) -> Iterator[Line]:
    size = configuration.get("MaxArraySize", "")
    if size == "0":
        yield "fail", "Slurm: MaxArraySize=0, arrays are off", "ask the administrators to allow arrays"
    else:
        yield "ok", f"Slurm: MaxArraySize={size}", ""
    if configuration.get("JobRequeue", "1") == "0":
        yield "ok", "Slurm: JobRequeue=0, our arrays ask for --requeue themselves", ""


def _preemption_lines(configuration: dict[str, str]) -> Iterator[Line]:
    mode = configuration.get("PreemptMode", "OFF")
    yield "ok", f"Slurm: PreemptMode={mode} ({configuration.get('PreemptType', 'unknown')})", ""
    if "CANCEL" in mode:
        hint = "preempted tasks are not requeued by Slurm; they are submitted again"
        yield "warn", "Slurm: preemption cancels", hint
    kill_wait = re.match(r"\d+", configuration.get("KillWait", ""))
    if kill_wait and int(kill_wait[0]) < SHORTEST_KILL_WAIT_S:
        hint = "a checkpoint may not end in time; the one before it is used then"
        yield "warn", f"Slurm: KillWait={kill_wait[0]} s", hint
    elif kill_wait:
        yield "ok", f"Slurm: KillWait={kill_wait[0]} s", ""


def partition_lines(text: str, settings: ClusterSettings) -> Iterator[Line]:
    """Look for the settings' partitions and gres in sinfo's answer.

    Args:
        text: of `sinfo -h -o '%P|%a|%G|%l'`; the default partition's name ends with a star.
        settings: what is wanted.
    """
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 3]
    names = {row[0].rstrip("*") for row in rows}
    default = {row[0].rstrip("*") for row in rows if row[0].endswith("*")}
    wanted = set(settings.partition.split(",")) if settings.partition else default
    listed = ", ".join(sorted(names)) or "none"
    if not wanted:
        hint = f"set cluster.partition to one of: {listed}"
        yield "fail", "partition: the site has no default partition", hint
    for missing in sorted(wanted - names):
        yield "fail", f"partition: no {missing} here", f"set cluster.partition to one of: {listed}"
    for found in sorted(wanted & names):
        state = {row[1] for row in rows if row[0].rstrip("*") == found}
        level = "ok" if "up" in state else "fail"
        hint = "" if level == "ok" else f"partition {found} takes no jobs now"
        yield level, f"partition: {found} is {', '.join(sorted(state))}", hint
    yield from _gres_lines([row[2] for row in rows if row[0].rstrip("*") in wanted], settings.gres)


def _gres_lines(offers: Sequence[str], gres: str | None) -> Iterator[Line]:
    if gres is None:
        yield "ok", "gres: none wanted", ""
        return
    # `gpu:v100:2(S:0-1),nvme:1` offers gpu, gpu:v100 and nvme; `gpu:v100:1` asks for the second.
    offered = {kind for offer in offers for kind in _kinds(offer)}
    for wanted in gres.split(","):
        kind = re.sub(r":\d+\w?$", "", wanted)
        if kind in offered:
            yield "ok", f"gres: {wanted}", ""
        else:
            listed = ", ".join(sorted(offered)) or "none"
            hint = f"set cluster.gres to one of: {listed}"
            yield "fail", f"gres: the partition has no {kind}", hint


def _kinds(offer: str) -> Iterator[str]:
    for part in re.sub(r"\([^)]*\)", "", offer).split(","):
        words = [word for word in part.split(":") if not re.fullmatch(r"\d+\w?", word)]
        for length in range(1, len(words) + 1):
            yield ":".join(words[:length])
