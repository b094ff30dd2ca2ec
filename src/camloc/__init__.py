"""Discriminative localization: classifiers trained on image labels, boxes from class activation maps."""
