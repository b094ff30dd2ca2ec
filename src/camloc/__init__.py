"""Discriminative localization: classifiers trained on image labels, boxes from class activation maps."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camloc.experiment.load import load as load

__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    """Import what people use from Python when they ask for it: torch takes seconds, the command line needs none."""
    if name == "load":
        return import_module("camloc.experiment.load").load
    raise AttributeError(f"module 'camloc' has no attribute {name!r}")
