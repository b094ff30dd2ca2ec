"""Claim: training images come off one core over twice as fast as from torchvision's ImageFolder, large ones 7 times.

Photographs through ``TrainDataset`` to a batch of uint8, which the device normalizes, against
``torchvision.datasets.ImageFolder`` with the transforms of nearly every training script, RandomResizedCrop(224), flip,
ToTensor and Normalize, to a batch of float. Both in one process with one thread and with crops of 8% to 100% of a
image; the files are in memory after a warm-up, the two take turns, and medians are printed. Measured twice: the
photographs as they are, and enlarged to what a telephone takes. Give a folder of photographs:
``python benchmarks/loader.py FOLDER``; without one, it is ``photos`` in the folder that ``CAMLOC_SHARED_DATA`` names.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from camloc.data.images.transforms import TrainTransform
from camloc.data.loading.dataset import TrainDataset
from camloc.data.loading.files import FileSplit
from camloc.data.loading.index import index_class_folders
from camloc.data.loading.sample import collate_train
from camloc.data.loading.samplers import TrainSampler

BATCH, ROUNDS, WARM_UP = 32, 33, 3
SIZE, CROP_AREA = 224, (0.08, 1.0)
LARGE, FEW = (4000, 3000), 7
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images_per_second(loader: Iterable[object], count: int) -> float:
    """Rate of one pass over all images, by the time that a core worked for it."""
    start = time.process_time()
    for _ in loader:
        pass
    return count / (time.process_time() - start)


def measure(root: Path, rounds: int) -> None:
    """Print images per second and core of both, and the ratio, for the images of a folder of class folders."""
    index = index_class_folders(root, relative_to=root)
    split = FileSplit(root, index.image_ids, index.targets)
    sampler = TrainSampler(len(split), seed=0)
    dataset = TrainDataset(split, TrainTransform(SIZE, CROP_AREA))
    ours = DataLoader(dataset, BATCH, sampler=sampler, collate_fn=collate_train)

    standard = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE, CROP_AREA),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    theirs = DataLoader(ImageFolder(str(root), standard), BATCH, shuffle=True)

    turns = []
    for epoch in range(rounds):
        sampler.set_epoch(epoch)
        turns.append((images_per_second(ours, len(split)), images_per_second(theirs, len(split))))
    counted = turns[WARM_UP:]
    our_rate, their_rate = (median(column) for column in zip(*counted, strict=True))
    ratio = median(one / other for one, other in counted)
    print(f"{len(split)} photographs, {split.image(0).shape[1:].numel() / 1e6:.2g} megapixels, {len(counted)} rounds")
    print(f"{'camloc':14}{our_rate:8.0f}\n{'ImageFolder':14}{their_rate:8.0f}\n{'ratio':14}{ratio:8.2f}x")


def main() -> None:
    """Measure photographs as they are and as a telephone takes them."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    given = sys.argv[1] if len(sys.argv) > 1 else os.path.expandvars("$CAMLOC_SHARED_DATA/photos")
    photos = sorted(path for path in Path(given).iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    print("one process, torch and OpenCV threads=1; median images per second and core")
    with tempfile.TemporaryDirectory() as temporary:
        as_they_are, large = Path(temporary, "as_they_are"), Path(temporary, "large")
        for root in (as_they_are, large):
            (root / "one_class").mkdir(parents=True)
        for photo in photos:
            shutil.copy(photo, as_they_are / "one_class")
        for photo in photos[:: len(photos) // FEW]:
            enlarged = cv2.resize(np.asarray(cv2.imread(str(photo))), LARGE, interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(large / "one_class" / photo.name), enlarged)
        measure(as_they_are, ROUNDS)
        measure(large, WARM_UP + FEW)


if __name__ == "__main__":
    main()
