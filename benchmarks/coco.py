"""Seconds and peak memory of reading a COCO file of 120,000 images and 1,000,000 boxes: from the file, and cached.

Each read is a process of its own. Run: python benchmarks/coco.py [images boxes]
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def write(path: Path, num_images: int, num_boxes: int) -> None:
    """Write images in two splits' folders and boxes of 80 classes, with polygons as COCO has them."""
    draw = random.Random(0)
    images = [
        {"id": n, "file_name": f"{'train' if n % 20 else 'val'}/{n:012d}.jpg", "width": 640, "height": 480}
        for n in range(num_images)
    ]
    annotations = []
    for number in range(num_boxes):
        x, y = round(draw.uniform(0, 500), 2), round(draw.uniform(0, 400), 2)
        width, height = round(draw.uniform(5, 140), 2), round(draw.uniform(5, 80), 2)
        polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
        box = {"bbox": [x, y, width, height], "area": width * height, "segmentation": [polygon], "iscrowd": 0}
        ids = {"id": number, "image_id": draw.randrange(num_images), "category_id": draw.randrange(1, 81)}
        annotations.append(ids | box)
    categories = [{"id": number, "name": f"class {number:02d}"} for number in range(1, 81)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def read(root: Path) -> None:
    """Read the file once, and print what it took."""
    from camloc.data.annotations.coco_set import CocoSet  # noqa: PLC0415 - in its own process

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start, worked = time.perf_counter(), time.process_time()
    table = CocoSet().read(root)
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(table.names):,} images, {len(table.boxes):,} boxes: {seconds:.1f} s ({worked:.1f} s of processor), "
        f"peak {peak:.2f} GiB ({before:.2f} before)"
    )


def main() -> None:
    """Write the file, and read it twice."""
    if sys.argv[1:2] == ["--read"]:
        read(Path(sys.argv[2]))
        return
    if sys.argv[1:2] == ["--write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        return
    sizes = sys.argv[1:] or ["120000", "1000000"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "annotations", "instances.json")
        file.parent.mkdir()
        # In a process of its own: the kernel hands a parent's peak on to its children.
        subprocess.run([sys.executable, __file__, "--write", str(file), *sizes], check=True)  # noqa: S603 - itself
        print(f"{file.stat().st_size / 2**20:.0f} MiB")
        time.sleep(3)  # a file that may still change is not cached
        for what in ("from the file", "cached"):
            print(what, end=": ", flush=True)
            subprocess.run(  # noqa: S603 - itself
                [sys.executable, __file__, "--read", folder],
                check=True,
                env={**os.environ, "XDG_CACHE_HOME": str(Path(folder, "cache"))},
            )


if __name__ == "__main__":
    main()
