"""An executor without processes: tasks live in a dictionary that stands for the scheduler's own memory.

The dictionary outlives the executor, as Slurm outlives a controller; a moment at which the controller is to
be killed is a `Killed` raised from inside a call.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TRAITS = {
    "runs_as": "tasks in memory",
    "poll_s": 10.0,
    "backs_off": True,
    "gone_s": 30.0,
    "keeps_max_parallel": True,
    "follows": False,
}


class Killed(BaseException):
    """The controller dies here: nothing may catch it."""


@dataclass
class Scheduler:
    """What a scheduler remembers of its arrays."""

    names: dict[str, str] = field(default_factory=dict)  # job id -> name
    tasks: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    answers: bool = True
    submissions: int = 0
    over: dict[tuple[str, int], str] = field(default_factory=dict)  # ended tasks that are still shown -> word
    accounting: dict[tuple[str, int], list[dict[str, Any]]] | None = None
    nodes: dict[tuple[str, int], str] = field(default_factory=dict)  # of ended tasks, where it is not n1
    last_log_lines: dict[tuple[str, int], str | None] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)  # job id -> of its submission
    throttles: dict[str, int | None] = field(default_factory=dict)
    polls: int = 0
    blocked: tuple[str, str, str] | None = None  # of every task that waits: way, the scheduler's words, hint
    followers: list[str] | None = None

    def start_all(self) -> list[tuple[str, ...]]:
        """Start every released task; returns their arguments, and takes them for ended."""
        ready = [key for key, task in self.tasks.items() if task["state"] == "pending"]
        return [tuple(self.tasks.pop(key)["arguments"]) for key in ready]


class Refused(RuntimeError):
    """An error of the executors' family."""

    def __init__(self, message: str, *, busy: bool, permanent: bool = False) -> None:
        super().__init__(message)
        self.busy, self.permanent = busy, permanent


@dataclass
class MemoryExecutor:
    """The executor of one controller."""

    scheduler: Scheduler
    kill_before_submit: bool = False
    kill_after_submit: bool = False
    kill_after_release: bool = False
    refuse: str = ""
    busy: bool = False
    permanent: bool = False
    most_at_once: int = 10**6  # elements of a submission; more are refused as busy
    array_size: int = 10**6
    nodes: int = 4
    name: str = "slurm"
    clock: Any = time
    unanswered: str = "squeue: error: no such option"
    traits: dict[str, Any] = field(default_factory=lambda: dict(TRAITS))

    def silence(self) -> str:
        return "" if self.scheduler.answers else "nobody answers"

    def limits(self) -> dict[str, int]:
        return {
            "array_size": self.array_size,
            "nodes": self.nodes,
            "minutes": 0,
            "default_minutes": 240,
            "warning_s": 120,
        }

    def room(self) -> dict[str, Any]:
        return {"at_once": None, "waiting": 0, "submitted": None, "why": "tasks in memory"}

    def submit(
        self,
        *,
        name: str,
        folder: str,
        target: str,
        arguments: Sequence[Sequence[str]],
        options: Mapping[str, Any] | None = None,
    ) -> str:
        if self.kill_before_submit:
            raise Killed
        if self.refuse or len(arguments) > self.most_at_once:
            busy = self.busy or not self.refuse
            raise Refused(self.refuse or "too many", busy=busy, permanent=self.permanent)
        self.scheduler.submissions += 1
        job_id = str(self.scheduler.submissions)
        self.scheduler.names[job_id] = name
        self.scheduler.options[job_id] = dict(options or {})
        for index, given in enumerate(arguments):
            self.scheduler.tasks[job_id, index] = {"state": "held", "arguments": given}
        if self.kill_after_submit:
            raise Killed
        return job_id

    def follow(
        self, *, name: str, folder: str, command: Sequence[str], after: Collection[str], delay_s: float = 0.0
    ) -> str:
        if self.scheduler.followers is None:
            raise Refused("nothing can follow an array here", busy=False)
        self.scheduler.followers.append(f"f{len(self.scheduler.followers)}")
        return self.scheduler.followers[-1]

    def following(self, name: str) -> Collection[str] | None:
        return self.scheduler.followers if self.scheduler.answers else None

    def release(self, job_id: str) -> None:
        for (job, _), task in self.scheduler.tasks.items():
            if job == job_id and task["state"] == "held":
                task["state"] = "pending"
        if self.kill_after_release:
            raise Killed

    def hold(self, job_id: str) -> None:
        for (job, _), task in self.scheduler.tasks.items():
            if job == job_id and task["state"] == "pending":
                task["state"] = "held"

    def warn(self, tasks: Collection[tuple[str, int]]) -> None: ...

    def throttle(self, job_id: str, at_once: int | None) -> None:
        self.scheduler.throttles[job_id] = at_once

    def adopt(self, folder: str) -> None: ...

    def poll(self) -> Mapping[tuple[str, int], Any] | None:
        self.scheduler.polls += 1
        if not self.scheduler.answers:
            return None
        names = self.scheduler.names
        over = {
            key: {
                "state": "over",
                "detail": word.upper(),
                "node": self.scheduler.nodes.get(key, "n1"),
                "name": names[key[0]],
                "ending": word,
            }
            for key, word in self.scheduler.over.items()
        }
        live = {
            key: {"state": task["state"], "detail": "", "node": "", "name": names[key[0]], "ending": ""}
            for key, task in self.scheduler.tasks.items()
        }
        if self.scheduler.blocked:
            way, words, hint = self.scheduler.blocked
            live = {
                key: {**view, "detail": words, "blocked": way, "hint": hint} for key, view in live.items()
            }
        return over | live

    def endings(self, tasks: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], Any] | None:
        if self.scheduler.accounting is None:
            return None
        return {task: self.scheduler.accounting.get(task, []) for task in tasks}

    def last_log_lines(self, folder: str, task: tuple[str, int]) -> str | None:
        return self.scheduler.last_log_lines.get(task, "")

    def cancel(self, tasks: Collection[tuple[str, int]]) -> None:
        for task in tasks:
            self.scheduler.tasks.pop(task, None)

    def preview(
        self,
        *,
        name: str,
        folder: str,
        target: str,
        arguments: Sequence[Sequence[str]],
        options: Mapping[str, Any] | None = None,
    ) -> str:
        return f"#!/bin/bash\n# {name}: {len(arguments)} of {target}\n"

    def test_submit(self, *, name: str, folder: str, count: int, options: Any = None) -> tuple[str, str, str]:
        return "ok", f"{name}: memory takes {count}", ""

    def notices(self) -> Sequence[tuple[str, str, str]]:
        return []

    def check(self) -> Sequence[tuple[str, str, str]]:
        return [("ok", "the scheduler is a dictionary", "")]
