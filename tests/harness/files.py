"""Damaged files of every kind that a command reads: the right result, or one clear line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.harness.forks import Ended, run
from tests.harness.mutate import ANY, TEXT, Mutation, name_a_call
from tests.harness.verdicts import Tally, judged

RUN = ("datamodule.batch_size=4", "trainer.max_epochs=1", "callbacks.gallery=null")
EVALUATED = ("trainer.accelerator=cpu", "callbacks.gallery=null")
FOLDER = ("datamodule=folder", "datamodule.root=data", "trainer.accelerator=cpu", "datamodule.num_workers=0")
BOXES = "datamodule/annotations=csv"
SIDES = (40, 48)


class Kind(NamedTuple):
    """One kind of file, and the command that reads it."""

    file: str
    """Below the folder of good files."""
    script: str
    arguments: tuple[str, ...]
    mutations: tuple[Mutation, ...]
    has_checksum: bool = False


def kinds(canary: str) -> dict[str, Kind]:
    """Return every kind by its name; commands run in a copy of the folder of good files."""
    config = (*TEXT, *(name_a_call(canary),) * 3)
    run_files = {
        "checkpoint": ("run/checkpoints/best.ckpt", "checkpoint=run/checkpoints/best.ckpt", ANY, True),
        "config.yaml": ("run/config.yaml", "checkpoint=run", config, False),
        "saved maps": ("saved.npz", "score_maps=saved.npz", ANY, True),
        "image PNG": ("data/test/cat/0.png", "checkpoint=run", ANY, True),
        "image JPEG": ("data/test/dog/1.jpg", "checkpoint=run", ANY, False),
    }
    found = {
        name: Kind(
            file, "evaluate.py", (source, *_roots(source), *EVALUATED, "hydra.run.dir=out"), mutations, has_checksum
        )
        for name, (file, source, mutations, has_checksum) in run_files.items()
    }
    measured = {
        "map .npy": ("maps/test/cat/0.npy", "score_maps=maps", ANY),
        "map .npz": ("maps/test/cat/1.npz", "score_maps=maps", ANY),
        "map .png": ("maps/test/dog/0.png", "score_maps=maps", ANY),
        "submission": ("submission.txt", "submission=submission.txt", TEXT),
    }
    for name, (file, source, mutations) in measured.items():
        own = ("localization=ilsvrc",) if name == "submission" else ("map_loader.num_workers=0",)
        data = ("datamodule=folder", "datamodule.root=data", BOXES)
        options = (source, *data, *own, *EVALUATED, "hydra.run.dir=out")
        found[name] = Kind(file, "evaluate.py", options, mutations)
    checked = {
        "mask": ("data/annotations/test/cat/0.png", "masks", ANY),
        "VOC XML": ("data/annotations/test/cat/0.xml", "voc", TEXT),
        "COCO JSON": ("data/annotations/test.json", "coco", TEXT),
        "CSV": ("data/annotations/test.csv", "csv", TEXT),
    }
    for name, (file, annotations, mutations) in checked.items():
        arguments = (*FOLDER, f"datamodule/annotations={annotations}", "check_only=true", "hydra.run.dir=out")
        found[name] = Kind(file, "train.py", arguments, mutations)
    return found


def _roots(source: str) -> tuple[str, ...]:
    return ("datamodule.root=data",) if source.startswith("checkpoint=") else ()


def files_part(seed: int, count: int, folder: Path, step: Callable[[str], None]) -> list[Tally]:
    """Damage ``count`` files in turn over all kinds, and judge what reads each.

    Raises:
        RuntimeError: If an undamaged file does not give a result.
    """
    good, canary = folder / "good", folder / "canary"
    make_good(good)
    every = kinds(str(canary))
    expected = {}
    for name, kind in every.items():
        ended, expected[name] = _result(_copied(good, folder / "work"), kind)
        if ended.code:
            raise RuntimeError(f"{name}, undamaged: {ended.stderr}")
    tallies = {name: Tally(name, seed) for name in every}
    for number in range(count):
        name = list(every)[number % len(every)]
        kind, random = every[name], Random(f"{seed} {number}")
        work = _copied(good, folder / "work")
        mutation = random.choice(kind.mutations)
        content = (work / kind.file).read_bytes()
        damaged = mutation(random, content)
        (work / kind.file).write_bytes(damaged)
        ended, result = _result(work, kind)
        verdict = judged(ended, is_same=result == expected[name], has_checksum=kind.has_checksum)
        if canary.exists():
            verdict = "call"
            shutil.rmtree(canary) if canary.is_dir() else canary.unlink()
        tallies[name].add(verdict, f"seed {seed}, case {number} ({mutation.__name__})", ended)
        step(f"{name}: {verdict}")
    return list(tallies.values())


def _copied(good: Path, work: Path) -> Path:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(good, work)
    return work


def _result(work: Path, kind: Kind) -> tuple[Ended, str]:
    """Run the command; its result is the numbers that it writes, or the summary that it prints."""
    ended = run(kind.script, list(kind.arguments), work)
    written = [work / "out" / name for name in ("metrics.json", "predictions.csv")]
    return ended, "".join(file.read_text() for file in written if file.is_file()) or ended.stdout


def make_good(good: Path) -> None:
    """Make a run with saved maps, and a data set with every kind of annotation and of map.

    Raises:
        RuntimeError: If a command fails.
    """
    good.mkdir(parents=True)
    _make_data(good)
    commands = (
        ("train.py", [*FOLDER, BOXES, "datamodule.input_size=64", *RUN, "hydra.run.dir=run"]),
        (
            "evaluate.py",
            ["checkpoint=run", *_roots("checkpoint=run"), *EVALUATED, "save_score_maps=true", "hydra.run.dir=saving"],
        ),
    )
    for script, arguments in commands:
        ended = run(script, arguments, good)
        if ended.code:
            raise RuntimeError(f"{script} {' '.join(arguments)}: {ended.stderr}")
    (good / "saving" / "score_maps.npz").rename(good / "saved.npz")
    shutil.rmtree(good / "saving")
    shutil.rmtree(good / "cache", ignore_errors=True)


def _make_data(good: Path) -> None:
    """Write images, annotation and maps."""
    pixels = np.random.default_rng(0)
    annotations = good / "data" / "annotations"
    for split, number in (("train", 4), ("val", 2), ("test", 2)):
        rows = ["file,x0,y0,x1,y1,class"]
        images: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        for target, name in enumerate(("cat", "dog")):
            for index in range(number):
                image_id = f"{name}/{index}.{'jpg' if index else 'png'}"
                _write(good / "data" / split / image_id, pixels.integers(0, 256, (*SIDES, 3), np.uint8))
                x0, y0, x1, y1 = map(int, pixels.integers([1, 1, 20, 20], [15, 15, 35, 35]))
                rows.append(f"{image_id},{x0},{y0},{x1},{y1},{name}")
                images.append({"id": len(images), "file_name": image_id, "height": SIDES[0], "width": SIDES[1]})
                box = [x0, y0, x1 - x0, y1 - y0]
                boxes.append({"id": len(boxes), "image_id": len(images) - 1, "category_id": target, "bbox": box})
                mask = np.zeros(SIDES, np.uint8)
                mask[y0:y1, x0:x1] = 255
                _write(annotations / split / name / f"{index}.png", mask)
                corners = zip(("xmin", "ymin", "xmax", "ymax"), (x0 + 1, y0 + 1, x1, y1), strict=True)
                bndbox = "\n".join(f"<{corner}>{value}</{corner}>" for corner, value in corners)
                (annotations / split / name / f"{index}.xml").write_text(
                    f"<annotation>\n<object>\n<name>{name}</name>\n<bndbox>\n{bndbox}\n</bndbox>\n</object>\n"
                    "</annotation>\n"
                )
                if split == "test":
                    _write_map(good / "maps" / "test" / name, index, pixels.random(SIDES, np.float32))
        (annotations / f"{split}.csv").write_text("\n".join(rows) + "\n")
        categories = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
        coco = {"images": images, "annotations": boxes, "categories": categories}
        (annotations / f"{split}.json").write_text(json.dumps(coco, indent=0))
    (good / "submission.txt").write_text("1 2 3 20 21\n1 5 5 30 30\n2 1 1 9 9 1 2 2 30 31\n2 4 4 33 28\n")


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def _write_map(folder: Path, index: int, score_map: NDArray[np.float32]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if folder.name == "dog":
        _write(folder / f"{index}.png", (score_map * 255).astype(np.uint8))
    elif index:
        np.savez_compressed(folder / f"{index}.npz", score_map)
    else:
        np.save(folder / f"{index}.npy", score_map)
