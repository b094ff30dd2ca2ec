from pathlib import Path

import numpy as np
import pytest

from camloc.experiment.uncertainty import error_intervals
from camloc.metrics.functional.per_image import PerImage, error


def write(path: Path, num_images: int, seed: int) -> PerImage:
    rng = np.random.default_rng(seed)
    kept = PerImage(
        image_ids=np.array([f"{path.stem}-{index}" for index in range(num_images)]),
        target=np.zeros(num_images, dtype=np.int64),
        rank=rng.integers(0, 8, num_images),
        iou=rng.random((num_images, 3)),
        cam_thresholds=np.array([0.1, 0.2, 0.3]),
    )
    kept.save(path)
    return kept


@pytest.mark.parametrize("source", ["fixed", "val"])
def test_every_error_lies_in_its_interval(source: str, tmp_path: Path) -> None:
    splits = {name: write(tmp_path / f"{name}.npz", 200, seed) for seed, name in enumerate(("val", "test"))}
    gt_known = [error(splits["val"], "gt_known", at, 0.5) for at in range(3)]
    at = 1 if source == "fixed" else int(np.argmin(gt_known))
    found = error_intervals(tmp_path, splits["val"].cam_thresholds[at], 0.5, source)
    for split, kept in splits.items():
        for condition in ("gt_known", "top1", "top5"):
            key = f"{split}/localization/{condition}_error"
            measured = error(kept, condition, at, 0.5)
            assert found[f"{key}_low"] <= measured <= found[f"{key}_high"]
            assert 0.01 < found[f"{key}_high"] - found[f"{key}_low"] < 0.25
        top1 = float((kept.rank >= 1).mean())
        key = f"{split}/classification/top1_error"
        assert found[f"{key}_low"] <= top1 <= found[f"{key}_high"]


def test_the_same_images_give_the_same_intervals(tmp_path: Path) -> None:
    for seed, name in enumerate(("val", "test")):
        write(tmp_path / f"{name}.npz", 30, seed)
    assert error_intervals(tmp_path, 0.2, 0.5, "fixed") == error_intervals(tmp_path, 0.2, 0.5, "fixed")
