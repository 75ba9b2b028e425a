"""One policy that decides from the device which number format each part is kept and computed in."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from jobs.errors import ModelError

AMPERE = (8, 0)
FORCED = "FRONTRUNNER_CAPABILITY"  # the policy of another card, such as 7.0; for tests and benchmarks alone
INT8_FROM = (7, 5)


@dataclass(frozen=True)
class Precision:
    """Number formats for one device.

    Trainable weights and norms are float32 everywhere: gradients of float16 weights cannot be unscaled, and
    norms are tiny.
    """

    device: torch.device
    compute: torch.dtype  # matrix products, and the frozen weights that are not quantised
    capability: tuple[int, int] | None = None  # of a CUDA device
    cards: int = 1  # that the layers are split over; `device` is the first of them

    @property
    def autocast(self) -> bool:
        """Whether forward passes run under autocast to `compute`."""
        return self.compute is not torch.float32

    @property
    def scales_loss(self) -> bool:
        """Whether gradients would underflow without a scaled loss."""
        return self.compute is torch.float16

    @property
    def repeats_kv(self) -> bool:
        """Whether grouped keys and values must be repeated: no fused kernel below sm_80 takes them."""
        return self.capability is not None and self.capability < AMPERE


def precision_for(capability: tuple[int, int] | None) -> Precision:
    """The policy for a CUDA device of this capability, or for the CPU.

    Float16 below Ampere even where torch says that bfloat16 is supported: there it is emulated.

    Args:
        capability: (major, minor) of the CUDA device; None is the CPU.
    """
    if capability is None:
        return Precision(torch.device("cpu"), torch.float32)
    compute = torch.bfloat16 if capability >= AMPERE else torch.float16
    return Precision(torch.device("cuda", 0), compute, capability)


def of_this_machine() -> Precision:
    """The policy for the first CUDA device, or for the CPU.

    Raises:
        ModelError: this build of torch holds no code for the device, or `FORCED` is no capability.
    """
    if not torch.cuda.is_available():
        return precision_for(None)
    capability = torch.cuda.get_device_capability(0)
    guard(capability, torch.cuda.get_arch_list(), torch.cuda.get_device_name(0))
    return precision_for(_forced() or capability)


def _forced() -> tuple[int, int] | None:
    major, dot, minor = os.environ.get(FORCED, "").partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        if FORCED in os.environ:
            raise ModelError(f"{FORCED}: got {os.environ[FORCED]!r}, expected a capability such as 7.0")
        return None
    return int(major), int(minor)


def guard(capability: tuple[int, int], architectures: list[str], device: str) -> None:
    """Refuse a device that this build of torch cannot run on, before anything is loaded.

    A build runs on a device of its own major version and an equal or higher minor one.

    Args:
        architectures: what the build was made for, as `sm_80` or `compute_90`.

    Raises:
        ModelError: no architecture of the build fits.
    """
    major, minor = capability
    ready = (_capability(name, "sm_") for name in architectures)
    compiled_ahead = (_capability(name, "compute_") for name in architectures)
    if any(known and known[0] == major and known[1] <= minor for known in ready):
        return
    if any(known and known <= capability for known in compiled_ahead):
        return
    raise ModelError(
        f"torch {torch.__version__}: got a build for {' '.join(architectures)}, "
        f"expected sm_{major}{minor} for {device} on this node",
        "V100 (sm_70) needs the torch==2.10.0 wheel of PyPI, or a CUDA 12.6 build: see environment.yml",
    )


def _capability(name: str, prefix: str) -> tuple[int, int] | None:
    digits = name.removeprefix(prefix)
    return (int(digits[:-1]), int(digits[-1])) if name.startswith(prefix) and digits.isdigit() else None
