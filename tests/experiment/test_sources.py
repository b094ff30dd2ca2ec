"""Where predictions come from, and what is refused before any of them is measured."""

import importlib
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from camloc.data.loading.fingerprint import fingerprint
from camloc.experiment.measuring.results import Threshold
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.run_record import RUN_KEY
from camloc.experiment.source import PredictedData, Source
from camloc.experiment.sources import build_source
from camloc.predictors.map_files import MAP_SIZE, MapPredictor
from camloc.predictors.network import NetworkPredictor
from camloc.predictors.submission import SubmissionPredictor

HERE = Path(__file__).parent
SQUARES = run_path(str(HERE / "squares.py"))
config: Callable[..., DictConfig] = SQUARES["config"]
write_checkpoint: Callable[..., Path] = SQUARES["write_checkpoint"]


@pytest.fixture(autouse=True)
def _squares_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


def source(folder: Path, data: dict[str, Any] | None = None, **given: Any) -> Source:  # noqa: ANN401 - of a configuration
    datamodule = {"_target_": "squares.SquaresData", **(data or {})}
    return build_source(config(datamodule=datamodule, **given), RunDirectory(folder))


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ({"backbone": {}}, "found none"),
        ({"checkpoint": "a", "submission": "b"}, "found checkpoint and submission"),
        ({"checkpoint": "a", "score_maps": "b", "submission": "c"}, "found checkpoint and score_maps and submission"),
    ],
)
def test_exactly_one_source_must_be_named(named: dict[str, str], found: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"one of checkpoint=.*score_maps=.*submission=FILE; {found}$"):
        source(tmp_path, None, **named)


def test_a_checkpoint_brings_its_weights_and_its_threshold(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "checkpoints" / "best.ckpt")
    given = config(checkpoint=str(tmp_path))
    given.backbone.weights = "somewhere/to/download"
    found = build_source(given, RunDirectory(tmp_path))
    assert found.splits == ("val", "test")
    assert found.threshold == Threshold(0.8, "val")
    assert found.notes == [f"Weights: {file}."]
    assert (found.has_images, found.has_other_classes, found.score_map) == (True, True, None)
    assert isinstance(found.predictor, NetworkPredictor)
    assert found.predictor.backbone.trunk.weight[0, 0].item() == 1  # type: ignore[attr-defined] # a GapBackbone
    assert given.backbone.weights is None


def test_with_the_checkpoints_threshold_val_is_not_read(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "best.ckpt")
    found = source(tmp_path, checkpoint=str(file), threshold_from="checkpoint")
    assert found.splits == ("test",)
    assert found.threshold == Threshold(0.8, "val")
    assert found.data._splits.keys() == {"test"}


