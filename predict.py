"""Localize classes in images without labels: ``python predict.py checkpoint=RUN source=IMAGES``."""

from camloc.experiment.cli import predict

if __name__ == "__main__":
    predict()
