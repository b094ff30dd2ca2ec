"""Which images are drawn, by whom, and what is drawn of them."""

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import Trainer
from torch import Tensor

from camloc.callbacks import gallery
from camloc.callbacks.gallery import Gallery
from camloc.data.loading.sample import EvalBatch
from camloc.experiment.measuring.split_protocols import Counted
from camloc.records import Pairs, Prediction

SQUARES = run_path(str(Path(__file__).parent.parent / "experiment" / "squares.py"))
eval_batch: Callable[..., EvalBatch] = SQUARES["batch"]
MODULE: Any = None  # not looked at


def run_paths(folder: Path) -> Any:  # noqa: ANN401 - a stub
    return SimpleNamespace(gallery=folder / "gallery", epochs=folder / "metrics.csv")


def trainer(num_images: int, world_size: int = 1) -> Trainer:
    data = SimpleNamespace(class_names=("red", "green"), split=lambda _: range(num_images), devkit_ids=None)
    stub: Any = SimpleNamespace(datamodule=data, world_size=world_size)
    return stub  # type: ignore[no-any-return] # a stub


def counted(batch: EvalBatch, *, boxes: bool = True) -> Counted:
    """What a network made of a batch: the object's score map and box, and class 0 for every image."""
    truth = batch.truth
    if not boxes:
        truth = truth._replace(gt_boxes=[torch.zeros(0, 4)] * len(truth.gt_boxes))
    score_maps = torch.zeros(len(truth.pairs.classes), *truth.map_size)
    score_maps[:, 2:6, 1:5] = 1
    prediction = Prediction(truth.pairs, torch.tensor([[1.0, 0.0]] * len(truth.target)), score_maps=score_maps)
    return Counted(prediction, truth, {}, {}, torch.tensor([[0, 1, 8, 7]] * len(score_maps)))


def drawn(callback: Gallery, batches: list[EvalBatch], num_images: int, **options: Any) -> Gallery:  # noqa: ANN401 - of counted
    attached = trainer(num_images)
    callback.on_test_epoch_start(attached, MODULE)
    for index, one in enumerate(batches):
        callback.on_test_batch_end(attached, MODULE, counted(one, **options), one, index)
    return callback


