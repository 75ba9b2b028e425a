"""What can be known of a Slurm site before anything is submitted: the lines of `doctor`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from slurm.client import table
from slurm.client.command import Outcome, run
from slurm.client.refusals import is_permanent, submission_hint
from slurm.client.site_caps import check_caps
from slurm.client.site_limits import ask_partition, minutes, parse_configuration
from slurm.client.site_nodes import ask_nodes
from slurm.errors import SubmissionError
from slurm.resources import resources
from slurm.settings import ClusterSettings
from slurm.view import ArrayOptions

Line = tuple[str, str, str]  # (ok | warn | fail, what, hint)

# Our own deadlines: a checkpoint takes seconds, so a shorter KillWait may cut it off.
SHORTEST_KILL_WAIT_S = 10

# The longest interval between two polls: what squeue forgets sooner may never have been seen.
SHORTEST_JOB_AGE_S = 60

DEFAULT_CREDENTIAL_S = 120


def check_site(settings: ClusterSettings) -> Sequence[Line]:
    """Ask the site about itself and about what the settings want of it."""
    ping = run(["scontrol", "ping"])
    if not ping.ok:
        return [("fail", f"Slurm: {ping.describe()}", "run this on a login node, or use cluster=local")]
    lines: list[Line] = [("ok", f"Slurm: {_ping_line(ping.stdout)}", "")]
    configuration = parse_configuration(run(["scontrol", "show", "config"]).stdout)
    lines.extend(configuration_lines(configuration))
    nodes = table.ask(["sinfo"], "%P|%a|%G|%l", heading="PARTITION")
    if nodes.ok:
        lines.extend(partition_lines(nodes.stdout, settings))
    else:
        lines.append(("fail", f"sinfo: {nodes.describe()}", "partitions and nodes cannot be seen"))
    if configuration.get("PreemptMode", "OFF") != "OFF":
        partitions = run(["scontrol", "-o", "show", "partition"]).stdout
        lines.extend(warning_lines(configuration, partitions, settings.partition))
    lines.extend(check_caps(configuration, settings))
    lines.append(trial_line(settings))
    return lines


def _ping_line(text: str) -> str:
    """What scontrol says of the first controller, among whatever a site's wrapper prints."""
    return next((line.strip() for line in text.splitlines() if "Slurmctld" in line), "a controller answers")


def ask_cap_lines(settings: ClusterSettings) -> list[Line]:
    """The lines of `doctor` about the caps of account and QOS."""
    configuration = parse_configuration(run(["scontrol", "show", "config"]).stdout)
    return list(check_caps(configuration, settings))


def trial_line(
    settings: ClusterSettings,
    name: str = "frontrunner-test",
    folder: str = "",
    count: int = 1,
    options: ArrayOptions | None = None,
) -> Line:
    """Ask the scheduler whether an array would run, without submitting it.

    A held array is taken whatever it asks for, and after its release waits for ever with the reason
    BadConstraints or PartitionTimeLimit. Measured on 22.05: the answer is the same where no node has so much
    and where all nodes that do are drained; and a time limit above the partition's is taken.

    Args:
        settings: what each element asks for.
        count: its elements.
    """
    from slurm.client.sbatch import array_executor  # submitit takes 0.2 s to load

    try:
        asked = resources(settings, options)
        text = array_executor(settings, asked, name, folder or "/tmp").text(count)
    except SubmissionError as error:
        return "fail", str(error).partition("\n\nhint: ")[0], error.hint
    size = ask_partition(asked.partition)
    if size and 0 < size.minutes < asked.time_limit_min:
        what = f"time limit: {asked.time_limit_min} min is above the partition's {size.minutes} min"
        return "fail", what, "lower cluster.time_limit"
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "test.sh"
        script.write_text(text.replace("#SBATCH --hold\n", ""), encoding="utf-8")
        outcome = run(["sbatch", "--test-only", str(script)])
    return _verdict(outcome, settings)


def _verdict(outcome: Outcome, settings: ClusterSettings) -> Line:
    if outcome.ok:
        return "ok", "sbatch --test-only: takes the request", ""
    what, hint = f"sbatch --test-only: {outcome.stderr.strip()}", submission_hint(outcome.stderr)
    if not is_permanent(outcome):
        return "warn", what, hint
    if "node configuration" in what.lower():
        away = [node.name for node in ask_nodes(settings.partition) if node.away and node.holds(settings)]
        if away:
            return "warn", f"{what}; {', '.join(away)} would do and cannot be used now", "`sinfo -R` says why"
    return "fail", what, hint


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
    found = re.search(r"cred_expire=(\d+)", configuration.get("AuthInfo", ""))
    wait_s = int(found[1]) if found else DEFAULT_CREDENTIAL_S
    yield "ok", f"Slurm: a requeued task waits {wait_s + 1} s before it starts again (AuthInfo)", ""
    age = re.match(r"\d+", configuration.get("MinJobAge", ""))
    if age and int(age[0]) < SHORTEST_JOB_AGE_S:
        hint = "how a task ended may then be known from its own files and the accounting only"
        yield "warn", f"Slurm: MinJobAge={age[0]} s, squeue soon forgets what is over", hint


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


def warning_lines(configuration: dict[str, str], partitions: str, wanted: str | None) -> Iterator[Line]:
    """Say how much notice a preempted task gets.

    Args:
        configuration: of `parse_configuration`.
        partitions: of `scontrol -o show partition`.
        wanted: the settings' partition; None for the default one.
    """
    told = "preempt_send_user_signal" in configuration.get("SlurmctldParameters", "")
    first = "USR2 and TERM" if told else "TERM only"
    kill_wait = re.match(r"\d+", configuration.get("KillWait", ""))
    for line in partitions.splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        name = fields.get("PartitionName", "")
        mine = fields.get("Default") == "YES" if wanted is None else name in wanted.split(",")
        if not mine or fields.get("PreemptMode", "") == "OFF":
            continue
        grace = fields.get("GraceTime", "0")
        grace_s = int(grace) if grace.isdigit() else 0
        seconds = grace_s + (int(kill_wait[0]) if kill_wait else 0)
        what = f"preemption in {name}: {first}, then {seconds} s until KILL (GraceTime={grace_s})"
        yield "ok", f"{what}; what is lost is the work since the last checkpoint", ""


def partition_lines(text: str, settings: ClusterSettings) -> Iterator[Line]:
    """Look for the settings' partitions and gres in sinfo's answer.

    Args:
        text: sinfo's rows of `%P|%a|%G|%l`; the default partition's name ends with a star.
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
    yield from _time_lines([row[3] for row in rows if row[0].rstrip("*") in wanted], settings)
    yield from _gres_lines([row[2] for row in rows if row[0].rstrip("*") in wanted], settings.gres)


def _time_lines(limits: Sequence[str], settings: ClusterSettings) -> Iterator[Line]:
    longest = [minutes(limit) for limit in limits]
    if not longest or 0 in longest:
        return
    # Many sites take an array whose limit is above the partition's, and never start it.
    if settings.default_minutes > max(longest):
        what = f"time limit: {settings.default_minutes} min is above the partition's {max(longest)} min"
        yield "fail", what, "lower cluster.time_limit"
    else:
        yield "ok", f"time limit: {settings.default_minutes} of at most {max(longest)} min", ""


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
