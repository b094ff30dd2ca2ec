"""Runs on class folders: dealt into splits, evaluated on other folders, resumed after images have moved."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from camloc.experiment.checkpoint import load_checkpoint, write_checkpoint
from camloc.experiment.run_directory import RunDirectory

Here = Callable[..., Any]
SMALL = (
    *("datamodule=folder", "datamodule.input_size=64", "datamodule.num_workers=0", "datamodule.batch_size=12"),
    *("trainer.accelerator=cpu", "trainer.max_epochs=1", "callbacks.gallery.count=1"),
)


def write_images(root: Path, count: int, start: int = 0) -> None:
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            pixels = np.random.default_rng([number, ord(name[0])]).integers(0, 255, (40, 40, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")


@pytest.fixture
def trained(here: Here, tmp_path: Path) -> tuple[Path, Path]:
    """The root of class folders, and the run that was trained on it."""
    write_images(tmp_path / "data", 30)
    run = tmp_path / "run"
    finished = here("train", *SMALL, f"datamodule.root={tmp_path / 'data'}", f"hydra.run.dir={run}")
    assert finished.returncode == 0, finished.stderr
    assert "dealt by a hash of names and the seed: " in finished.stdout
    return tmp_path / "data", run


def test_a_run_is_evaluated_on_the_images_it_was_not_trained_on(
    trained: tuple[Path, Path], here: Here, tmp_path: Path
) -> None:
    root, run = trained
    recorded = (run / "splits.csv").read_text()
    counts = {split: recorded.count(f",{split},") for split in ("train", "val", "test")}
    assert sum(counts.values()) == 60

    def evaluate(name: str, *options: str) -> Any:  # noqa: ANN401 - what a command left
        return here(
            *("evaluate", f"checkpoint={run}", "trainer.accelerator=cpu", *options),
            f"hydra.run.dir={tmp_path / name}",
        )

    write_images(root, 10, start=100)
    again = evaluate("again")
    assert again.returncode == 0, again.stderr
    assert "in another split" not in again.stdout
    after = (tmp_path / "again" / "splits.csv").read_text().splitlines()
    assert set(recorded.splitlines()) < set(after)
    assert len(after) == 81
    other = evaluate("other", "datamodule.seed=7")
    assert other.returncode == 1
    assert "were trained on by" in other.stderr

    write_images(tmp_path / "new" / "test", 5, start=200)
    whole = evaluate("whole", f"datamodule.root={tmp_path / 'new'}")
    assert whole.returncode == 0, whole.stderr
    assert "The data has no val" in whole.stdout
    measured = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert len((tmp_path / "whole" / "predictions.csv").read_text().splitlines()) == 1 + 10
    assert not any(key.startswith("val/") for key in measured)

    (tmp_path / "flat" / "test").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "flat" / "test" / "1.png")
    flat = evaluate("unlabelled", f"datamodule.root={tmp_path / 'flat'}")
    assert flat.returncode == 1
    assert "it holds 1 images, first 1.png, and nothing says their class" in flat.stderr


def test_a_run_whose_training_images_are_to_be_measured_is_not_resumed(trained: tuple[Path, Path], here: Here) -> None:
    _, run = trained
    last = RunDirectory(run).last_checkpoint
    checkpoint = load_checkpoint(last)
    known = checkpoint["camloc_run"]
    # As if another rule had dealt all images to train.
    write_checkpoint({**checkpoint, "camloc_run": {**known, "fingerprint": of_all(known["fingerprint"], run)}}, last)
    refused = here("train", f"resume={run}", "trainer.max_epochs=2")
    assert refused.returncode == 1
    assert "images of val were trained on by" in refused.stderr


def of_all(trained: torch.Tensor, run: Path) -> torch.Tensor:
    from camloc.data.loading.files import FileSplit  # noqa: PLC0415 - of this helper alone
    from camloc.data.loading.fingerprint import fingerprint  # noqa: PLC0415 - the same

    root = run.parent / "data"
    files = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.png"))
    found = fingerprint(FileSplit(root, files, [0] * len(files)))
    assert found is not None
    assert len(found) > len(trained)
    return found
