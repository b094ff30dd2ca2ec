"""Discriminative localization: classifiers trained on image labels, boxes from class activation maps."""

__version__ = "0.2.0"
