"""Measure a checkpoint, score maps or a submission: ``python evaluate.py checkpoint=RUN``."""

from camloc.experiment.cli import evaluate

if __name__ == "__main__":
    evaluate()
