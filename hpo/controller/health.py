"""Signs that something is broken which retrying will not mend: a node, or every trial in the same way."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator

from hpo.paths import StudyPaths
from hpo.records import Cause
from hpo.study.state import AttemptEnd, Study

# Ends that a sound node does not cause again and again.
SUSPICIOUS = frozenset({Cause.NODE_FAILURE, Cause.LOST, Cause.ERROR, Cause.HOST_OUT_OF_MEMORY})


def failing_nodes(study: Study, streak: int, nodes: int) -> Iterator[tuple[str, str]]:
    """(node, why) of each node whose last attempts all failed; at most half of the nodes in all.

    Args:
        study: with the attempts that are over.
        streak: how many in a row, of two trials or more.
        nodes: that trials can run on.
    """
    room = nodes // 2 - len(study.excluded)
    newest: dict[str, deque[AttemptEnd]] = defaultdict(lambda: deque(maxlen=streak))
    for end in study.ends:
        newest[end.node].append(end)
    for node in sorted(newest.keys() - {"", *study.excluded}):
        last = list(newest[node])
        if room > 0 and len(last) == streak and _all_bad(last) and not _common(study, last):
            room -= 1
            causes = ", ".join(dict.fromkeys(str(end.cause) for end in last))
            yield node, f"its last {streak} attempts failed ({causes}); {last[-1].message}"


def _all_bad(ends: list[AttemptEnd]) -> bool:
    bad = all(end.cause in SUSPICIOUS and not end.blocked for end in ends)
    return bad and len({end.trial for end in ends}) > 1


def _common(study: Study, ends: list[AttemptEnd]) -> bool:
    """Whether other nodes see the same, so that it is not this node's fault.

    An error tells what it is; a task that vanished before its trial began does not, so that it counts only
    where it is the last that was heard of another node.
    """
    here = {"", *(end.node for end in ends)}
    others = [end for end in study.ends if end.node not in here and end.cause in SUSPICIOUS]
    newest = list({end.node: end for end in study.ends if end.node not in here}.values())
    return any(
        one.like(other)
        for one in ends
        for other in (others if one.cause is Cause.ERROR else newest if one.attempt is None else ())
    )


def repeated_error(study: Study, limit: int, nodes: int) -> str:
    """The message of an error that stops the study; "" if there is none.

    Errors of one node alone are that node's, as long as it can be excluded and something has ever worked.

    Args:
        study: with its last errors in a row.
        limit: how many equal ones.
        nodes: that trials can run on.
    """
    errors = study.errors
    if len(errors) < limit:
        return ""
    seen_on = {end.node for end in errors}
    can_exclude = "" not in seen_on and nodes // 2 - len(study.excluded) > 0 and not errors[-1].blocked
    enough = len(seen_on) > 1 or not can_exclude or len({end.trial for end in errors}) < 2
    return errors[-1].message if enough or _common(study, errors) else ""


def stop_message(errors: list[AttemptEnd], error: str, paths: StudyPaths) -> tuple[str, str]:
    """What is said where equal errors stop a study, and the hint.

    Args:
        errors: the last ones in a row.
        error: the message of them all.
    """
    last = errors[-1]
    if last.blocked:
        what = f"{len(errors)} tasks ended before a trial began, and none of this study ever has: {error}"
        logs = paths.batch(last.batch).submission
        nodes = {end.node for end in errors}
        one = f"only {last.node} was tried, which 'cluster.extra={{exclude: {last.node}}}' leaves out; "
        mend = (
            f"{one if len(nodes) == 1 and last.node else ''}cluster.setup and cluster.python run before it; "
        )
        mend += f"the logs are in {logs}"
        return what, f"{mend}; once that is mended, the same command goes on"
    what = f"{len(errors)} attempts in a row ended with the same error: {error}"
    again = f"`frontrunner retry {paths.folder}` gives the failed trials another attempt"
    return what, f"the traceback is in {paths.trial(last.trial).folder}; after mending it, {again}"
