"""What earlier studies of the same space say about this one: one process over all of them.

The study becomes one more coordinate, an unordered choice, of each objective's process. Its length scale,
learned like the others, says how alike the studies are: with a long one their results count here, with a
short one they are as good as absent. Values are standardised study by study; this study's, few at first, are
put on the scale of what an earlier one foretells of them. Where one process for all explains the values worse
than one for each study, the earlier ones are left aside altogether.

The kernel is that of `hpo.models.gp`; as a multi-task model an intrinsic coregionalisation [Bonilla2008]
whose task covariance acts through the distance.

References:
    [Bonilla2008] E. Bonilla, K. Chai, C. Williams. Multi-task Gaussian process prediction. NeurIPS 2008.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_solve

from hpo.models.gp import Array, Data, Hyperparameters, covariance, distances, factorised, fit
from hpo.models.transforms import Transform

_MOST_ROWS = 250  # of this study and the earlier ones together; this one's come first


@dataclass(frozen=True)
class ObjectiveFit:
    """One objective of one study.

    Args:
        data: rows.
        process: fitted to them.
        transform: the objective's units.
        density: log posterior density of the hyperparameters.
    """

    data: Data
    process: Hyperparameters
    transform: Transform
    density: float


def posterior_mean(study: ObjectiveFit, X: Array) -> Array:
    """The posterior means (k) of a study's objective at X (k x d)."""
    data, process = study.data, study.process
    factor = factorised(distances(data.X, data.X, data.hamming), data, process)
    weights = cho_solve(factor, data.y - process.mean)
    k = covariance(distances(X, data.X, data.hamming), process.ell, process.kernel)
    means: Array = process.mean + process.sigma2 * (k @ weights)
    return means


def joint_fit(study: ObjectiveFit, earlier: Sequence[ObjectiveFit]) -> ObjectiveFit:
    """One process for this study and earlier ones, or `study` where separate ones explain the values better.

    Args:
        study: this study's objective: n rows in d dimensions.
        earlier: the same objective of other studies.

    Returns:
        n rows of this study, then those of the others, in d + 1 dimensions; this study has the coordinate 0.
    """
    aligned = _aligned(study, posterior_mean(earlier[0], study.data.X))
    # one density per unit of y: in the units of before, the rows of this study weigh by the change of scale
    density = aligned.density - len(study.data.y) * math.log(study.transform.scale / aligned.transform.scale)
    share = max((_MOST_ROWS - len(study.data.y)) // len(earlier), 1)
    kept = [other.data.at_most(share) for other in earlier]
    parts = [aligned.data, *kept]
    data = Data(
        np.concatenate([_with_study(part.X, number / len(parts)) for number, part in enumerate(parts)]),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.noise for part in parts]),
        np.concatenate([part.counts for part in parts]),
        np.append(study.data.hamming, True),
    )
    process, together = fit(data)
    if together < density + sum(other.density for other in earlier):
        return study
    return ObjectiveFit(data, process, aligned.transform, together)


def _with_study(X: Array, number: float) -> Array:
    return np.column_stack([X, np.full(len(X), number)])


def _aligned(study: ObjectiveFit, means: Array) -> ObjectiveFit:
    """This study's values on the scale of what is foretold of them, as far as the two go together."""
    y = study.data.y
    spread, wanted = float(y.std()), float(means.std())
    factor = wanted / spread if len(y) > 2 and spread > 0 and wanted > 0 else 1.0
    shift = float(means.mean()) - factor * float(y.mean())
    transform = study.transform
    scale = transform.scale / factor
    moved = replace(transform, scale=scale, centre=transform.centre - shift * scale)
    data = replace(study.data, y=factor * y + shift, noise=factor**2 * study.data.noise)
    return ObjectiveFit(data, study.process, moved, study.density)
