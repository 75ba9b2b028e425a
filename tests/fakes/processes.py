"""Processes whose scales are given, not fitted."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from hpo.models.gp import Data, ObjectiveGP
from hpo.models.kernel import Form
from hpo.models.transforms import ObjectiveTransform

PLAIN = ObjectiveTransform(log=False, sign=1, centre=0.0, scale=1.0, level=0.0, unit=1.0)


def process(
    X: np.ndarray,
    y: Sequence[float],
    ell: Sequence[float],
    sigma2: float = 1.0,
    tau2: float = 1e-6,
    mean: float = 0.0,
    transform: ObjectiveTransform = PLAIN,
) -> ObjectiveGP:
    """A Matern process of rows without known noise, in the model's unit."""
    n = len(y)
    own = Data(np.asarray(X, dtype=float), np.array(y, dtype=float), np.zeros(n), np.ones(n), np.zeros(n))
    made = own.process(Form.MATERN, transform)
    made.covar_module.with_scales(np.array(ell), sigma2)
    with torch.no_grad():
        made.likelihood.noise_covar.raw_noise.fill_(math.log(tau2))
        made.mean_module.constant.fill_(mean)
    return made.eval().requires_grad_(False)
