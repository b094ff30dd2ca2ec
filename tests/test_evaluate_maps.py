"""``evaluate.py score_maps=DIR``: maps of any method, no network, no images."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Here = Callable[..., Any]
REFERENCE = runpy.run_path(str(Path(__file__).parent / "reference" / "wsolevaluation.py"))
BOXES = {  # image id: (width, height), inclusive boxes
    "a/1.jpg": ((500, 300), [[10, 20, 200, 250]]),
    "a/2.jpg": ((224, 448), [[0, 0, 100, 300], [120, 50, 223, 447]]),
    "b/1.jpg": ((300, 300), [[50, 60, 260, 240]]),
}


def write_maps(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    maps = {}
    for image_id in BOXES:
        smooth = cv2.resize(rng.standard_normal((9, 9)), (224, 224), interpolation=cv2.INTER_CUBIC)
        maps[image_id] = ((smooth - smooth.min()) / (smooth.max() - smooth.min())).astype(np.float32)
        path = folder / f"{image_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, maps[image_id])
    return maps


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    folder = tmp_path / "metadata"
    folder.mkdir()
    (folder / "image_ids.txt").write_text("".join(f"{image_id}\n" for image_id in BOXES))
    (folder / "class_labels.txt").write_text("".join(f"{image_id},0\n" for image_id in BOXES))
    sizes = [f"{image_id},{width},{height}\n" for image_id, ((width, height), _) in BOXES.items()]
    (folder / "image_sizes.txt").write_text("".join(sizes))
    lines = [f"{image_id},{','.join(map(str, box))}\n" for image_id, (_, boxes) in BOXES.items() for box in boxes]
    (folder / "localization.txt").write_text("".join(lines))
    return folder


def evaluate(here: Here, tmp_path: Path, metadata: Path, *overrides: str) -> Any:  # noqa: ANN401 - what is left
    return here(
        "evaluate",
        f"score_maps={tmp_path / 'maps'}",
        "datamodule=wsol_metadata",
        f"datamodule.metadata={metadata}",
        "localization=wsolevaluation",
        "trainer.accelerator=cpu",
        "map_loader.num_workers=0",
        f"hydra.run.dir={tmp_path / 'run'}",
        *overrides,
    )


@pytest.mark.parametrize("interval", [0.01, 0.001])
def test_boxes_equal_the_plain_restatement(interval: float, here: Here, tmp_path: Path, metadata: Path) -> None:
    maps = write_maps(tmp_path / "maps")
    finished = evaluate(here, tmp_path, metadata, f"localization.threshold_interval={interval}")
    assert finished.returncode == 0, finished.stderr
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())

    thresholds = np.arange(0, 1, interval)
    hits = np.zeros((2, 3, len(thresholds)), dtype=np.int64)
    for image_id, ((width, height), boxes) in BOXES.items():
        resized = [REFERENCE["resized_box"](box, (height, width), (224, 224)) for box in boxes]
        best = REFERENCE["best_ious"](maps[image_id], resized, thresholds)
        hits += np.stack([REFERENCE["correct"](ious) for ious in best])
    accuracy = hits.max(axis=-1) / len(BOXES)
    for row, name in enumerate(("max_box_acc", "max_box_acc_v2")):
        for column, percent in enumerate((30, 50, 70)):
            assert found[f"test/localization/{name}_{percent}"] == accuracy[row, column]
    assert found["test/localization/max_box_acc"] == accuracy[0, 1]
    assert found["test/localization/max_box_acc_v2"] == pytest.approx(accuracy[1].mean())
    assert found["test/localization/num_images"] == 3
    assert found["test/localization/max_box_acc_threshold_source"] == "oracle"
    assert found["test/localization/threshold_source"] == "fixed"  # of GT-known, at the paper's 0.2: there is no val
    assert found["test/localization/cam_threshold"] == 0.2
    assert not any("top1" in key or "classification" in key for key in found)  # there is no classifier
    assert "MaxBoxAccV2" in finished.stdout


def test_masks_are_measured_by_pxap(here: Here, tmp_path: Path, metadata: Path) -> None:
    maps = write_maps(tmp_path / "maps")
    rng = np.random.default_rng(1)
    masks = {}
    lines = []
    for number, image_id in enumerate(BOXES):
        mask = rng.random((224, 224)) > 0.7
        masks[image_id] = mask
        cv2.imwrite(str(tmp_path / f"{number}.png"), mask.astype(np.uint8) * 255)
        lines.append(f"{image_id},{number}.png,\n")
    (metadata / "localization.txt").write_text("".join(lines))
    finished = evaluate(here, tmp_path, metadata, f"datamodule.masks={tmp_path}")
    assert finished.returncode == 0, finished.stderr
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    nothing = np.zeros((224, 224), dtype=bool)
    expected = REFERENCE["pxap"]([maps[i] for i in BOXES], [masks[i] for i in BOXES], [nothing] * 3, 0.01)
    assert found["test/localization/pxap"] == pytest.approx(expected / 100, abs=1e-12)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda maps: (maps / "b" / "1.jpg.npy").unlink(), "lacks 1 of 3 maps: b/1.jpg"),
        (lambda maps: np.save(maps / "a" / "1.jpg.npy", np.zeros((7, 9, 3))), "a/1.jpg.npy has shape (7, 9, 3)"),
        (lambda maps: np.save(maps / "a" / "1.jpg.npy", np.full((224, 224), 255.0)), "[0, 1]"),
    ],
)
def test_maps_that_cannot_be_compared_are_one_clear_error(
    spoil: Callable[[Path], object], message: str, here: Here, tmp_path: Path, metadata: Path
) -> None:
    write_maps(tmp_path / "maps")
    spoil(tmp_path / "maps")
    failed = evaluate(here, tmp_path, metadata)
    assert failed.returncode == 1
    assert message in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr


def test_maps_that_are_missing_are_left_out_on_request_and_said(here: Here, tmp_path: Path, metadata: Path) -> None:
    write_maps(tmp_path / "maps")
    (tmp_path / "maps" / "b" / "1.jpg.npy").unlink()
    finished = evaluate(here, tmp_path, metadata, "on_missing=skip")
    assert finished.returncode == 0, finished.stderr
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert found["test/localization/num_images"] == 2
    assert "1 of 3 images have no map: b/1.jpg." in finished.stdout
    assert "Measured on 2 of 3 images." in finished.stdout


def test_maps_of_another_size_and_kind_are_resized_and_that_is_said(here: Here, tmp_path: Path, metadata: Path) -> None:
    (tmp_path / "maps" / "a").mkdir(parents=True)
    (tmp_path / "maps" / "b").mkdir()
    levels = np.zeros((20, 40), dtype=np.uint8)
    levels[5:15, 10:30] = 255
    for image_id in BOXES:
        cv2.imwrite(str(tmp_path / "maps" / f"{image_id}.png"), levels)
    finished = evaluate(here, tmp_path, metadata)
    assert finished.returncode == 0, finished.stderr
    assert "Maps of 40x20 are resized to 224x224 (cubic)." in finished.stdout
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test/localization/num_degenerate"] == 0


def test_what_a_protocol_lacks_is_named(here: Here, tmp_path: Path, metadata: Path) -> None:
    write_maps(tmp_path / "maps")
    finished = evaluate(here, tmp_path, metadata, "localization=pxap")
    assert finished.returncode == 0, finished.stderr
    assert "pxap was not measured: it needs masks, and there are none on test." in finished.stdout


def test_a_protocol_that_can_do_without_either_of_two_things_names_both_where_it_has_neither(
    here: Here, tmp_path: Path, metadata: Path
) -> None:
    write_maps(tmp_path / "maps")
    finished = evaluate(here, tmp_path, metadata, "localization=ilsvrc")
    assert finished.returncode == 0, finished.stderr
    assert "ilsvrc was not measured: it needs a classifier's logits, and there are none on test." in finished.stdout
