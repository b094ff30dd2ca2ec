"""Claim: training pictures come off one core nearly twice as fast as from torchvision's ImageFolder.

Photographs through ``TrainDataset`` to a batch of uint8, which the device normalizes, against
``torchvision.datasets.ImageFolder`` with the transforms of nearly every training script, RandomResizedCrop(224), flip,
ToTensor and Normalize, to a batch of float. Both in one process with one thread and with crops of 8% to 100% of a
picture; the files are in memory after a warm-up, the two take turns, and medians are printed. How near it comes to
twice, or beyond, depends on the pictures: most of what is left is the decoding of JPEG. Give a folder of photographs:
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
import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from camloc.data.dataset import TrainDataset
from camloc.data.files import FileSplit
from camloc.data.index import index_class_folders
from camloc.data.sample import collate_train
from camloc.data.samplers import TrainSampler
from camloc.data.transforms import TrainTransform

BATCH, ROUNDS, WARM_UP = 32, 33, 3
SIZE, CROP_AREA = 224, (0.08, 1.0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pictures_per_second(loader: Iterable[object], count: int) -> float:
    """Rate of one pass over all pictures."""
    start = time.perf_counter()
    for _ in loader:
        pass
    return count / (time.perf_counter() - start)


def main() -> None:
    """Print pictures per second and core of both, and the ratio."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    given = sys.argv[1] if len(sys.argv) > 1 else os.path.expandvars("$CAMLOC_SHARED_DATA/photos")
    photos = sorted(path for path in Path(given).iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "one_class").mkdir()
        for photo in photos:
            shutil.copy(photo, root / "one_class")

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
        theirs = DataLoader(ImageFolder(temporary, standard), BATCH, shuffle=True)

        turns = []
        for epoch in range(ROUNDS):
            sampler.set_epoch(epoch)
            turns.append((pictures_per_second(ours, len(photos)), pictures_per_second(theirs, len(photos))))
    our_rate, their_rate = (median(column) for column in zip(*turns[WARM_UP:], strict=True))
    ratio = median(one / other for one, other in turns[WARM_UP:])
    print(f"{len(photos)} photographs, {ROUNDS - WARM_UP} rounds, one process, torch and OpenCV threads=1")
    print("median pictures per second and core")
    print(f"{'camloc':14}{our_rate:8.0f}\n{'ImageFolder':14}{their_rate:8.0f}\n{'ratio':14}{ratio:8.2f}x")


if __name__ == "__main__":
    main()
