"""The covariance of a mixed space, as a GPyTorch kernel, and what is thought of its scales beforehand.

A Matern-5/2, or a squared exponential, of the distance r, r^2 = sum_j D_j(x, x') / ell_j^2, where D_j is the
squared difference, or for an unordered choice 0 for the same value and 1 for different ones (the Hamming
distance). That is the kernel on an embedding in which all values of a choice are equally far apart, so it is
positive definite. The study that a row comes from is one more such choice.

References:
    [Hvarfner2024] C. Hvarfner, E. Hellsten, L. Nardi. Vanilla Bayesian optimization performs great in high
        dimensions. ICML 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from botorch.utils.constraints import LogTransformedInterval
from gpytorch.kernels import Kernel
from gpytorch.priors import NormalPrior
from torch import Tensor

from hpo.models.distances import Array

_SQRT5 = math.sqrt(5.0)
_BOUNDS_ELL = (0.02, 20.0)
_BOUNDS_SIGMA2 = (0.02, 50.0)


class Form(StrEnum):
    """The shape of the covariance over the distance."""

    SQUARED_EXPONENTIAL = "squared_exponential"
    MATERN = "matern"


@dataclass(frozen=True)
class KernelPrior:
    """What is thought of a kernel beforehand: normal in the logarithm; mean, deviation.

    Args:
        ell: of the length scales, for one dimension; they grow with the root of d, as distances do
            [Hvarfner2024].
        handicap: nats by which the posterior density must be larger before the kernel is used, and as many
            more for each dimension.
    """

    ell: tuple[float, float]
    sigma2: tuple[float, float] = (0.0, 1.0)
    handicap: tuple[float, float] = (0.0, 0.0)


# Chosen by measurement, see docs/optimiser.md. A squared exponential is far ahead on polynomials (36 nats for
# 50 points of VehicleSafety). Long scales and a large variance, since results that crowd at the front spread
# little, let it foretell them better; such priors suit more data, so more is asked before it is used. A few
# nats, as noise or choices give, made it overconfident: it cost a sixth of the hypervolume on the mixed
# problem, and with long scales a fiftieth after a related study, which is a choice as well.
_MATERN = KernelPrior((math.log(0.3), 0.8))
_SMOOTH = KernelPrior((math.log(0.8), 0.8), (math.log(10.0), 1.0), handicap=(3.0, 0.5))
_SMOOTH_WITH_CHOICES = KernelPrior((math.log(0.3), 0.8), handicap=(5.0, 0.0))


def prior_of(form: Form, choices: bool) -> KernelPrior:
    """What is thought of a kernel beforehand, with or without unordered choices among its inputs."""
    if form is Form.MATERN:
        return _MATERN
    return _SMOOTH_WITH_CHOICES if choices else _SMOOTH


def normal_prior(mean: float, deviation: float) -> NormalPrior:
    """A normal prior in double precision."""
    return NormalPrior(*torch.tensor([mean, deviation], dtype=torch.float64))


class MixedKernel(Kernel):  # type: ignore[misc]
    """The kernel above, its own scale included. Scales are searched as logarithms.

    Args:
        d: inputs.
        choices: the numbers of those that are unordered choices.
        form: its shape.
        batch_shape: of a batch of models.
    """

    has_lengthscale = True

    def __init__(
        self,
        d: int,
        choices: Sequence[int] = (),
        form: Form = Form.MATERN,
        batch_shape: torch.Size = torch.Size(),  # noqa: B008 - immutable, as in GPyTorch
    ) -> None:
        super().__init__(
            ard_num_dims=d,
            batch_shape=batch_shape,
            lengthscale_constraint=LogTransformedInterval(*_BOUNDS_ELL),
        )
        self.form, self.choices = form, tuple(choices)
        numbers = [float(column not in self.choices) for column in range(d)]
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.float64))
        self.prior = prior_of(form, bool(self.choices))
        self.register_parameter("raw_outputscale", torch.nn.Parameter(torch.zeros(batch_shape)))
        self.register_constraint("raw_outputscale", LogTransformedInterval(*_BOUNDS_SIGMA2))
        mean, deviation = self.prior.ell
        scales = normal_prior(mean + 0.5 * math.log(d), deviation)
        self.register_prior("lengthscale_prior", scales, _log_lengthscale, _set_log_lengthscale)
        signal = normal_prior(*self.prior.sigma2)
        self.register_prior("outputscale_prior", signal, _log_outputscale, _set_log_outputscale)

    @property
    def outputscale(self) -> Tensor:
        """The signal variance, of the batch's shape."""
        value: Tensor = self.raw_outputscale_constraint.transform(self.raw_outputscale)
        return value

    def with_scales(self, ell: Array, sigma2: float) -> MixedKernel:
        """This kernel, with these length scales and this signal variance."""
        with torch.no_grad():
            self.raw_lengthscale.copy_(torch.from_numpy(np.log(ell)))
            self.raw_outputscale.fill_(math.log(sigma2))
        return self

    @property
    def handicap(self) -> float:
        """Nats by which the posterior density must be larger before this kernel is used."""
        nats, nats_each = self.prior.handicap
        handicap: float = nats + nats_each * self.ard_num_dims
        return handicap

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **_: Any) -> Tensor:
        """The covariance between x1 (... x n x d) and x2 (... x p x d): ... x n x p; `diag`: ... x n."""
        if diag:
            x1, x2 = x1.unsqueeze(-2), x2.unsqueeze(-2)
        # the shapes of GPyTorch: length scales are batch x 1 x d
        ell = self.lengthscale.unsqueeze(-2) if diag else self.lengthscale
        scale = self.numbers / ell
        squared = _squared_distance(x1 * scale, x2 * scale)
        for column in self.choices:
            differs = x1[..., :, None, column] != x2[..., None, :, column]
            squared = squared + differs / ell[..., column, None].square()
        correlation = correlation_of(squared, self.form)
        covariance: Tensor
        if diag:
            covariance = self.outputscale.unsqueeze(-1) * correlation.squeeze(-1).squeeze(-1)
        else:
            covariance = self.outputscale[..., None, None] * correlation
        return covariance


