"""Train a CAM network from image labels and measure how well its maps localize: ``python train.py --help``."""

from camloc.experiment.cli import train

if __name__ == "__main__":
    train()
