"""``camloc export`` as its user meets it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import camloc
from camloc.data.datasets.textures import TextureSplit
from camloc.experiment.checkpoint import write_checkpoint
from camloc.export.localize import load, localize

Here = Callable[..., Any]
NUM_IMAGES = 500


def exported(here: Here, trained: tuple[Path, str], folder: Path, *options: str) -> dict[str, Any]:
    answer = here("export", f"checkpoint={trained[0]}", f"hydra.run.dir={folder}", *options)
    assert answer.returncode == 0, answer.stderr
    card: dict[str, Any] = json.loads((folder / "card.json").read_text())
    assert f"exported: {folder / card['file']}" in answer.stdout
    return card


def test_an_exported_program_is_the_network(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    card = exported(here, trained, tmp_path, "format=exported_program", "top_k=2")
    assert not (tmp_path / "localize.py").exists()  # which is without torch
    program = torch.export.load(tmp_path / card["file"]).module()
    localizer = camloc.load(trained[0], device="cpu")
    split = TextureSplit(12, 90, 3, "test")
    run = lambda images: [part.numpy() for part in program(torch.from_numpy(images))[:3]]  # noqa: E731
    for index in range(len(split)):
        image = split.image(index)
        (expected,) = localizer.localize([image], top_k=2)
        found = localize(run, card, image.permute(1, 2, 0).numpy())
        assert [one["class"] for one in found] == [one.name for one in expected.classes]
        assert [one["box"] for one in found] == [
            list(one.boxes[0].box) if one.boxes else None for one in expected.classes
        ]


def test_the_card_says_what_a_program_needs(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    card = exported(here, trained, tmp_path, "format=exported_program", "cam_threshold=0.3")
    assert (card["input_size"], card["window"], card["top_k"], card["file"]) == (64, "warp", 1, "model.pt2")
    assert (card["cam_threshold"], card["threshold_source"]) == (0.3, "given")
    assert (card["several_labels"], card["objectless"], card["intensity"]) == (False, [], None)
    assert len(card["class_names"]) == 9
    assert card["largest_difference"] <= 1e-4
    metrics = json.loads((trained[0] / "metrics.json").read_text())
    numbers = {one["key"]: one for one in card["numbers"]}
    assert numbers["test/localization/gt_known_error"]["value"] == metrics["test/localization/gt_known_error"]
    assert numbers["test/localization/gt_known_error"]["threshold_source"] == "val"


def test_a_checkpoint_that_was_not_measured_has_no_numbers(
    trained: tuple[Path, str], here: Here, tmp_path: Path
) -> None:
    last = trained[0] / "checkpoints" / "last.ckpt"
    alone = tmp_path / "mine.ckpt"
    shutil.copy(last if last.is_file() else trained[0] / "checkpoints" / "best.ckpt", alone)
    card = exported(here, (alone, ""), tmp_path / "out", "format=exported_program")
    assert card["numbers"] == []
    assert card["threshold_source"] == "val"


def test_a_network_with_another_part_has_no_numbers(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    card = exported(here, trained, tmp_path, "format=exported_program", "score_map=max", "cam_threshold=0.3")
    assert card["numbers"] == []
    assert (card["cam_threshold"], card["threshold_source"], card["score_map"]) == (0.3, "given", "max")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("attribution=grad_cam", "only attribution=cam with views=none"),
        ("score_map=max", "was chosen with the run's own score_map, and another is used here; give cam_threshold=X"),
        ("views=flip", "only attribution=cam with views=none"),
        ("views=ten_crop", "only attribution=cam with views=none"),
        ("score_map=ivr", "score_map=ivr cannot be exported; score_map=minmax and score_map=max can"),
        ("box_rule=released", "only box_rule=largest_component can be exported"),
        ("top_k=10", "top_k=10 must be at least 1 and at most 9"),
        ("format=tflite", "format=tflite must be onnx or exported_program"),
        ("cam_threshold=1", "cam_threshold=1 must be"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    option: str, message: str, trained: tuple[Path, str], here: Here, tmp_path: Path
) -> None:
    options = [option] if option.startswith("format") else ["format=exported_program", option]
    answer = here("export", f"checkpoint={trained[0]}", f"hydra.run.dir={tmp_path}", *options)
    assert answer.returncode == 1
    assert message in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not list(tmp_path.glob("model*"))


def test_without_its_packages_onnx_is_refused(
    trained: tuple[Path, str], here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    answer = here("export", f"checkpoint={trained[0]}", f"hydra.run.dir={tmp_path}")
    assert answer.returncode == 1
    assert "format=onnx needs the package onnxscript: pip install 'camloc[onnx]'" in answer.stderr


def test_a_file_of_other_weights_is_not_measured_under_a_checkpoints_name(
    trained: tuple[Path, str], here: Here, tmp_path: Path
) -> None:
    card = exported(here, trained, tmp_path / "export", "format=exported_program")
    checkpoint = torch.load(trained[0] / "checkpoints" / "best.ckpt", weights_only=True)
    name = next(name for name in checkpoint["state_dict"] if name.startswith("predictor."))
    checkpoint["state_dict"][name][0] += 1
    write_checkpoint(checkpoint, tmp_path / "other.ckpt")
    without = json.dumps({key: value for key, value in card.items() if key != "weights"})
    for text, of, message in (
        (json.dumps(card), trained[0], f"there is no {tmp_path / 'export' / 'model.onnx'}"),  # its weights are right
        (json.dumps(card), tmp_path / "other.ckpt", "was exported from other weights than those of checkpoint="),
        (without, trained[0], "lacks weights, or it is no str; export the network again"),
    ):
        (tmp_path / "export" / "card.json").write_text(text)
        answer = here("evaluate", f"checkpoint={of}", f"onnx={tmp_path / 'export'}", "trainer.accelerator=cpu")
        assert answer.returncode == 1
        assert message in answer.stderr


@pytest.mark.integration
def test_onnx_gives_every_class_and_box_of_the_network(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    card = exported(here, trained, tmp_path, "top_k=3")
    run, read = load(tmp_path)
    assert read == card
    localizer = camloc.load(trained[0], device="cpu")
    split = TextureSplit(NUM_IMAGES, 128, 5, "test")
    images = [split.image(index) for index in range(NUM_IMAGES)]
    boxes = 0
    for image, expected in zip(images, localizer.localize(images, top_k=3, maps=True), strict=True):
        pixels = image.permute(1, 2, 0).numpy()
        found = localize(run, card, pixels)
        assert [one["class"] for one in found] == [one.name for one in expected.classes]
        of_network = [list(one.boxes[0].box) if one.boxes else None for one in expected.classes]
        assert [one["box"] for one in found] == of_network
        boxes += len(of_network) - of_network.count(None)
        ((probabilities,), _, (score_maps,)) = run(np.ascontiguousarray(image.numpy())[None])
        assert np.abs(probabilities - expected.probabilities).max() < 1e-4
        assert np.abs(score_maps - np.array([one.score_map for one in expected.classes], np.float32)).max() < 1e-4
    assert boxes > NUM_IMAGES
    # The script beside the model, where there is neither torch nor camloc.
    Image.fromarray(images[0].permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    for name in ("torch", "camloc", "cv2"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was imported')")
    command = [sys.executable, str(tmp_path / "localize.py"), str(tmp_path / "a.png")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    printed = subprocess.run(command, text=True, capture_output=True, check=False, env=environment, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    answer = json.loads(printed.stdout)
    assert answer["classes"] == localize(run, card, images[0].permute(1, 2, 0).numpy())


@pytest.mark.integration
def test_an_onnx_file_evaluates_to_the_numbers_of_its_network(
    trained: tuple[Path, str], here: Here, tmp_path: Path
) -> None:
    card = exported(here, trained, tmp_path / "export")
    options = ("localization=[val_threshold,maxboxacc_v2,ilsvrc]", "save_score_maps=true", "trainer.accelerator=cpu")
    runs = {name: tmp_path / name for name in ("network", "onnx")}
    for name, run in runs.items():
        more = (f"onnx={tmp_path / 'export'}",) if name == "onnx" else ()
        answer = here("evaluate", f"checkpoint={trained[0]}", f"hydra.run.dir={run}", *options, *more)
        assert answer.returncode == 0, answer.stderr
    assert f"Logits and maps: {tmp_path / 'export' / card['file']}, by onnxruntime on the CPU." in answer.stdout
    numbers = {name: json.loads((run / "metrics.json").read_text()) for name, run in runs.items()}
    assert numbers["onnx"] == pytest.approx(numbers["network"], abs=1e-5)
    counts = {key: value for key, value in numbers["network"].items() if isinstance(value, int)}
    assert any("gt_known_hits" in key for key in counts)
    assert counts == {key: numbers["onnx"][key] for key in counts}
    assert (runs["onnx"] / "submission.txt").read_text() == (runs["network"] / "submission.txt").read_text()
    assert (runs["onnx"] / "report" / "index.html").is_file()
    # The maps that it saved are the network's.
    saved = {name: np.load(run / "score_maps.npz", allow_pickle=False) for name, run in runs.items()}
    for array in ("test/logits", "test/cam", "test/ranked_cams"):
        assert np.abs(saved["onnx"][array] - saved["network"][array]).max() < 1e-4
    # What belongs to another checkpoint is refused, and so is an option of the network.
    (tmp_path / "export" / "card.json").write_text(json.dumps({**card, "class_names": card["class_names"][::-1]}))
    for option, message in (
        ("seed=0", f"onnx={tmp_path / 'export'}: class_names of its card is ["),
        ("attribution=grad_cam", "attribution has no effect with onnx="),
    ):
        refused = here("evaluate", f"checkpoint={trained[0]}", f"onnx={tmp_path / 'export'}", option)
        assert refused.returncode == 1
        assert message in refused.stderr
