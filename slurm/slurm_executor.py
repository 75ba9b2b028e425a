"""Arrays on Slurm: submit held, release, poll with one squeue, cancel."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from slurm.client import logs, rehearsal, sacct, site_limits, squeue
from slurm.client.cancelled_while_waiting import CancelledWhileWaiting
from slurm.client.command import run
from slurm.client.environment import not_followed
from slurm.client.requests import require, task_lists
from slurm.clocks import WallClock
from slurm.resources import resources
from slurm.settings import ClusterSettings
from slurm.view import ArrayOptions, Ending, ExecutorTraits, Room, SiteLimits, Task, TaskView


class SlurmExecutor:
    """Runs each batch as one Slurm array."""

    name = "slurm"
    clock = WallClock()
    traits: ClassVar[ExecutorTraits] = {
        "runs_as": "Slurm arrays",
        "poll_s": 10.0,
        "backs_off": True,
        "gone_s": 30.0,  # longer than a network disk hides a new file
        "keeps_max_parallel": True,
        "follows": True,
    }

    def __init__(self, **settings: Any) -> None:
        self.settings = ClusterSettings(**settings)
        self.unanswered = ""
        self._accounting = True
        self._cancelled = CancelledWhileWaiting(site_limits.ask_job_age_s)
        self._array_size: int | None = None
        self._partition: site_limits.PartitionSize | None = None
        self._room: Room | None = None

    def silence(self) -> str:
        """What `scontrol ping` says where no controller answers."""
        outcome = run(["scontrol", "ping"])  # 0 as soon as one controller of several is up
        return "" if outcome.ok else outcome.describe()

    def limits(self) -> SiteLimits:
        """What the site allows; what it has answered once is not asked again."""
        self._array_size = self._array_size or site_limits.ask_array_size()
        self._partition = self._partition or site_limits.ask_partition(self.settings.partition)
        return {
            "array_size": self._array_size or site_limits.DEFAULT_ARRAY_SIZE,
            "nodes": self._partition.nodes if self._partition else 1,
            "minutes": self._partition.minutes if self._partition else 0,
            "default_minutes": self.settings.default_minutes,
            "warning_s": self.settings.signal_delay_s,
        }

    def room(self) -> Room:
        """How many elements the partition, the QOS, the account and `max_parallel` let this user run."""
        from slurm.client.site_room import ask_room

        self._room = self._room or ask_room(self.settings)
        return self._room

    def submit(
        self,
        *,
        name: str,
        folder: str,
        target: str,
        arguments: Sequence[Sequence[str]],
        options: ArrayOptions | None = None,
    ) -> str:
        """Submit one held array; its name is the only key to it when the job id was never recorded.

        Raises:
            SubmissionError: sbatch failed, or did not end; the array may exist all the same.
        """
        from slurm.client.sbatch import (  # submitit: only who submits waits for it
            array_executor,
            submit_array,
        )

        executor = array_executor(self.settings, resources(self.settings, options), name, folder)
        return submit_array(executor, target, arguments)

    def follow(
        self, *, name: str, folder: str, command: Sequence[str], after: Collection[str], delay_s: float = 0.0
    ) -> str:
        """Submit a small job that runs a command once arrays are over; those that Slurm has forgotten are.

        Raises:
            SubmissionError: sbatch failed, or did not end; the job may exist all the same.
        """
        from slurm.client.follow import submit_follower

        return submit_follower(
            resources(self.settings, {"helper": True}),
            name=name,
            folder=folder,
            command=command,
            after=after,
            delay_s=delay_s,
            setup=self.settings.setup,
        )

    def following(self, name: str) -> Collection[str] | None:
        """The ids of the jobs of a name that wait or run, but for our own; None if squeue failed."""
        outcome = run(["squeue", "-h", "--me", "-n", name, "-o", "%A"])
        return set(outcome.stdout.split()) - {os.environ.get("SLURM_JOB_ID")} if outcome.ok else None

    def release(self, job_id: str) -> None:
        """Let a held array start.

        Raises:
            SchedulerError: Slurm did not answer, or refused.
        """
        require(run(["scontrol", "release", job_id]), "it stays held until it is released")

    def hold(self, job_id: str) -> None:
        """Keep the waiting elements of an array from starting, until it is released.

        Measured on 22.05: running elements go on, but are marked as well (squeue shows JobHeldUser or
        JobHeldAdmin as their reason), so that one that is requeued later stays held too; one release of the
        array frees them all.

        Raises:
            SchedulerError: Slurm did not answer, or refused.
        """
        require(run(["scontrol", "hold", job_id]), "its waiting elements may still start; hold it again")

    def throttle(self, job_id: str, at_once: int | None) -> None:
        """How many elements of an array may run at the same time from now on; None: no limit.

        Raises:
            SchedulerError: Slurm did not answer, or refused.
        """
        change = f"ArrayTaskThrottle={at_once or 0}"  # 0 is no limit; fewer than run now stops none of them
        require(run(["scontrol", "update", f"JobId={job_id}", change]), "it keeps its limit; try again")

    def warn(self, tasks: Collection[Task]) -> None:
        """Send USR2 to running tasks: checkpoint and be requeued; those that do not run are passed over.

        Measured on 22.05: sent to a whole element while others of its array wait, the signal arrives but is
        answered with "try again", which scancel does for 26 s, each time with the signal. Sent to the step,
        which srun makes the first one, the same is done in 0.03 s; the signal then comes once or twice within
        milliseconds.

        Raises:
            SchedulerError: Slurm did not answer, or refused.
        """
        if tasks:
            steps = [f"{job_id}_{index}.0" for job_id, index in sorted(set(tasks))]
            require(run(["scancel", "--signal=USR2", *steps]), "they go on as they are; warn them again")

    def poll(self) -> Mapping[Task, TaskView] | None:
        """Every task of this user's arrays, by one squeue; None if squeue failed: `unanswered` says how.

        Those that are over stay for as long as the site's MinJobAge says, five minutes by default; those that
        were cancelled while they waited are told of if this process saw them wait.
        """
        outcome = squeue.ask()
        self.unanswered = "" if outcome.ok else outcome.describe()
        if not outcome.ok:
            return None
        tasks, arrays = squeue.read_tasks(outcome.stdout), squeue.read_arrays(outcome.stdout)
        return self._cancelled.with_cancelled(tasks, arrays, time.monotonic())

    def endings(self, tasks: Collection[Task]) -> Mapping[Task, Sequence[Ending]] | None:
        """Every execution of each task that has ended, oldest first, by one sacct.

        Returns:
            None without accounting, which is asked for only once, and where it gives no answer now.
        """
        if not tasks:
            return {}
        if not self._accounting:
            return None
        outcome = run(sacct.query(tasks))
        if "accounting storage is disabled" in outcome.stderr.lower():
            self._accounting = False
        return sacct.read_endings(outcome.stdout, tasks) if outcome.ok else None

    def last_log_lines(self, folder: str, task: Task) -> str | None:
        """The last lines that a task wrote to its error log; None if there are none, "" if none blames it.

        Args:
            folder: where its array was submitted from.
            task: whose log; all its executions append to the same one.
        """
        job_id, index = task
        return logs.last_log_lines([Path(folder) / f"{job_id}_{index}_0_log.err"])

    def cancel(self, tasks: Collection[Task]) -> None:
        """Stop tasks, wherever they are in their life; those that are over are passed over.

        Raises:
            SchedulerError: Slurm did not answer, or refused.
        """
        if tasks:
            outcome = run(["scancel", *task_lists(tasks)])
            require(outcome, "the tasks may still run; cancel again")

    def adopt(self, folder: str) -> None:
        """Nothing to do: Slurm itself knows the arrays that were submitted earlier."""

    def preview(
        self,
        *,
        name: str,
        folder: str,
        target: str,
        arguments: Sequence[Sequence[str]],
        options: ArrayOptions | None = None,
    ) -> str:
        """The exact sbatch script that `submit` would hand over; submits and writes nothing.

        Args:
            name: unique name of the array.
            folder: the folder for scripts, pickles and logs; need not exist.
            target: not part of the script: it travels in a pickle beside it.
            arguments: only their number is part of the script.

        Raises:
            SubmissionError: the folder or an option cannot be used.
        """
        from slurm.client.sbatch import array_executor

        executor = array_executor(self.settings, resources(self.settings, options), name, folder)
        return executor.text(len(arguments))

    def test_submit(
        self, *, name: str, folder: str, count: int, options: ArrayOptions | None = None
    ) -> tuple[str, str, str]:
        """(level, what, hint): what `sbatch --test-only` says of an array; submits nothing."""
        from slurm.client.site import ask_cap_lines, trial_line

        room = self.room()
        if room["at_once"] == 0:
            return "fail", f"no trial may run: {room['why']}", "another cluster.account, .qos or .gres"
        for line in ask_cap_lines(self.settings):
            if line[0] == "fail":
                return line
        return trial_line(self.settings, name, folder, count, options)

    def check(self) -> Sequence[tuple[str, str, str]]:
        """(level, what, hint) per line, level one of ok, warn, fail: what `doctor` prints."""
        from slurm.client.site import check_site

        site = check_site(self.settings)
        answers = site[0][0] == "ok"
        return [*self.notices(), *site, *(self._rehearsal() if answers else ())]

    def _rehearsal(self) -> Iterator[tuple[str, str, str]]:
        """Make each call of a controller once."""
        live, nobody = self.poll(), (rehearsal.NOBODY, 0)
        yield rehearsal.queue_line(self.unanswered if live is None else None)
        yield from rehearsal.accounting_lines()
        requests = (
            lambda: self.release(rehearsal.NOBODY),
            lambda: self.hold(rehearsal.NOBODY),
            lambda: self.throttle(rehearsal.NOBODY, None),
            lambda: self.warn([nobody]),
            lambda: self.cancel([nobody]),
        )
        yield from rehearsal.request_lines(requests)

    def notices(self) -> Sequence[tuple[str, str, str]]:
        """(level, what, hint) per line: what is set here for Slurm's clients and is not followed."""
        return list(not_followed())