def test_the_same_images_are_drawn_for_any_batches_in_the_splits_order(tmp_path: Path) -> None:
    names = []
    for size in (1, 4, 10):
        batches = [eval_batch([0, 1] * (size // 2) or [0], 0.5, first=first) for first in range(0, 20, size)]
        callback = drawn(Gallery(run_paths(tmp_path / str(size)), 0.5, count=4), batches, 20)
        callback.on_test_epoch_end(trainer(20), MODULE)
        names.append([item.path.name for item in callback.items])
        assert sorted(path.name for path in (tmp_path / str(size) / "gallery").iterdir()) == names[-1]
    assert len(names[0]) == 4
    assert names[0] == names[1] == names[2] == sorted(names[0])


def test_all_images_are_drawn_where_there_are_fewer(tmp_path: Path) -> None:
    callback = drawn(Gallery(run_paths(tmp_path), 0.5), [eval_batch([0, 1, 0], 0.5)], 3)
    callback.on_test_epoch_end(trainer(3), MODULE)
    assert [item.path.name for item in callback.items] == ["00000000.png", "00000001.png", "00000002.png"]
    assert [item.image_id for item in callback.items] == ["0", "1", "2"]


def test_a_tile_says_class_prediction_and_iou(tmp_path: Path) -> None:
    callback = drawn(Gallery(run_paths(tmp_path), 0.5), [eval_batch([0, 1], 0.5)], 2)
    callback.on_test_epoch_end(trainer(2), MODULE)
    right, wrong = (item.caption for item in callback.items)
    assert "red" in right
    assert "0.33" in right  # the halo's box
    assert ("green" in wrong, "red" in wrong) == (True, True)


def test_without_true_boxes_there_is_no_iou(tmp_path: Path) -> None:
    callback = drawn(Gallery(run_paths(tmp_path), 0.5), [eval_batch([0], 0.5)], 1, boxes=False)
    callback.on_test_epoch_end(trainer(1), MODULE)
    assert "IoU" not in callback.items[0].caption


def test_images_are_shown_in_their_own_aspect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    def tile(image: Tensor, score_map: Tensor, gt_boxes: Tensor, box: Tensor, **shown: Any) -> Any:  # noqa: ANN401 - RGB
        seen.append((tuple(image.shape), tuple(score_map.shape), gt_boxes.tolist(), box.tolist(), shown))
        return np.zeros((2, 3, 3), np.uint8)

    monkeypatch.setattr(gallery, "gallery_tile", tile)
    given = eval_batch([1], 0.5)
    # The network saw 8x12 pixels of a window that is 40 wide and 10 high.
    window = given._replace(truth=given.truth._replace(windows=[(5, 0, 45, 10)]))
    callback = drawn(Gallery(run_paths(tmp_path), 0.7), [window], 1)
    callback.on_test_epoch_end(trainer(1), MODULE)
    ((image, score_map, gt_boxes, box, shown),) = seen
    assert (image, score_map) == ((3, 3, 12), (3, 12))  # the longer side as the network saw it
    assert gt_boxes == [[1, 0.75, 5, 2.25]]
    assert box == [0, 0.375, 8, 2.625]
    assert shown == {
        "iou_threshold": 0.7,
        "true_class": "green",
        "predicted_class": "red",
        "iou": pytest.approx(1 / 3),
    }
    assert Image.open(callback.items[0].path).size == (3, 2)


def test_padding_is_not_drawn_in_place_of_its_image(tmp_path: Path) -> None:
    whole = eval_batch([0, 1, 0], 0.5)
    outputs = counted(eval_batch([1, 0], 0.5, first=1))  # the first image was padding, which was left out
    callback = Gallery(run_paths(tmp_path), 0.5)
    callback.on_test_epoch_start(trainer(3), MODULE)
    callback.on_test_batch_end(trainer(3), MODULE, outputs, whole, 0)
    callback.on_test_epoch_end(trainer(3), MODULE)
    assert [item.path.name for item in callback.items] == ["00000001.png", "00000002.png"]
    # Each tile shows its own pixels: green, then red.
    green, red = (np.asarray(Image.open(item.path).convert("RGB")) for item in callback.items)
    assert green.shape == red.shape
    assert (green != red).any()


def test_an_image_with_several_labels_is_drawn_once_for_each(tmp_path: Path) -> None:
    given = eval_batch([0, 1], 0.5)
    truth = SQUARES["truth"](torch.tensor([[True, True], [False, True]]))
    callback = drawn(Gallery(run_paths(tmp_path), 0.5), [given._replace(truth=truth)], 2)
    callback.on_test_epoch_end(trainer(2), MODULE)
    first, second, third = callback.items
    assert [item.path.name for item in callback.items] == [
        "00000000_0000.png",
        "00000000_0001.png",
        "00000001_0001.png",
    ]
    # Class 0 is always the most likely: right in the first image, which shows both, and a mistake in the second.
    assert first.caption.startswith("true: red · predicted: red ✓")
    assert second.caption.startswith("true: green · predicted: green ✓")
    assert third.caption.startswith("true: green · predicted: red ✗")


def test_an_image_without_a_label_has_no_tile(tmp_path: Path) -> None:
    given = eval_batch([0, 1], 0.5)
    truth = SQUARES["truth"](torch.tensor([[False, False], [False, True]]))
    callback = drawn(Gallery(run_paths(tmp_path), 0.5), [given._replace(truth=truth)], 2)
    callback.on_test_epoch_end(trainer(2), MODULE)
    assert [item.path.name for item in callback.items] == ["00000001_0001.png"]


def test_processes_draw_their_own_images_and_know_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [Gallery(run_paths(tmp_path), 0.5), Gallery(run_paths(tmp_path), 0.5)]
    for rank, callback in enumerate(ranks):
        drawn(callback, [eval_batch([0], 0.5, first=first) for first in range(rank, 4, 2)], 4)
    parts = [callback._drawn for callback in ranks]
    assert [sorted(part) for part in parts] == [[(0, 0), (2, 0)], [(1, 0), (3, 0)]]

    def gather(gathered: list[Any], _: object) -> None:
        gathered[:] = parts

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    for callback in ranks:
        callback.on_test_epoch_end(trainer(4, world_size=2), MODULE)
        assert [item.path.name for item in callback.items] == [f"0000000{index}.png" for index in range(4)]


def test_an_evaluation_forgets_the_one_before(tmp_path: Path) -> None:
    callback = Gallery(run_paths(tmp_path), 0.5)
    drawn(callback, [eval_batch([0, 1], 0.5)], 2).on_test_epoch_end(trainer(2), MODULE)
    drawn(callback, [eval_batch([0], 0.5)], 1).on_test_epoch_end(trainer(1), MODULE)
    assert [item.path.name for item in callback.items] == ["00000000.png"]


def test_a_source_without_maps_or_classifier_has_no_gallery(tmp_path: Path) -> None:
    given = eval_batch([0], 0.5)
    callback = Gallery(run_paths(tmp_path), 0.5)
    callback.on_test_epoch_start(trainer(1), MODULE)
    nothing = Counted(Prediction(Pairs.of_target(torch.tensor([0]))), given.truth, {}, {}, None)
    with pytest.raises(ValueError, match=r"a gallery needs logits and boxes; callbacks\.gallery=null leaves it out"):
        callback.on_test_batch_end(trainer(1), MODULE, nothing, given, 0)


def test_at_least_one_image_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"callbacks\.gallery\.count must be at least 1, got 0; callbacks\.gallery=null"
    ):
        Gallery(run_paths(tmp_path), 0.5, count=0)
