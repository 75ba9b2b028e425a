"""The guard of all numerical work: one thread, and one kind of failure that callers can go on from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from botorch.exceptions.warnings import BotorchWarning
from linear_operator.utils.errors import NanError, NotPSDError
from linear_operator.utils.warnings import NumericalWarning
from threadpoolctl import threadpool_limits
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from hpo.errors import FitError

# what was added to a diagonal, and that an acquisition function asked for by name has a better one
_ADVICE = (NumericalWarning, BotorchWarning)


@contextmanager
def guarded() -> Iterator[None]:
    """Keep torch and the BLAS of NumPy and SciPy to one thread each.

    Small factorisations on contended cores are a thousand times slower with two; even idle ones took 2.7
    times the CPU seconds of one.

    Raises:
        FitError: in place of what the libraries raise where a matrix has no Cholesky factor.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1), warnings.catch_warnings():
            for category in _ADVICE:
                warnings.simplefilter("ignore", category)
            yield
    except (LinAlgError, np.linalg.LinAlgError, NotPSDError, NanError) as error:
        raise FitError(f"a covariance matrix could not be factorised: {error}") from error
    finally:
        torch.set_num_threads(before)
