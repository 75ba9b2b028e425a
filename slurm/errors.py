"""The errors of this package: what, got, expected, where; then a hint."""

from __future__ import annotations


class ClusterError(RuntimeError):
    """An error of the cluster side; `hint` says what to do about it.

    Args:
        message: what is wrong.
        hint: what to do about it.
        busy: the scheduler could not take it now, and may take it later.
        permanent: it will never be taken as it is.
    """

    def __init__(self, message: str, hint: str = "", *, busy: bool = False, permanent: bool = False) -> None:
        super().__init__(f"{message}\n\nhint: {hint}" if hint else message)
        self.hint = hint
        self.busy = busy
        self.permanent = permanent


class SubmissionError(ClusterError):
    """No array is known to have been submitted; look it up by name before trying again."""


class SchedulerError(ClusterError):
    """The scheduler refused a request, or did not answer it."""


class TargetError(ClusterError):
    """The `module:function` of a task cannot be found on this node."""


class DevClusterError(ClusterError):
    """The one-machine cluster cannot be started or stopped."""
