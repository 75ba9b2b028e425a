"""The name under which earlier versions know `jobs.kinds.qlora`, in study.yaml."""

from jobs.kinds.qlora import Qlora

__all__ = ["Qlora"]
