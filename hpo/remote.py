"""The name under which proposals in flight of earlier versions know `hpo.controller.remote`."""

from hpo.controller.remote import main

__all__ = ["main"]