@pytest.mark.parametrize("has_val", [True, False])
def test_the_checkpoints_threshold_is_not_of_other_maps(
    has_val: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_val:
        monkeypatch.setattr(importlib.import_module("squares").SquaresData, "split_names", ("train", "test"))
    file = write_checkpoint(tmp_path / "best.ckpt")
    other = OmegaConf.merge(config().score_map, {"normalization": "max"})
    given: dict[str, Any] = {"checkpoint": str(file), "score_map": other}
    fix = f"{'threshold_from=val or ' if has_val else ''}localization.cam_threshold=X"
    with pytest.raises(ValueError, match=rf"was chosen with the run's own score_map, .* give {fix}$"):
        source(tmp_path, threshold_from="checkpoint", **given)
    fixed = config().localization
    fixed.protocols.val_threshold.cam_threshold = 0.2
    assert source(tmp_path, threshold_from="checkpoint", localization=fixed, **given).splits == ("test",)
    if has_val:
        assert source(tmp_path, **given).splits == ("val", "test")
    fixed_in_training = write_checkpoint(tmp_path / "fixed.ckpt", threshold=(0.2, "fixed"))
    again = source(tmp_path, threshold_from="checkpoint", **{**given, "checkpoint": str(fixed_in_training)})
    assert again.threshold == Threshold(0.2, "fixed")


def test_a_checkpoint_without_a_threshold_cannot_give_one(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "best.ckpt", threshold=None)
    with pytest.raises(ValueError, match=r"best\.ckpt has no CAM threshold, for its val had no boxes"):
        source(tmp_path, checkpoint=str(file), threshold_from="checkpoint")
    assert source(tmp_path, checkpoint=str(file)).threshold is None
    fixed = config().localization
    fixed.protocols.val_threshold.cam_threshold = 0.2
    assert source(tmp_path, checkpoint=str(file), threshold_from="checkpoint", localization=fixed).threshold is None


def test_boxes_are_looked_for_only_where_a_threshold_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = write_checkpoint(tmp_path / "without.ckpt", threshold=None)
    has_one = write_checkpoint(tmp_path / "best.ckpt")
    monkeypatch.setattr("camloc.experiment.sources.preflight", lambda *_: None)  # which counts them
    asked: list[int] = []

    def gt_boxes(_: Any, index: int) -> list[torch.Tensor]:  # noqa: ANN401 - a split
        asked.append(index)
        return [torch.zeros(0, 4)]

    squares = importlib.import_module("squares")  # as the configuration does
    monkeypatch.setattr(squares.Squares, "gt_boxes", gt_boxes)
    source(tmp_path, checkpoint=str(has_one), threshold_from="checkpoint")
    source(tmp_path, checkpoint=str(without))
    assert set(asked) == {0}  # each split's first one, when it is loaded
    source(tmp_path, checkpoint=str(without), threshold_from="checkpoint")
    assert set(asked) == {0, 1, 2}


def with_own_weights(**given: Any) -> dict[str, Any]:  # noqa: ANN401 - of a configuration
    return {"backbone": {"_target_": "squares.gap", "_partial_": True, "weights": "somewhere"}, **given}


def test_a_network_with_weights_of_its_own_needs_no_run(tmp_path: Path) -> None:
    found = source(tmp_path, **with_own_weights(classifier={}))
    assert isinstance(found.predictor, NetworkPredictor)
    assert found.predictor.backbone.trunk.weight.abs().sum().item() == 0  # type: ignore[attr-defined] # a GapBackbone's
    assert (found.splits, found.threshold) == (("val", "test"), None)
    assert (found.has_images, found.has_other_classes, found.score_map) == (True, True, None)
    assert found.notes == ["Weights: the network's own, backbone.weights=somewhere."]


def test_a_fixed_threshold_needs_no_val(tmp_path: Path) -> None:
    fixed = with_own_weights(localization=config().localization)
    fixed["localization"].protocols.val_threshold.cam_threshold = 0.2
    found = source(tmp_path, **fixed)
    assert found.splits == ("test",)
    assert found.data._splits.keys() == {"test"}


def test_a_network_without_its_other_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"name attribution=, views= too, or an experiment= that does$"):
        source(tmp_path, **with_own_weights(attribution={}, views={}))


def test_a_network_with_random_layers_is_refused(tmp_path: Path) -> None:
    backbone = {"_target_": "camloc.backbones.googlenet.googlenet_gap", "_partial_": True, "weights": None}
    with pytest.raises(ValueError, match=r"backbone\.weights=None leaves \d+ tensors at random for 2 classes"):
        source(tmp_path, backbone=backbone)


def test_data_with_other_classes_is_refused(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "best.ckpt", class_names=["red", "blue"])
    with pytest.raises(ValueError, match=r"first that differs was trained as blue and is green in the data.* trained$"):
        source(tmp_path, checkpoint=str(file))
    more = write_checkpoint(tmp_path / "more.ckpt", class_names=["blue", "red", "green"])
    with pytest.raises(ValueError, match=r"that were trained; annotation that shows some .* datamodule\.classes=\["):
        source(tmp_path, checkpoint=str(more))


def test_other_labels_than_in_training_are_said(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "best.ckpt")
    saved = torch.load(file, weights_only=True)
    saved[RUN_KEY]["several_labels"] = True
    torch.save(saved, file)
    assert source(tmp_path, checkpoint=str(file)).notes[1:] == [
        "The network was trained on several labels per image and is measured on one label per image."
    ]


