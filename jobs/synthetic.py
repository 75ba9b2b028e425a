"""The name under which earlier versions know `jobs.kinds.synthetic`, in study.yaml."""

from jobs.kinds.synthetic import Synthetic

__all__ = ["Synthetic"]
