"""Which test images are kept for the page, and what of them."""

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from pytorch_lightning import Trainer
from torch import Tensor

from camloc.callbacks.explorer import Explorer
from camloc.data.loading.sample import EvalBatch
from camloc.experiment.measuring.split_protocols import Counted
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.functional.breakdown import Cause
from camloc.records import Pairs, Prediction, Ranked

SQUARES = run_path(str(Path(__file__).parent.parent / "experiment" / "squares.py"))
eval_batch: Callable[..., EvalBatch] = SQUARES["batch"]
truth = SQUARES["truth"]
THRESHOLDS = [0.2, 0.6]


class Module:
    """What the callback asks of a module: the boxes of other maps, and how many are mapped."""

    num_ranked = 0

    @property
    def test_protocols(self) -> "Module":
        return self

    shown_thresholds, shown_threshold = THRESHOLDS, 0.6

    def localize_maps(self, cams: Tensor, classes: Tensor, map_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        assert (cams.shape[1:], classes.shape) == (map_size, cams.shape[:1])
        return cams, largest_component_boxes(cams, THRESHOLDS)


class Split:
    """Ten images of two classes by turns."""

    def __len__(self) -> int:
        return 10

    def target(self, index: int) -> int:
        return index % 2


def trainer(split: object = None) -> Trainer:
    data = SimpleNamespace(class_names=("red", "green"), split=lambda _: split or Split(), devkit_ids=None)
    stub: Any = SimpleNamespace(datamodule=data, world_size=1)
    return stub  # type: ignore[no-any-return] # a stub


def counted(batch: EvalBatch) -> Counted:
    """The object's halo at 0.5, the object at 1; class 0 is predicted for every image, with a map of all ones."""
    pairs, size = batch.truth.pairs, batch.truth.map_size
    score_maps = torch.zeros(len(pairs.classes), *size)
    score_maps[:, 1:7, 0:8] = 0.5
    score_maps[:, 2:6, 1:5] = 1
    logits = torch.tensor([[2.0, 0.0]] * len(batch.truth.target))
    ranked = Ranked(torch.zeros(len(logits), 1, dtype=torch.int64), torch.ones(len(logits), 1, *size), None)
    boxes = largest_component_boxes(score_maps, THRESHOLDS)
    prediction = Prediction(pairs, logits, score_maps=score_maps, boxes=boxes, ranked=ranked)
    return Counted(prediction, batch.truth, {}, {}, boxes[:, 1])


def kept(callback: Explorer, batches: list[EvalBatch], split: object = None) -> Explorer:
    module: Any = Module()
    attached = trainer(split)
    callback.on_test_epoch_start(attached, module)
    for index, batch in enumerate(batches):
        callback.on_test_batch_end(attached, module, counted(batch), batch, index)
    callback.on_test_epoch_end(attached, module)
    assert module.num_ranked == int(callback.predicted_class)
    return callback


def run_paths(folder: Path) -> Any:  # noqa: ANN401 - a stub
    return SimpleNamespace(report=folder / "report")


def test_what_is_kept_of_an_image(tmp_path: Path) -> None:
    callback = kept(Explorer(run_paths(tmp_path), 0.5), [eval_batch([0, 1] * 5, 0.5)])
    right, wrong = callback.images[:2]
    assert len(callback.images) == 10
    assert (right.name, right.position, right.size) == ("0", 0, (8, 12))
    (pair,) = right.pairs
    assert pair.boxes.tolist() == [
        [0, 0.125, pytest.approx(8 / 12), 0.875],
        pytest.approx([1 / 12, 0.25, 5 / 12, 0.75]),
    ]
    assert pair.iou is not None
    assert pair.causes is not None
    assert pair.iou.tolist() == [pytest.approx(1 / 3), 1]
    assert pair.causes.tolist() == [Cause.CONTEXT, Cause.HIT]
    share = float(torch.tensor([2.0, 0.0]).softmax(0)[0])
    assert pair.rank == 0
    assert pair.probability == pytest.approx(share)
    assert [index for index, _ in right.ranked] == [0, 1]
    assert [probability for _, probability in right.ranked] == pytest.approx([share, 1 - share])
    assert right.predicted is None  # the class's own map is there already
    assert wrong.pairs[0].causes is not None
    assert wrong.pairs[0].causes.tolist() == [Cause.CONTEXT, Cause.WRONG_CLASS]
    assert wrong.predicted is not None
    assert (wrong.predicted.class_index, wrong.predicted.boxes.tolist()) == (0, [[0, 0, 1, 1]] * 2)
    thumbnail = Image.open(tmp_path / "report" / "explorer" / "thumbnails" / "00000001.jpg")
    assert thumbnail.size == (12, 8)


def test_the_same_images_are_kept_for_any_batches(tmp_path: Path) -> None:
    found = []
    for size in (1, 2, 10):
        batches = [eval_batch([0, 1] * (size // 2) or [0], 0.5, first=first) for first in range(0, 10, size)]
        callback = kept(Explorer(run_paths(tmp_path / str(size)), 0.5, max_images=4, predicted_class=False), batches)
        found.append([image.position for image in callback.images])
        thumbnails = sorted(int(file.stem) for file in (tmp_path / str(size)).rglob("*.jpg"))
        assert thumbnails == found[-1] == sorted(found[-1])
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 4
    assert {position % 2 for position in found[0]} == {0, 1}


def test_an_image_of_several_classes_has_a_pair_for_each(tmp_path: Path) -> None:
    target = torch.tensor([[True, True], [False, True], [False, False]])

    class Several:
        def __len__(self) -> int:
            return 3

        def target(self, index: int) -> Tensor:
            return target[index]

    batch = EvalBatch(torch.zeros(3, 3, 8, 12, dtype=torch.uint8), truth(target))
    first, second, negative = kept(Explorer(run_paths(tmp_path), 0.5), [batch], Several()).images
    assert [pair.class_index for pair in first.pairs] == [0, 1]
    assert first.pairs[0].probability == pytest.approx(float(torch.tensor(2.0).sigmoid()))
    assert first.predicted is None
    assert second.predicted is not None
    assert second.pairs[0].rank == 1
    assert (negative.pairs, negative.ranked[0][0]) == ([], 0)
    assert negative.predicted is not None  # a false alarm to look at
    assert negative.predicted.boxes.tolist() == [[0, 0, 1, 1]] * 2


def test_padding_is_not_kept(tmp_path: Path) -> None:
    batch = eval_batch([0, 1, 0], 0.5, first=8, num_images=10)
    first = counted(batch)
    truth_without = batch.truth._replace(
        positions=[8, 9], image_ids=["8", "9"], target=batch.truth.target[:2], gt_boxes=batch.truth.gt_boxes[:2]
    )
    pairs = Pairs.of_target(truth_without.target)
    prediction = first.prediction._replace(pairs=pairs)
    callback, module = Explorer(run_paths(tmp_path), 0.5), Module()
    stub: Any = module
    callback.on_test_epoch_start(trainer(), stub)
    callback.on_test_batch_end(trainer(), stub, first._replace(prediction=prediction, truth=truth_without), batch, 0)
    callback.on_test_epoch_end(trainer(), stub)
    assert [image.position for image in callback.images] == [8, 9]


def test_processes_keep_their_own_images_and_know_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = Module()
    ranks = [Explorer(run_paths(tmp_path), 0.5), Explorer(run_paths(tmp_path), 0.5)]
    for rank, callback in enumerate(ranks):
        callback.on_test_epoch_start(trainer(), module)
        for first in range(rank, 10, 2):
            batch = eval_batch([rank], 0.5, first=first)
            callback.on_test_batch_end(trainer(), module, counted(batch), batch, first)
    parts = [dict(callback._kept) for callback in ranks]

    def gather(gathered: list[Any], _: object) -> None:
        gathered[:] = parts

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    two: Any = SimpleNamespace(**{**vars(trainer()), "world_size": 2})
    for callback in ranks:
        callback.on_test_epoch_end(two, module)
        assert [image.position for image in callback.images] == list(range(10))


def test_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"report\.max_images must be at least 1, got 0"):
        Explorer(run_paths(tmp_path), 0.5, max_images=0)
