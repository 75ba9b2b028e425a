"""Names the cause of an attempt that ended with an exception."""

from __future__ import annotations

import traceback

from hpo.paths import TrialPaths
from hpo.records import Cause, Failure, write_json
from jobs.errors import TrialError

NO_HOST_MEMORY = ("DefaultCPUAllocator", "Cannot allocate memory", "std::bad_alloc")


def cause_of(error: BaseException) -> Cause:
    """Why it ended; does not need torch, whose import may be what failed."""
    if isinstance(error, TrialError):
        return error.cause
    text = str(error)
    if type(error).__name__ == "OutOfMemoryError" or "CUDA out of memory" in text:
        return Cause.GPU_OUT_OF_MEMORY
    if isinstance(error, MemoryError) or any(sign in text for sign in NO_HOST_MEMORY):
        return Cause.HOST_OUT_OF_MEMORY
    return Cause.ERROR


def record_failure(paths: TrialPaths, trial: str, attempt: int, error: BaseException) -> Failure:
    """Write the failure file of an attempt."""
    message = str(error) if isinstance(error, TrialError) else f"{type(error).__name__}: {error}"
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    failure = Failure(trial, attempt, cause_of(error).value, message, "".join(lines))
    write_json(paths.failure(attempt), failure.to_json())
    return failure
