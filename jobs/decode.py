"""The name under which earlier versions know `jobs.kinds.decode`, in study.yaml."""

from jobs.kinds.decode import Decode

__all__ = ["Decode"]
