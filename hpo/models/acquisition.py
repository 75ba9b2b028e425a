"""Acquisition functions by the names that BoTorch gives them; all are maximised, float64.

    lognehvi     noisy expected hypervolume improvement in closed form, one point after another; with several
                 objectives the default; of five and more along random directions (`hpo.models.lognehvi`)
    lognei       the same with one objective; the default there
    qlognehvi, qlogehvi, qnehvi, qehvi, qlognparego (several objectives), qlognei, qlogei, qucb (one; `ucb` is
                 qucb): the classes of `botorch.acquisition`

The functions of BoTorch are given the processes in the model's units, and an objective that turns draws into
the gains' units (`hpo.models.transforms`), so that hypervolumes mean the same for all.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from botorch.acquisition import (
    AcquisitionFunction,
    qLogExpectedImprovement,
    qLogNoisyExpectedImprovement,
    qUpperConfidenceBound,
)
from botorch.acquisition.multi_objective import (
    logei,
    qExpectedHypervolumeImprovement,
    qLogExpectedHypervolumeImprovement,
    qLogNoisyExpectedHypervolumeImprovement,
    qNoisyExpectedHypervolumeImprovement,
)
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.acquisition.multi_objective.parego import qLogNParEGO
from botorch.acquisition.objective import GenericMCObjective
from botorch.models import ModelListGP
from botorch.sampling import SobolQMCNormalSampler
from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning
from botorch.utils.sampling import sample_simplex
from botorch.utils.transforms import t_batch_mode_transform
from torch import Tensor

from hpo.models.gp import Model, ObjectiveGP
from hpo.models.lognehvi import LogNoisyExpectedHypervolumeImprovement, LogRayHypervolumeImprovement

# BoTorch would compile a kernel at the first use, for the processor of this very node, into the home folder:
# half a minute of a login node, code that other nodes of a site may not run, and a lock that stays for ever
# after a kill. Without it qlogehvi takes four times as long. There is no public switch.
logei._load_attempted = True

MOST_WITH_CELLS = 4  # objectives: the cells of more are too many
_SAMPLES = {1: 128, 2: 64}  # of BoTorch's functions, by the number of objectives
_SAMPLES_BEYOND = 32
_NO_LOGARITHM = ("qehvi", "qnehvi")  # of a gain, so a weight is a factor and not a summand


@dataclass(frozen=True)
class Task:
    """What an acquisition function is built from.

    Args:
        processes: m of them.
        there: b x d observed points that may be on the front.
        observed: n x d, all of them.
        reference: m coordinates of the reference point, in the gains' units.
        draws: joint draws of what is there, of the closed form.
        seed: of everything that is drawn.
        beta: of `qucb`: how many variances count.
        pending: p x d points under way.
    """

    processes: Sequence[ObjectiveGP]
    there: Tensor
    observed: Tensor
    reference: Tensor
    draws: int
    seed: int
    beta: float
    pending: Tensor | None

    @property
    def model(self) -> Model:
        """The processes as BoTorch takes them."""
        return self.processes[0] if len(self.processes) == 1 else ModelListGP(*self.processes)


def make_acquisition(kind: str, task: Task) -> AcquisitionFunction:
    """The acquisition function of a name."""
    if kind == "lognehvi" and len(task.processes) > MOST_WITH_CELLS:
        model = ModelListGP(*task.processes)
        return LogRayHypervolumeImprovement(
            model, task.reference, task.there, task.draws, task.seed, task.pending
        )
    if kind in ("lognehvi", "lognei"):
        return LogNoisyExpectedHypervolumeImprovement(
            task.model, task.reference, task.there, task.draws, task.seed, task.pending
        )
    return _of_one(kind, task) if len(task.processes) == 1 else _of_several(kind, task)


def _of_one(kind: str, task: Task) -> AcquisitionFunction:
    process = task.processes[0]

    def gain(samples: Tensor, X: Tensor | None = None) -> Tensor:
        return process.transform.to_gain(samples[..., 0])

    common: dict[str, Any] = {
        "model": in_model_units(process),
        "sampler": _sampler(task),
        "objective": GenericMCObjective(gain),
        "X_pending": task.pending,
    }
    if kind in ("qucb", "ucb"):
        return qUpperConfidenceBound(beta=task.beta, **common)
    if kind == "qlogei":
        return qLogExpectedImprovement(best_f=_gains_at_means(task).amax(), **common)
    return qLogNoisyExpectedImprovement(X_baseline=task.there, prune_baseline=False, **common)


def _of_several(kind: str, task: Task) -> AcquisitionFunction:
    transforms = [process.transform for process in task.processes]

    def gains(samples: Tensor, X: Tensor | None = None) -> Tensor:
        return torch.stack([own.to_gain(samples[..., k]) for k, own in enumerate(transforms)], -1)

    common: dict[str, Any] = {
        "model": ModelListGP(*(in_model_units(process) for process in task.processes)),
        "sampler": _sampler(task),
        "objective": GenericMCMultiOutputObjective(gains),
        "X_pending": task.pending,
    }
    if kind == "qlognparego":
        weights = sample_simplex(len(transforms), seed=task.seed, dtype=torch.float64).squeeze(0)
        return qLogNParEGO(
            X_baseline=task.there, scalarization_weights=weights, prune_baseline=False, **common
        )
    if kind in ("qlogehvi", "qehvi"):
        cells = FastNondominatedPartitioning(task.reference, _gains_at_means(task))
        own = qLogExpectedHypervolumeImprovement if kind == "qlogehvi" else qExpectedHypervolumeImprovement
        # what it asks of a partitioning this one has
        return own(ref_point=task.reference, partitioning=cells, **common)  # type: ignore[arg-type]
    noisy = (
        qNoisyExpectedHypervolumeImprovement if kind == "qnehvi" else qLogNoisyExpectedHypervolumeImprovement
    )
    return noisy(ref_point=task.reference, X_baseline=task.there, prune_baseline=False, **common)


def in_model_units(process: ObjectiveGP) -> ObjectiveGP:
    """The same modules without the transform of outcomes: its posterior is normal and can be cached."""
    twin = copy.copy(process)
    twin._modules = {name: own for name, own in process._modules.items() if name != "outcome_transform"}
    return twin


def _sampler(task: Task) -> SobolQMCNormalSampler:
    count = _SAMPLES.get(len(task.processes), _SAMPLES_BEYOND)
    return SobolQMCNormalSampler(torch.Size([count]), seed=task.seed)


def _gains_at_means(task: Task) -> Tensor:
    """n x m posterior means of the observed points, in the gains' units."""
    with torch.no_grad():
        means = [in_model_units(own).posterior(task.observed).mean[..., 0] for own in task.processes]
    return torch.stack(
        [own.transform.to_gain(mean) for own, mean in zip(task.processes, means, strict=True)], -1
    )


class Weighted(AcquisitionFunction):
    """An acquisition function times what else counts at a point, as `PriorGuidedAcquisitionFunction` has it.

    That class takes no pending points with hypervolumes.

    Args:
        kind: the name of `acquisition`.
        acquisition: of one point after another.
        log_weights: each turns k x d points into k logarithms.
    """

    def __init__(
        self, kind: str, acquisition: AcquisitionFunction, log_weights: Sequence[torch.nn.Module]
    ) -> None:
        super().__init__(acquisition.model)
        self.acquisition = acquisition
        self.log_weights = torch.nn.ModuleList(log_weights)
        self._log = kind not in _NO_LOGARITHM

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: Tensor) -> Tensor:
        """The weighted value (k) at X (k x 1 x d, or 1 x d)."""
        value: Tensor = self.acquisition(X)
        weights = [weight(X.squeeze(-2)) for weight in self.log_weights]
        if not weights:
            return value
        total = torch.stack(weights).sum(0)
        weighted: Tensor = value + total if self._log else value * total.exp()
        return weighted
