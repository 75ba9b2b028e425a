"""The Gaussian process of one objective, as a BoTorch model.

Inputs are points of the unit cube; outcomes the objective's own unit, turned so that more is better (of an
objective to minimise, minus its value). float64. Notation:

    X       n x d   configurations
    known   n       known noise variances, 0 where none is known
    told    n       squared standard errors as measured, 0 where none is known
    counts  n       measurements pooled in each row
    share           of `told`, learned
    tau2            learned noise variance of one measurement

The covariance of the rows is k(X, X) + diag(known + share told + tau2 / counts), k the kernel of
`hpo.models.kernel`. A standard error is one of the choice of examples, say; trials that are measured on the
same ones err alike, so that only a share of it is noise between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from botorch.models import ModelListGP, SingleTaskGP
from botorch.models.transforms.input import AppendFeatures, InputTransform
from botorch.models.transforms.outcome import OutcomeTransform, Standardize
from botorch.utils.constraints import LogTransformedInterval
from gpytorch.likelihoods import GaussianLikelihood
from linear_operator.operators import DiagLinearOperator, LinearOperator
from torch import Tensor

from hpo.models.distances import Array
from hpo.models.kernel import Form, MixedKernel, normal_prior
from hpo.models.transforms import ObjectiveTransform
from hpo.space.space import Point

_BOUNDS_TAU2 = (1e-6, 1.0)
_BOUNDS_SHARE = (1e-3, 1.0)
_ERRORS = (1e-6, 1e6)  # standard errors in units of the values' spread: beyond these nothing changes any more
PRIOR_TAU2 = (math.log(1e-5), 2.0)  # of its logarithm
PRIOR_SHARE = (-1.5, 1.5)  # likewise; chosen on the recorded table `demo`, see docs/optimiser.md


class PooledLikelihood(GaussianLikelihood):  # type: ignore[misc]
    """Normal noise: of a row what is known of it, and what is learned, the less the more it was measured.

    Args:
        known: batch x n variances.
        counts: batch x n measurements.
        told: batch x n variances of which a share is noise.
    """

    def __init__(self, known: Tensor, counts: Tensor, told: Tensor) -> None:
        super().__init__(noise_constraint=LogTransformedInterval(*_BOUNDS_TAU2), batch_shape=known.shape[:-1])
        self.register_prior("log_noise_prior", normal_prior(*PRIOR_TAU2), _log_noise, _set_log_noise)
        start = torch.full(known.shape[:-1], PRIOR_SHARE[0], dtype=known.dtype)
        self.register_parameter("raw_share", torch.nn.Parameter(start))
        self.register_constraint("raw_share", LogTransformedInterval(*_BOUNDS_SHARE))
        self.register_prior("share_prior", normal_prior(*PRIOR_SHARE), _log_share, _set_log_share)
        self.register_buffer("known", known)
        self.register_buffer("counts", counts)
        self.register_buffer("told", told)

    @property
    def share(self) -> Tensor:
        """Of `told` what is noise (batch)."""
        value: Tensor = self.raw_share_constraint.transform(self.raw_share)
        return value

    @property
    def rows(self) -> Tensor:
        """The noise variance of every row (batch x n)."""
        rows: Tensor = self.known + self.share.unsqueeze(-1) * self.told + self.noise / self.counts
        return rows

    def _shaped_noise_covar(
        self, base_shape: torch.Size, *params: Any, **kwargs: Any
    ) -> Tensor | LinearOperator:
        """The rows' noise; of other points that of one new measurement."""
        elsewhere = bool(params) and torch.is_tensor(params[0]) and not self.training
        if elsewhere or "noise" in kwargs or base_shape[-1] != self.known.shape[-1]:
            return super()._shaped_noise_covar(base_shape, *params, **kwargs)
        return DiagLinearOperator(self.rows.expand(base_shape))


def _log_noise(likelihood: PooledLikelihood) -> Tensor:
    logarithm: Tensor = likelihood.noise.log()
    return logarithm


def _set_log_noise(likelihood: PooledLikelihood, value: Tensor) -> None:
    likelihood.noise_covar.initialize(raw_noise=value)


def _log_share(likelihood: PooledLikelihood) -> Tensor:
    return likelihood.share.log()


def _set_log_share(likelihood: PooledLikelihood, value: Tensor) -> None:
    likelihood.initialize(raw_share=value)


