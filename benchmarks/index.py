"""Claim: ILSVRC's 1.28 million training images are known within a second, and a loader worker adds under 50 MB.

A cache of the size and the names of ILSVRC's training set over 1,000 empty class folders: no image is needed. Printed
are the median seconds that ``index_class_folders`` takes to check and read it, and what each of four loader workers
adds to the proportional set sizes of all processes, after every name and label has gone through a ``DataLoader``.
The same with a list of one string per image shows what arrays save. Linux only. Run ``python benchmarks/index.py``.
"""

import gc
import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from camloc.data.loading import index as index_module
from camloc.data.loading.files import FileSplit
from camloc.data.loading.index import FolderIndex, index_class_folders

CLASSES, PER_CLASS, WORKERS, LOADS = 1000, 1281, 4, 5
BATCH = 4096


class Names(Dataset[int]):
    """All that a loader touches of a split but the images themselves."""

    def __init__(self, split: FileSplit) -> None:
        self.split = split

    def __len__(self) -> int:
        """Return N."""
        return len(self.split)

    def __getitem__(self, position: int) -> int:
        """Return a number that needs both the name and the label."""
        return len(self.split.image_id(position)) + int(self.split.target(position))


class ListedNames(Dataset[int]):
    """The same from one Python object per image."""

    def __init__(self, samples: Sequence[tuple[str, int]]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        """Return N."""
        return len(self.samples)

    def __getitem__(self, position: int) -> int:
        """Return a number that needs both the name and the label."""
        image_id, target = self.samples[position]
        return len(image_id) + target


def write_cache(root: Path) -> None:
    """Write class folders without images, and the cache that images in them would have left."""
    wnids = [f"n{1_000_000 + 7919 * number:08d}" for number in range(CLASSES)]
    for wnid in wnids:
        (root / wnid).mkdir()
    # Folders that all have one time would not be believed.
    modified = 10**18 + np.arange(1 + len(wnids))
    for folder, time_ns in zip((root, *(root / wnid for wnid in wnids)), modified.tolist(), strict=True):
        os.utime(folder, ns=(time_ns, time_ns))
    image_ids = np.array([f"{wnid}/{wnid}_{number}.JPEG" for wnid in wnids for number in range(PER_CLASS)], np.bytes_)
    found = FolderIndex(tuple(wnids), image_ids, np.repeat(np.arange(CLASSES), PER_CLASS))
    folders = np.array(["", *wnids], np.bytes_)
    index_module._save(index_module._cache_file(root, "", ()), index_module._Walk(found, folders, modified))  # noqa: SLF001


def megabytes(process: int | str) -> float:
    """Proportional set size: a page that two processes share counts half for each."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def per_worker(dataset: Dataset[int]) -> float:
    """Megabytes that each worker adds after all items have been read twice."""
    gc.collect()
    before = megabytes("self")
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(dataset, BATCH, shuffle=True, generator=generator, num_workers=WORKERS, persistent_workers=True)
    for _ in range(2):
        for _ in loader:
            pass
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    after = megabytes("self") + sum(megabytes(child) for child in children)
    return (after - before) / WORKERS


def main() -> None:
    """Print seconds to load the index, and megabytes per loader worker."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # more workers than cores, on purpose
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["XDG_CACHE_HOME"] = temporary
        root = Path(temporary, "train")
        root.mkdir()
        write_cache(root)
        seconds = []
        for _ in range(LOADS):
            start = time.perf_counter()
            index = index_class_folders(root, relative_to=root)
            seconds.append(time.perf_counter() - start)
        assert len(index.targets) == CLASSES * PER_CLASS
        start = time.perf_counter()
        split = FileSplit(root, index.image_ids, index.targets)
        seconds_of_split = time.perf_counter() - start
    size = (index.image_ids.nbytes + index.targets.nbytes) / 2**20
    print(f"{len(index.targets):,} images in {CLASSES:,} classes, {size:.0f} MB of arrays")
    print(f"{'index from its cache':34}{median(seconds):8.2f} s")
    print(f"{'split from the index':34}{seconds_of_split:8.2f} s")
    print(f"{'each of 4 workers, arrays':34}{per_worker(Names(split)):8.1f} MB")
    listed = [(split.image_id(position), int(split.target(position))) for position in range(len(split))]
    print(f"{'each of 4 workers, list of tuples':34}{per_worker(ListedNames(listed)):8.1f} MB")


if __name__ == "__main__":
    main()
