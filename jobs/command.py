"""The name under which earlier versions know `jobs.kinds.command`, in study.yaml."""

from jobs.kinds.command import Command

__all__ = ["Command"]