def _log_lengthscale(kernel: MixedKernel) -> Tensor:
    logarithms: Tensor = kernel.lengthscale.log()
    return logarithms


def _set_log_lengthscale(kernel: MixedKernel, value: Tensor) -> None:
    kernel.initialize(raw_lengthscale=value)


def _log_outputscale(kernel: MixedKernel) -> Tensor:
    return kernel.outputscale.log()


def _set_log_outputscale(kernel: MixedKernel, value: Tensor) -> None:
    kernel.initialize(raw_outputscale=value)


def _squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|^2, ... x n x p. Differences, not products: close points must not lose their distance."""
    return (a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1)


def correlation_of(squared: Tensor, form: Form) -> Tensor:
    """k of squared distances, signal variance 1."""
    if form is Form.SQUARED_EXPONENTIAL:
        return torch.exp(-0.5 * squared)
    r = (squared + 1e-30).sqrt()  # a root has no slope at 0
    return (1.0 + _SQRT5 * r + 5.0 / 3.0 * squared) * torch.exp(-_SQRT5 * r)


def correlation_and_slope(squared: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """k of squared distances, and what D_j / ell_j^2 multiplies in its slope along log ell_j."""
    if form is Form.SQUARED_EXPONENTIAL:
        correlation = torch.exp(-0.5 * squared)
        return correlation, correlation
    r = squared.sqrt()
    decay = torch.exp(-_SQRT5 * r)
    return (1.0 + _SQRT5 * r + 5.0 / 3.0 * squared) * decay, 5.0 / 3.0 * (1.0 + _SQRT5 * r) * decay
