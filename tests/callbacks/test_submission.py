"""What the callback writes of a stub's predictions; test_saved_maps.py measures the file of a network."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from camloc.callbacks.submission import Submission
from camloc.data.loading.sample import EvalBatch, Prediction, TopPredictions, Truth
from camloc.localization.threshold_sweep import largest_component_boxes

CLASSES = ("ant", "bee", "cat")


class Stub:
    """TopPredictions class ``position % 3`` in the map's upper left quarter, then the next class without a map."""

    cam_thresholds = (0.2, 0.6)

    def test_threshold(self) -> float:
        return 0.6

    def prediction(self, batch: EvalBatch, _: Prediction) -> TopPredictions:
        first = torch.tensor(batch.truth.positions) % 3
        cams = torch.zeros(len(first), 2, 8, 8)
        cams[:, 0, :8, :6] = 0.5  # above the lower threshold only
        cams[:, 0, :4, :4] = 1
        return TopPredictions(torch.stack([first, (first + 1) % 3], dim=1), cams)

    def score_map(self, cam: Tensor, size: tuple[int, int]) -> Tensor:
        assert cam.shape[1:] == size
        return cam

    def sweep(self, score_maps: Tensor) -> Tensor:
        return largest_component_boxes(score_maps, self.cam_thresholds)


def batch(positions: list[int], *, num_images: int, window: tuple[int, int, int, int]) -> EvalBatch:
    count = len(positions)
    truth = Truth(
        target=torch.zeros(count, dtype=torch.int64),
        gt_boxes=[torch.zeros(0, 4)] * count,
        image_boxes=[torch.zeros(0, 4)] * count,
        masks=None,
        map_size=(8, 8),
        image_sizes=[(16, 40)] * count,
        windows=[window] * count,
        image_ids=[str(position % num_images) for position in positions],
        positions=positions,
        is_padding=torch.tensor([position >= num_images for position in positions]),
    )
    return EvalBatch(torch.zeros(count, 3, 8, 8, dtype=torch.uint8), truth)


def trainer(folder: Path, *, devkit_ids: tuple[int, ...] | None = None, rank: int = 0, processes: int = 1) -> Any:  # noqa: ANN401 - a stub
    return SimpleNamespace(
        default_root_dir=str(folder),
        world_size=processes,
        is_global_zero=rank == 0,
        datamodule=SimpleNamespace(class_names=CLASSES, devkit_ids=devkit_ids),
    )


def collect(callback: Submission, batches: list[EvalBatch]) -> None:
    stub, nothing = Stub(), Prediction(*[torch.zeros(0)] * 4)
    callback.on_test_epoch_start(SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type] # not looked at
    for index, part in enumerate(batches):
        callback.on_test_batch_end(SimpleNamespace(), stub, nothing, part, index)  # type: ignore[arg-type] # stubs


def test_a_line_per_image_in_the_splits_order_with_boxes_in_pixels_of_the_image(tmp_path: Path) -> None:
    callback = Submission()
    window = (16, 0, 32, 16)  # the quarter of the map is (16, 0, 24, 8) of the image
    collect(callback, [batch(p, num_images=3, window=window) for p in ([2, 0], [1])])
    callback.on_test_epoch_end(trainer(tmp_path), SimpleNamespace())  # type: ignore[arg-type] # not looked at
    # A prediction without a map keeps its label, and one pixel.
    assert (tmp_path / "submission.txt").read_text() == (
        "1 16 0 23 7 2 0 0 0 0\n2 16 0 23 7 3 0 0 0 0\n3 16 0 23 7 1 0 0 0 0\n"
    )


def test_labels_are_the_devkits_where_they_are_known(tmp_path: Path) -> None:
    callback = Submission()
    collect(callback, [batch([0, 1], num_images=2, window=(0, 0, 8, 8))])
    callback.on_test_epoch_end(trainer(tmp_path, devkit_ids=(900, 7, 31)), SimpleNamespace())  # type: ignore[arg-type] # not looked at
    assert (tmp_path / "submission.txt").read_text() == "900 0 0 3 3 7 0 0 0 0\n7 0 0 3 3 31 0 0 0 0\n"


def test_the_first_of_two_processes_writes_each_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [Submission(), Submission()]
    for rank, callback in enumerate(ranks):  # three images: position 3 is padding
        collect(callback, [batch([rank, rank + 2], num_images=3, window=(0, 0, 8, 8))])
    rows = [callback._rows for callback in ranks]

    def gather(gathered: list[Any], _: Any) -> None:  # noqa: ANN401 - as torch has it
        gathered[:] = rows

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    for rank in (1, 0):
        ranks[rank].on_test_epoch_end(trainer(tmp_path, rank=rank, processes=2), SimpleNamespace())  # type: ignore[arg-type] # not looked at
        assert (tmp_path / "submission.txt").exists() == (rank == 0)
    labels = [line.split()[0] for line in (tmp_path / "submission.txt").read_text().splitlines()]
    assert labels == ["1", "2", "3"]


def test_an_evaluation_forgets_the_one_before(tmp_path: Path) -> None:
    callback = Submission()
    collect(callback, [batch([0, 1, 2], num_images=3, window=(0, 0, 8, 8))])
    collect(callback, [batch([0], num_images=1, window=(0, 0, 8, 8))])
    callback.on_test_epoch_end(trainer(tmp_path), SimpleNamespace())  # type: ignore[arg-type] # not looked at
    assert (tmp_path / "submission.txt").read_text() == "1 0 0 3 3 2 0 0 0 0\n"
