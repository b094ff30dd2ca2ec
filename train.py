"""Train a CAM network from image labels and measure how well its maps localize: ``python train.py --help``."""

import sys

import hydra
from omegaconf import DictConfig

from camloc.experiment.entry import offer_resume, prepare, run_job

prepare()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:
    """Fit, test the best checkpoint, write the run directory."""
    run_job("camloc.experiment.train:train", config)


if __name__ == "__main__":
    sys.argv[1:] = offer_resume(sys.argv[1:])
    main()
