"""A page of many made-up images: its size on disk, seconds to open, memory of the tab, milliseconds of a slider's step.

    python benchmarks/page.py [--images 10000] [--directory DIR] [--screenshots DIR]

Needs playwright and a Chromium, see tests/browser.py. With ``--screenshots`` the slider's positions are kept.
"""

import argparse
import math
import os
import time
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camloc.report.explorer.choose import rule_text
from camloc.report.explorer.files import Explored, thumbnails_folder
from camloc.report.explorer.records import ShownImage, ShownPair, ShownRun, shown_pair, small_map
from camloc.report.explorer.thumbnails import save_thumbnail, thumbnail_name
from camloc.report.page import write_page

BROWSER = run_path(str(Path(__file__).parent.parent / "tests" / "browser.py"))
SIDE, CAM_SIDE, NUM_CLASSES, DISTINCT = 224, 14, 200, 250
THRESHOLDS = [step / 100 for step in range(100)]
IOU_THRESHOLD = 0.5


def main() -> None:
    """Make the page, open it, print the measurements."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--screenshots", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        if not (directory / "index.html").is_file():
            make_page(directory, options.images)
        files = [file for file in directory.rglob("*") if file.is_file()]
        print(f"{len(files):,} files, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB")
        measure(directory / "index.html", options.screenshots)


def make_page(directory: Path, num_images: int) -> None:
    """Write the page; images repeat after the first few, which changes nothing for a browser."""
    generator = torch.Generator().manual_seed(0)
    distinct = [_pair(generator) for _ in range(min(DISTINCT, num_images))]
    images = []
    folder = thumbnails_folder(directory)
    for position in range(num_images):
        of = position % len(distinct)
        pair, image = distinct[of]
        if position == of:
            size = save_thumbnail(folder, position, image)
        else:
            (folder / thumbnail_name(position)).write_bytes((folder / thumbnail_name(of)).read_bytes())
        predicted = pair.class_index if pair.rank == 0 else (pair.class_index + 1) % NUM_CLASSES
        other = None if pair.rank == 0 else pair._replace(class_index=predicted, iou=None, causes=None)
        ranked = [(predicted, 0.6), ((predicted + 7) % NUM_CLASSES, 0.2)]
        images.append(ShownImage(f"test/{position:06d}.jpg", position, size, [pair], ranked, other))
    iou = np.stack([image.pairs[0].iou for image in images if image.pairs[0].iou is not None])
    right = np.array([image.pairs[0].rank == 0 for image in images])
    hits = iou >= IOU_THRESHOLD
    errors = {
        "GT-known": (1 - hits.mean(axis=0)).tolist(),
        "top-1 localization": (1 - (hits & right[:, None]).mean(axis=0)).tolist(),
    }
    run = ShownRun("made up", THRESHOLDS, 0.2, "val", IOU_THRESHOLD, num_images, errors)
    names = [f"class {index}" for index in range(NUM_CLASSES)]
    write_page(
        directory, title="A made-up run", explorer=Explored(names, [(run, images)], rule_text(num_images, num_images))
    )


def _pair(generator: torch.Generator) -> tuple[ShownPair, Tensor]:
    """Make a bright ellipse on a textured ground, a map that covers it more or less, and the map's boxes."""
    x, y, w, h, dx, dy, spread, right = torch.rand(8, generator=generator).tolist()
    centre, half = (60 + 100 * x, 60 + 100 * y), (25 + 50 * w, 25 + 50 * h)
    grid = torch.arange(SIDE) + 0.5
    across, down = grid[None] - centre[0], grid[:, None] - centre[1]
    inside = (across / half[0]) ** 2 + (down / half[1]) ** 2 < 1
    coarse = torch.rand(3, 14, 14, generator=generator)
    ground = torch.nn.functional.interpolate(coarse[None], (SIDE, SIDE), mode="bicubic")[0]
    grain = torch.rand(3, SIDE, SIDE, generator=generator)
    image = (110 * ground + 30 * grain + 80 * inside).clamp(0, 255).byte()
    middle = (centre[0] + 40 * (dx - 0.5), centre[1] + 40 * (dy - 0.5))
    widths = ((0.4 + 0.6 * spread) * half[0], (0.4 + 0.6 * spread) * half[1])
    score_map = torch.exp(
        -0.5 * (((grid[None] - middle[0]) / widths[0]) ** 2 + ((grid[:, None] - middle[1]) / widths[1]) ** 2)
    )
    reach = [math.sqrt(-2 * math.log(max(threshold, 1e-6))) for threshold in THRESHOLDS]
    boxes = torch.tensor(
        [
            [middle[0] - r * widths[0], middle[1] - r * widths[1], middle[0] + r * widths[0], middle[1] + r * widths[1]]
            for r in reach
        ]
    ).clamp(0, SIDE)
    gt = torch.tensor([[centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]]]).clamp(
        0, SIDE
    )
    pair = shown_pair(
        int(torch.randint(NUM_CLASSES, (1,), generator=generator)),
        boxes,
        (SIDE, SIDE),
        score_map=small_map(score_map, (CAM_SIDE, CAM_SIDE)),
        probability=0.3 + 0.7 * right,
        rank=0 if right > 0.3 else 1,  # noqa: PLR2004 - seven in ten
        gt_boxes=gt,
        iou_threshold=IOU_THRESHOLD,
    )
    return pair, image


def measure(page: Path, screenshots: Path | None) -> None:
    """Open the page and move its slider."""
    with BROWSER["browser"]() as chromium:
        tab = chromium.new_page(viewport={"width": 1440, "height": 900})
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable")
        start = time.perf_counter()
        tab.goto(page.absolute().as_uri())
        tab.wait_for_selector("html[data-ready]")
        tab.wait_for_selector(".tile rect.box", state="attached")
        print(f"{time.perf_counter() - start:.2f} s until boxes are drawn")
        print(f"{_metrics(session)['TaskDuration']:.2f} s of that the tab's main thread worked")
        step = """steps => { const slider = document.getElementById("explorer-threshold-0"), start = performance.now();
            for (let i = 0; i < steps; i++) { slider.value = i % slider.max; slider.dispatchEvent(new Event("input")); }
            return (performance.now() - start) / steps; }"""
        print(f"{tab.evaluate(step, 100):.1f} ms for a step of the slider")
        for position in range(60):  # look at many images
            tab.evaluate("y => scrollTo(0, y)", position * 5000)
            tab.wait_for_timeout(50)
        heap = _metrics(session)["JSHeapUsedSize"] / 1e6
        processes = chromium.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
        resident = max(_resident(one["id"]) for one in processes if one["type"] == "renderer")
        print(f"{resident / 1e6:.0f} MB resident in the tab's process, {heap:.0f} MB of it scripts', after scrolling")
        if screenshots is not None:
            screenshots.mkdir(parents=True, exist_ok=True)
            tab.evaluate("scrollTo(0, 0)")
            for at in range(0, 100, 10):
                tab.evaluate(
                    "at => { const s = document.getElementById('explorer-threshold-0'); s.value = at; "
                    "s.dispatchEvent(new Event('input')); }",
                    at,
                )
                tab.wait_for_timeout(100)
                tab.screenshot(path=str(screenshots / f"slider_{at:02d}.png"))


def _metrics(session: Any) -> dict[str, float]:  # noqa: ANN401 - playwright's
    return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}


def _resident(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
