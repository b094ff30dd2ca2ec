"""An SVM on features of crops, on images and a network whose numbers can be worked out by hand."""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from runpy import run_path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from camloc.attribution.score_map import score_map
from camloc.data.images.transforms import EvalTransform
from camloc.data.loading.fingerprint import fingerprint
from camloc.experiment.check_options import check_svm
from camloc.experiment.configuration import configuration_directory
from camloc.experiment.entry import offer_run, prepare
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.svm import CropFeatures, Crops, _loader, predictions, svm, true_windows

HERE = Path(__file__).parent
SQUARES = run_path(str(HERE / "squares.py"))
squares_config: Callable[..., DictConfig] = SQUARES["config"]
ROWS = ("full_image", "cam_crop", "true_box")


@pytest.fixture(autouse=True)
def _squares_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


def config(file: Path, **changed: Any) -> DictConfig:  # noqa: ANN401 - values of a configuration
    own = {"checkpoint": str(file), "svm_c": 1.0, "fit_on": ["train", "val"], "cam_threshold": 0.8, "true_box": True}
    return squares_config(**(own | changed))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    file: Path = SQUARES["write_checkpoint"](tmp_path / "best.ckpt")
    return file


def measured(given: DictConfig, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    run = RunDirectory(folder)
    svm(given, run)
    metrics: dict[str, Any] = json.loads(run.metrics.read_text())
    return metrics


def crop_features(cam_threshold: float) -> CropFeatures:
    data = SQUARES["data"]()
    return CropFeatures(
        SQUARES["network"]().eval(),
        partial(_loader, data),
        data.eval_transform,
        partial(score_map, normalization="minmax"),
        cam_threshold,
    )


def test_three_accuracies_with_their_numbers_of_images(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = config(checkpoint, fit_on=["val"])  # whose images have boxes
    metrics = measured(given, tmp_path / "run")
    # Red and green objects are told apart by any of the three.
    assert metrics == {
        **{f"test/svm/{row}_accuracy": 1.0 for row in ROWS},
        "test/num_images": 3,
        "test/svm/num_fitted": 2,
    }
    rows = RunDirectory(tmp_path / "run").read_rows()
    assert [(row.title, row.direction, row.threshold_source) for row in rows] == [
        ("SVM accuracy, full image", "max", ""),
        ("SVM accuracy, CAM crop", "max", "fixed"),
        ("SVM accuracy, true box", "max", ""),
    ]
    printed = capsys.readouterr().out
    assert "linear SVM fitted on 2 images" in printed
    assert "accuracy on 3 of test, %" in printed
    assert printed.count("100.00") == 3


def test_without_boxes_of_training_images(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"train: 2 of 2 images have no true box, such as train0\.png; .*true_box=false"
    ):
        measured(config(checkpoint), tmp_path / "refused")
    metrics = measured(config(checkpoint, true_box=False), tmp_path / "run")
    assert "test/svm/true_box_accuracy" not in metrics
    assert (metrics["test/svm/cam_crop_accuracy"], metrics["test/svm/num_fitted"]) == (1.0, 4)


def test_a_network_of_other_classes(checkpoint: Path, tmp_path: Path) -> None:
    given = config(checkpoint, fit_on=["val"])
    given.datamodule.class_names = ["bird", "fish", "tree"]
    assert measured(given, tmp_path / "run")["test/svm/full_image_accuracy"] == 1


def test_images_that_the_network_was_trained_on_are_refused(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for index in range(3):
        cv2.imwrite(str(images / f"test{index}.png"), np.full((8, 8 + 8 * index, 3), index, np.uint8))
    trained = fingerprint(SQUARES["Squares"]("test", [0, 1], 0.0, images))
    given = config(SQUARES["write_checkpoint"](tmp_path / "best.ckpt", fingerprint=trained), fit_on=["val"])
    given.datamodule.test_folder = str(images)
    with pytest.raises(ValueError, match="2 of the 3 images of test were trained on"):
        measured(given, tmp_path / "run")


def test_a_network_that_was_trained_with_boxes_has_no_maps_to_crop_at(tmp_path: Path) -> None:
    file = SQUARES["write_checkpoint"](tmp_path / "best.ckpt", trained_with_boxes=True)
    with pytest.raises(ValueError, match=r"best\.ckpt was trained with boxes and has no class activation maps"):
        measured(config(file), tmp_path / "run")


@pytest.mark.parametrize(("cam_threshold", "window"), [(0.8, (1, 2, 5, 6)), (0.5, (0, 1, 8, 7))])
def test_a_cam_crop_is_the_box_of_the_map(cam_threshold: float, window: tuple[int, int, int, int]) -> None:
    features = crop_features(cam_threshold)
    test = SQUARES["data"]().split("test")
    assert features.cam_windows(test) == [window] * 3
    # The channels' means over what is shown: full brightness inside the object, 0.75 in its halo.
    shown = (16 + 32 * 191 / 255) / 48 if cam_threshold == 0.5 else 1.0
    means = features(test, "cam_crop")
    torch.testing.assert_close(means[0, :2], torch.tensor([shown, 0.0]), rtol=0.02, atol=0.01)
    torch.testing.assert_close(means[1, :2], torch.tensor([0.0, shown]), rtol=0.02, atol=0.01)


def test_features_are_means_of_the_maps() -> None:
    test = SQUARES["data"]().split("test")
    full, true = (crop_features(0.8)(test, row) for row in ("full_image", "true_box"))
    expected = (16 + 32 * 191 / 255) / 64
    torch.testing.assert_close(full[0, :2], torch.tensor([expected, 0.0]))
    torch.testing.assert_close(true[0, :2], torch.tensor([1.0, 0.0]))
    assert full.shape[0] == 3


class Boxed:
    """Images of 6 x 10 whose red channel counts columns."""

    def __init__(self, *boxes: list[list[float]]) -> None:
        self.boxes = boxes

    def __len__(self) -> int:
        return len(self.boxes)

    def image(self, index: int) -> Tensor:  # noqa: ARG002 - all alike
        return torch.arange(10, dtype=torch.uint8).expand(3, 6, 10)

    def gt_boxes(self, index: int) -> list[Tensor]:
        return [torch.tensor(self.boxes[index])]


def test_true_windows_are_the_largest_box_in_whole_pixels() -> None:
    split: Any = Boxed([[1.5, 2.0, 4.2, 3.0]], [[0.0, 0.0, 2.0, 2.0], [-3.0, 1.0, 4.0, 5.5]])
    assert true_windows(split) == [(1, 2, 5, 3), (0, 1, 4, 6)]


def test_crops_show_their_windows() -> None:
    split: Any = Boxed([[0.0, 0.0, 1.0, 1.0]])
    transform = EvalTransform(2)
    image, window = Crops(split, transform, [(4, 0, 6, 2)])[0]
    assert image[0].tolist() == [[4, 5], [4, 5]]
    assert window == (4, 0, 6, 2)
    whole, window = Crops(split, transform)[0]
    assert (window, tuple(whole.shape)) == ((0, 0, 10, 6), (3, 2, 2))


def test_a_flat_map_shows_the_whole_image() -> None:
    features = crop_features(0.8)
    features.score_map = lambda cams, size: torch.zeros(len(cams), *size)
    assert features.cam_windows(SQUARES["data"]().split("test")) == [(0, 0, 8, 8)] * 3


def test_the_length_of_features_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    features, target = torch.rand(40, 5, generator=generator), np.arange(40) % 4
    lengths = torch.rand(40, 1, generator=generator) + 0.1
    first = predictions(features, target, features, svm_c=10.0)
    second = predictions(features * lengths, target, features * 7, svm_c=10.0)
    assert first.tolist() == second.tolist()
    assert (first == target).mean() > 0.3


def test_a_missing_package_is_named_with_its_extra(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ValueError, match=r"package scikit-learn: pip install 'camloc\[svm\]'"):
        measured(config(checkpoint), tmp_path / "run")


def composed(*overrides: str) -> DictConfig:
    """Compose with parts as a run would have brought them."""
    prepare()
    offer_run([])
    with initialize_config_dir(str(configuration_directory()), version_base="1.3"):
        config, run = compose("svm", ["checkpoint=x", *overrides]), compose("train")
    OmegaConf.set_struct(config, value=False)
    for part in ("backbone", "datamodule", "attribution", "score_map"):
        config[part] = run[part]
    return config


def test_options_are_checked() -> None:
    check_svm(composed(), ["checkpoint"])
    wrong = ["svm_c=0", "fit_on=[test]", "cam_threshold=1", "true_box=3"]
    with pytest.raises(ValueError, match=r"fit_on=.*svm_c=0.*cam_threshold=1.*true_box=3"):
        check_svm(composed(*wrong), ["svm_c"])
