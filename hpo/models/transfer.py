"""What earlier studies of the same space say about this one: one process over all of them.

The study becomes one more coordinate, an unordered choice, of each objective's process. Its length scale,
learned like the others, says how alike the studies are: with a long one their results count here, with a
short one they are as good as absent. Values are standardised study by study; this study's, few at first, are
put on the scale of what an earlier one foretells of them. Where one process for all explains the values worse
than one for each study, the earlier ones are left aside altogether.

The kernel is that of `hpo.models.kernel`; as a multi-task model an intrinsic coregionalisation [Bonilla2008]
whose task covariance acts through the distance.

References:
    [Bonilla2008] E. Bonilla, K. Chai, C. Williams. Multi-task Gaussian process prediction. NeurIPS 2008.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from hpo.models.distances import Array
from hpo.models.fit import fit_best, give_scales
from hpo.models.gp import Data, ObjectiveGP
from hpo.models.posterior import Posterior

_MOST_ROWS = 250  # of this study and the earlier ones together; this one's come first


@dataclass(frozen=True)
class ObjectiveFit:
    """One objective of one study.

    Args:
        data: rows.
        process: fitted to them.
        density: log posterior density of its scales.
    """

    data: Data
    process: ObjectiveGP
    density: float


def joint_fit(study: ObjectiveFit, earlier: Sequence[ObjectiveFit]) -> ObjectiveFit:
    """One process for this study and earlier ones, or `study` where separate ones explain the values better.

    Args:
        study: this study's objective: n rows in d dimensions.
        earlier: the same objective of other studies.

    Returns:
        n rows of this study, then those of the others, in d + 1 dimensions; this study has the coordinate 0.
    """
    here = torch.from_numpy(study.data.X)
    aligned = aligned_fit(study, Posterior(earlier[0].process).mean(here)[:, 0].numpy())
    transform = aligned.process.transform
    # one density per unit of y: in the units of before, the rows of this study weigh by the change of scale
    density = aligned.density - len(study.data.y) * math.log(study.process.transform.scale / transform.scale)
    share = max((_MOST_ROWS - len(study.data.y)) // len(earlier), 1)
    kept = [other.data.at_most(share) for other in earlier]
    parts = [aligned.data, *kept]
    d = study.data.X.shape[1]
    data = Data(
        np.concatenate([_with_study(part.X, number / len(parts)) for number, part in enumerate(parts)]),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.noise for part in parts]),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.told for part in parts]),
        (*study.data.choices, d),
    )
    process, together = fit_best(lambda form: data.process(form, transform, inputs=d))
    if together < density + sum(other.density for other in earlier):
        return study
    return ObjectiveFit(data, process, together)


def _with_study(X: Array, number: float) -> Array:
    return np.column_stack([X, np.full(len(X), number)])


def aligned_fit(study: ObjectiveFit, means: Array) -> ObjectiveFit:
    """This study's values on the scale of what is foretold of them, as far as the two go together."""
    y = study.data.y
    spread, wanted = float(y.std()), float(means.std())
    factor = wanted / spread if len(y) > 2 and spread > 0 and wanted > 0 else 1.0
    shift = float(means.mean()) - factor * float(y.mean())
    transform = study.process.transform
    scale = transform.scale / factor
    moved = transform.rescaled(transform.centre - shift * scale, scale)
    noise, told = (factor**2 * each for each in (study.data.noise, study.data.told))
    data = replace(study.data, y=factor * y + shift, noise=noise, told=told)
    process = give_scales(data.process(study.process.covar_module.form, moved), study.process)
    return ObjectiveFit(data, process, study.density)
