"""Claim: MaxBoxAcc and MaxBoxAccV2 of saved maps come over 20 times faster than from contours drawn per threshold.

Both load the same 224x224 maps from .npy files and count single-contour and multi-contour hits at 1000 thresholds and
three IoU levels: the package's metric on the machine's cores, and a plain restatement of the evaluator that draws the
contours once per threshold for both, on one core as the evaluator does. The clock starts after a warm-up. The plain one
runs on the first few maps only, and both must count the same on these.

Run ``python benchmarks/wsolevaluation.py [MAPS [PLAIN_MAPS]]``.
"""

import os
import runpy
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from camloc.metrics.max_box_acc import MaxBoxAcc

PLAIN = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "reference" / "wsolevaluation.py"))
SIDE = 224
BATCH = 64


def save_maps(folder: Path, count: int, noise: float) -> list[Path]:
    """Write min-max normalized maps: 14x14 random values, upsampled, with pixel noise."""
    generator = torch.Generator().manual_seed(0)
    paths = [folder / f"{index}.npy" for index in range(count)]
    for path in paths:
        coarse = torch.rand(1, 1, 14, 14, generator=generator)
        score_map = interpolate(coarse, (SIDE, SIDE), mode="bicubic")[0, 0]
        score_map += noise * torch.randn(SIDE, SIDE, generator=generator)
        score_map -= score_map.min()
        np.save(path, (score_map / score_map.max()).numpy())
    return paths


def true_boxes(count: int) -> list[Tensor]:
    """One or two boxes per image."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.randint(0, SIDE, (count, 2, 2, 2), generator=generator).sort(dim=2).values.flatten(2)
    return [boxes[: 1 + index % 2] for index, boxes in enumerate(corners)]


def evaluate(paths: list[Path], gt_boxes: list[Tensor]) -> NDArray[np.int64]:
    """Hits (2,3,T) from the package's metric."""
    metric = MaxBoxAcc()
    for start in range(0, len(paths), BATCH):
        batch = slice(start, start + BATCH)
        score_maps = torch.from_numpy(np.stack([np.load(path) for path in paths[batch]]))
        metric.update(score_maps, gt_boxes[batch])
    metric.compute()
    hits: NDArray[np.int64] = metric.hits.numpy()
    return hits


def evaluate_plainly(paths: list[Path], gt_boxes: list[Tensor]) -> NDArray[np.int64]:
    """The same hits from contours at every threshold."""
    thresholds = np.arange(0, 1, 0.001)
    hits = np.zeros((2, 3, len(thresholds)), np.int64)
    for path, boxes in zip(paths, gt_boxes, strict=True):
        for kind, best in enumerate(PLAIN["best_ious"](np.load(path), boxes.tolist(), thresholds)):
            hits[kind] += PLAIN["correct"](best)
    return hits


def main() -> None:
    """Print milliseconds per map of both, and the ratio, for each kind of map."""
    maps, plain_maps = [int(argument) for argument in sys.argv[1:]] + [2000, 20][len(sys.argv) - 1 :]
    cv2.setNumThreads(1)
    cores = torch.get_num_threads()
    load = os.getloadavg()[0]
    print(f"{SIDE}x{SIDE} maps, 1000 thresholds, {maps} maps on {cores} threads against {plain_maps} on one; ", end="")
    print(f"load average before: {load:.1f}")
    print(f"{'':26}{'MaxBoxAcc':>10}{'plain':>8}{'ratio':>7}   ms per map")
    for kind, noise in {"14x14, upsampled": 0.0, "14x14, upsampled + noise": 0.1}.items():
        with tempfile.TemporaryDirectory() as folder:
            paths, gt_boxes = save_maps(Path(folder), maps, noise), true_boxes(maps)
            few = slice(0, plain_maps)
            hits = evaluate(paths[few], gt_boxes[few])
            start = time.perf_counter()
            plain_hits = evaluate_plainly(paths[few], gt_boxes[few])
            plain = (time.perf_counter() - start) * 1e3 / len(paths[few])
            assert (hits == plain_hits).all()
            start = time.perf_counter()
            evaluate(paths, gt_boxes)
            ours = (time.perf_counter() - start) * 1e3 / maps
        print(f"{kind:26}{ours:10.2f}{plain:8.1f}{plain / ours:6.0f}x")


if __name__ == "__main__":
    main()