def test_images_that_were_trained_on_are_refused(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for index in range(3):
        cv2.imwrite(str(images / f"test{index}.png"), np.full((8, 8 + 8 * index, 3), index, np.uint8))
    trained = fingerprint(SQUARES["Squares"]("test", [0, 1], 0.0, images))
    file = write_checkpoint(tmp_path / "best.ckpt", fingerprint=trained)
    with pytest.raises(ValueError, match=r"2 of the 3 images of test were trained on by .*best\.ckpt"):
        source(tmp_path, {"test_folder": str(images)}, checkpoint=str(file))
    assert source(tmp_path, checkpoint=str(file)).splits == ("val", "test")  # none of them is a file


def map_folder(folder: Path, *present: int, size: tuple[int, int] = MAP_SIZE) -> Path:
    folder.mkdir(exist_ok=True)
    for index in present:
        np.save(folder / f"test{index}.png.npy", np.full(size, index / 4, np.float32))
    return folder


def test_ready_made_maps_are_measured_as_they_are(tmp_path: Path) -> None:
    maps = map_folder(tmp_path / "maps", 0, 1, 2)
    found = source(tmp_path, score_maps=str(maps), score_map=None)
    assert isinstance(found.predictor, MapPredictor)
    assert (found.splits, found.threshold, found.has_images, found.has_other_classes) == (("test",), None, False, False)
    assert found.notes == [f"Ready-made maps: {maps}."]
    assert found.score_map is not None
    assert found.score_map(torch.tensor([[[0.25, 0.5]]]), (1, 2)).tolist() == [[[0.25, 0.5]]]
    split = found.data.split("test")
    assert (len(split), split.image_id(2)) == (3, "test2.png")
    assert found.data.class_names == ("red", "green")


def test_maps_are_normalized_where_that_is_asked_for(tmp_path: Path) -> None:
    maps = map_folder(tmp_path / "maps", 0, 1, 2, size=(4, 6))
    found = source(tmp_path, score_maps=str(maps))
    assert found.score_map is None
    assert found.notes[1:] == ["Maps of 6x4 are resized to 224x224 (cubic)."]


def test_an_image_without_a_map_is_an_error_or_left_out(tmp_path: Path) -> None:
    maps = map_folder(tmp_path / "maps", 0, 2)
    with pytest.raises(
        FileNotFoundError, match=r"lacks 1 of 3 maps: test1\.png; .*on_missing=skip measures those present"
    ):
        source(tmp_path, score_maps=str(maps))
    found = source(tmp_path, score_maps=str(maps), on_missing="skip")
    assert found.notes[1:] == ["1 of 3 images have no map: test1.png.", "Measured on 2 of 3 images."]
    split = found.data.split("test")
    assert [split.image_id(index) for index in range(len(split))] == ["test0.png", "test2.png"]


def metadata(folder: Path) -> dict[str, str]:
    folder.mkdir()
    for name, fields in (("class_labels", "2"), ("image_sizes", "8,6"), ("localization", "0,0,7,5")):
        (folder / f"{name}.txt").write_text(f"test0.png,{fields}")
    (folder / "image_ids.txt").write_text("test0.png")
    return {"_target_": "camloc.data.datasets.wsol_metadata.WsolMetadata", "metadata": str(folder)}


def test_classes_without_names_are_numbered(tmp_path: Path) -> None:
    given = config(datamodule=metadata(tmp_path / "metadata"), score_maps=str(map_folder(tmp_path / "maps", 0)))
    data: Any = build_source(given, RunDirectory(tmp_path)).data
    assert (data.class_names, data.devkit_ids) == (("0", "1", "2"), None)
    assert [boxes.tolist() for boxes in data.split("test")[0].truth.image_boxes] == [[[0, 0, 8, 6]]]


def test_the_labels_of_a_submission_are_numbers_of_classes(tmp_path: Path) -> None:
    file = tmp_path / "submission.txt"
    file.write_text("2 1 2 4 5 1 0 0 7 7\n1 1 2 4 5\n\n")
    found = source(tmp_path, submission=str(file))
    assert isinstance(found.predictor, SubmissionPredictor)
    assert (found.splits, found.notes, found.has_other_classes) == (("test",), [f"Submission: {file}."], False)
    data: Any = found.data
    split = data.split("test")
    assert [split[index].classes[:2].tolist() for index in range(3)] == [[1, 0], [0, -1], [-1, -1]]
    assert split[0].boxes[0].tolist() == [1, 2, 5, 6]


def test_the_devkits_own_labels_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "submission.txt"
    file.write_text("7 1 2 4 5\n900 1 2 4 5\n7 1 2 4 5\n")
    found: Any = source(tmp_path, {"_target_": "squares.WithDevkitIds"}, submission=str(file)).data
    assert [found.split("test")[index].classes[0].item() for index in range(3)] == [1, 0, 1]
    assert tuple(found.devkit_ids) == (900, 7)
    with pytest.raises(ValueError, match=r"submission\.txt, line 1"):
        source(tmp_path, submission=str(file))  # of two classes without labels in the devkit, there is no seventh


def test_predictions_are_loaded_by_a_trainer() -> None:
    data = PredictedData({"test": [1]}, {"test": list}, ["a"], None, batch_size=1, num_workers=0)  # type: ignore[dict-item] # not looked at
    with pytest.raises(ValueError, match="predictions are loaded by a trainer"):
        data.test_dataloader()