class ObjectiveGP(SingleTaskGP):
    """The process of one objective.

    Args:
        train_X: batch x n x d.
        train_Y: batch x n x 1.
        train_Yvar: batch x n x 1 known noise variances, 0 where none is known; or None.
        choices: the numbers of the inputs that are unordered choices.
        form: the shape of the kernel.
        counts: batch x n measurements pooled in each row; None for one each.
        outcome_transform: None to centre and scale.
        input_transform: as of `SingleTaskGP`.
        told: batch x n x 1 squared standard errors, of which a share that is learned is noise; or None.
    """

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        train_Yvar: Tensor | None = None,
        choices: Sequence[int] = (),
        form: Form = Form.MATERN,
        counts: Tensor | None = None,
        outcome_transform: OutcomeTransform | None = None,
        input_transform: InputTransform | None = None,
        told: Tensor | None = None,
    ) -> None:
        batch = train_X.shape[:-2]
        transform = outcome_transform or Standardize(m=1, batch_shape=batch)
        transform.train()
        none = torch.zeros_like(train_Y)
        known, errors = (
            transform(train_Y, none if each is None else each)[1].squeeze(-1) for each in (train_Yvar, told)
        )
        one = torch.ones_like(known)
        super().__init__(
            train_X,
            train_Y,
            likelihood=PooledLikelihood(known, one if counts is None else counts, errors),
            covar_module=MixedKernel(train_X.shape[-1], choices, form, batch),
            outcome_transform=transform,
            input_transform=input_transform,
        )

    @property
    def transform(self) -> ObjectiveTransform:
        """Its units."""
        return cast(ObjectiveTransform, self.outcome_transform)

    @property
    def rows(self) -> Tensor:
        """n x d inputs."""
        inputs: Tensor = self.train_inputs[0]
        return inputs


Model: TypeAlias = ObjectiveGP | ModelListGP  # of one objective, of several


@dataclass(frozen=True)
class Data:
    """What a process is fitted to, in the model's unit; see the notation above.

    Args:
        X: n x d.
        y: n, centred and scaled.
        noise: n known variances.
        counts: n.
        told: n.
        choices: the numbers of the inputs that are unordered choices.
    """

    X: Array
    y: Array
    noise: Array
    counts: Array
    told: Array
    choices: tuple[int, ...] = ()

    def at_most(self, count: int) -> Data:
        """All rows, or so many of them drawn at random, the same ones at every call."""
        if len(self.y) <= count:
            return self
        keep = np.sort(np.random.default_rng(0).permutation(len(self.y))[:count])
        kept = {name: getattr(self, name)[keep] for name in ("X", "y", "noise", "counts", "told")}
        return replace(self, **kept)

    def process(self, form: Form, transform: ObjectiveTransform, inputs: int | None = None) -> ObjectiveGP:
        """A process that is not fitted yet.

        Args:
            inputs: of the d inputs those that its users give; the others, which say the study, are 0 there.
        """
        X, counts = torch.from_numpy(self.X), torch.from_numpy(self.counts)
        y, noise, told = (torch.from_numpy(each).unsqueeze(-1) for each in (self.y, self.noise, self.told))
        Y, Yvar = transform.untransform(y, noise)
        errors = transform.untransform(y, told)[1]
        here = None
        if inputs is not None and inputs < self.X.shape[1]:
            here = AppendFeatures(torch.zeros(1, self.X.shape[1] - inputs, dtype=torch.float64))
        return ObjectiveGP(X, Y, Yvar, self.choices, form, counts, transform, here, errors)


def pooled(
    points: list[Point], Y: Array, E: Array, doubts: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Measurements of the same point as one row.

    Args:
        points: N points.
        Y: N values.
        E: N standard errors, NaN where not known.
        doubts: N deviations of values that were not measured but foretold; of measured ones 0.

    Returns:
        X n x d, y n, variances of the doubts n, counts n, squared standard errors n (0 where unknown). Known
        errors weigh the mean by their precision; a group with an unknown one is averaged plainly.
    """
    groups: dict[Point, list[int]] = {}
    for index, point in enumerate(points):
        groups.setdefault(point, []).append(index)
    rows = [_pool(Y[group], E[group], doubts[group]) for group in groups.values()]
    y, noise, counts, told = (np.array(column) for column in zip(*rows, strict=True))
    return np.array(list(groups), dtype=np.float64), y, noise, counts, told


def _pool(values: Array, errors: Array, doubts: Array) -> tuple[float, float, float, float]:
    errors, doubts = (np.where(each > 0, each.clip(*_ERRORS), each) for each in (errors, doubts))
    known = np.nan_to_num(errors) ** 2
    variances = known + doubts**2
    plain = np.isnan(errors).any() or not variances.all()
    weights = np.ones_like(values) if plain else 1.0 / variances
    weights = weights / weights.sum()
    sums = ((weights * values).sum(), (weights**2 * doubts**2).sum(), len(values), (weights**2 * known).sum())
    y, noise, count, told = map(float, sums)
    return y, noise, count, told
