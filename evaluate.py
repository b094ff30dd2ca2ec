"""Evaluate a run's checkpoint: ``python evaluate.py checkpoint=RUN``."""

import sys

import hydra
from omegaconf import DictConfig

from camloc.experiment.entry import offer_run, prepare, run_job

prepare()


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig) -> None:
    """Measure a checkpoint, write the run directory."""
    run_job("camloc.experiment.evaluate:evaluate", config)


if __name__ == "__main__":
    offer_run(sys.argv[1:])
    main()
