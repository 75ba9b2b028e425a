"""Reading what the accounting tells; the texts are real answers of Slurm 22.05."""

from __future__ import annotations

from slurm.client.sacct import query, read_endings

NAME = "fr-study-1"


def line(job: str, state: str, submitted: str, seconds: int = 1, name: str = NAME, **other: str) -> str:
    """One line of sacct."""
    resources = other.get("resources", "billing=1,cpu=1,gres/gpu=1,mem=50M,node=1")
    fields = [job, state, f"2026-11-22T04:{submitted}", str(seconds), resources, "gpu1"]
    return "|".join([*fields, other.get("ended", "0:0"), name])


ANSWER = "\n".join(
    [
        line("1_0", "REQUEUED", "57:48", 7),
        line("1_1", "CANCELLED by 0", "57:48", 14),
        line("1_2", "NODE_FAIL", "57:48", 3),
        "1_[2-3%2]|CANCELLED by 0|2026-11-22T04:57:48|0||None assigned|0:0|fr-study-1",
        "1_0|PENDING|2026-11-22T04:57:55|0||None assigned|0:0|fr-study-1",
        line("1_2", "FAILED", "58:48", 60, ended="1:0"),
    ]
)
ALL = [("1", index) for index in range(5)]


def endings(text: str) -> dict[int, list[str]]:
    """The ending of each execution, by index."""
    return {index: [each["ending"] for each in told] for (_, index), told in read_endings(text, ALL).items()}


def test_every_ended_execution_is_told_oldest_first() -> None:
    """A requeue at the task's own wish was a preemption; what still waits has no ending."""
    assert endings(ANSWER) == {
        0: ["preempted"],
        1: ["cancelled"],
        2: ["node_failure", "failed"],
        3: ["cancelled"],
    }


def test_an_execution_has_its_node_its_seconds_its_gpus_and_its_exit_code() -> None:
    """What the ledger of GPU-hours and the reader want to know."""
    assert read_endings(ANSWER, ALL)["1", 2][1] == {
        "ending": "failed",
        "node": "gpu1",
        "seconds": 60.0,
        "gpus": 1,
        "exit": "1:0",
    }


def test_elements_that_never_started_are_told_of_by_their_arrays_line() -> None:
    """Ranges and single indices, without the throttle behind them; on no node."""
    told = "1_[0,2-3%2]|CANCELLED by 0|2026-11-22T04:57:48|0||None assigned|0:0|n"
    assert endings(told) == {0: ["cancelled"], 2: ["cancelled"], 3: ["cancelled"]}
    assert read_endings(told, ALL)["1", 0][0]["node"] == ""


def test_gpus_are_counted_by_kind_where_the_sum_is_left_out() -> None:
    """A site chooses what it counts."""
    for resources, count in (
        ("gres/gpu:v100=2,node=1", 2),
        ("gres/gpu=3,gres/gpu:v100=3", 3),
        ("cpu=1,node=1", 0),
    ):
        told = read_endings(line("1_0", "COMPLETED", "57:48", resources=resources), ALL)
        assert told["1", 0][0]["gpus"] == count


def test_an_earlier_job_with_the_same_id_is_not_ours() -> None:
    """Job ids start again when a site loses its state; the newest name is the array's."""
    text = line("1_0", "TIMEOUT", "10:00", name="other") + "\n" + line("1_0", "COMPLETED", "57:48")
    assert endings(text) == {0: ["completed"]}


def test_only_what_was_asked_for_is_told() -> None:
    """And lines of another form are passed over."""
    assert set(read_endings(ANSWER + "\n2|COMPLETED|x\n\n", [("1", 1), ("2", 0)])) == {("1", 1)}


def test_a_thousand_tasks_are_a_short_command() -> None:
    """Each array is named once."""
    command = query([(job, index) for job in ("7", "8") for index in range(500)])
    assert command[:7] == ["sacct", "-X", "-D", "-P", "-n", "-j", "7,8"]
    assert len(" ".join(command)) < 200
