"""What the libraries raise when a disk is full or read-only, as the OSError that it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# torch.save raises a RuntimeError that names its writer, safetensors an error of its own with the number.
SIGNS = ("inline_container.cc", "(os error ")


@contextmanager
def disk_errors() -> Iterator[None]:
    """Around everything that writes weights.

    Raises:
        OSError: in place of what says so in other words.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # judged by its text: safetensors' class derives from nothing narrower
        if any(sign in str(error) for sign in SIGNS):
            raise OSError(str(error)) from error
        raise
