import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from camloc.boxes import iou
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.functional import per_image as saved
from camloc.metrics.functional.classification import class_rank
from camloc.metrics.functional.localization import CONDITIONS, Condition
from camloc.metrics.functional.per_image import PerImage, error, hits
from camloc.metrics.localization_error import LocalizationError
from camloc.records import SplitOutcome

FIELDS: dict[str, Any] = {
    "image_ids": np.array(["bird/1.jpg", "鳥/2.jpg", "3"]),
    "target": np.array([4, 0, 199]),
    "rank": np.array([0, 1, 5]),
    "iou": np.array([[0.5, 0.7], [0.4, 0.5], [1.0, 0.0]]),
    "cam_thresholds": np.array([0.0, 0.2]),
}


def per_image(**changes: Any) -> PerImage:  # noqa: ANN401 - any field, even a wrong one
    return PerImage(**(FIELDS | changes))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("gt_known", [[True, True], [False, True], [True, False]]),
        ("top1", [[True, True], [False, False], [False, False]]),
        ("top5", [[True, True], [False, True], [False, False]]),
    ],
)
def test_hits_need_the_box_and_the_rank(condition: Condition, expected: list[list[bool]]) -> None:
    assert hits(per_image(), condition, 0.5).tolist() == expected
    for index in (0, 1):
        assert error(per_image(), condition, index, 0.5) == 1 - sum(row[index] for row in expected) / 3


def test_errors_equal_those_of_the_metric() -> None:
    draw = torch.Generator().manual_seed(0)
    maps, logits = torch.rand(9, 8, 8, generator=draw), torch.rand(9, 12, generator=draw)
    target, gt_boxes = torch.arange(9), [torch.tensor([[1.0, 0.0, 5.0, 7.0], [2.0, 2.0, 8.0, 8.0]])] * 9
    metric = LocalizationError(num_thresholds=7)
    values = metric.update(logits, target, maps, gt_boxes).values
    kept = PerImage.of(SplitOutcome([str(i) for i in range(9)], target, values), metric.cam_thresholds)
    boxes = largest_component_boxes(maps, metric.cam_thresholds)
    assert kept.rank is not None
    assert kept.rank.tolist() == class_rank(logits, target).tolist()
    assert kept.iou.tolist() == iou(boxes, torch.stack(gt_boxes)).amax(dim=-1).tolist()
    curves, ours = metric.compute(), {}
    for condition in CONDITIONS:
        ours[condition] = [error(kept, condition, index, 0.5) for index in range(7)]
        assert ours[condition] == curves[f"{condition}_curve"][1].tolist()
    assert len({tuple(curve) for curve in ours.values()}) == 3


def test_one_image_may_have_several_classes() -> None:
    kept = per_image(image_ids=np.array(["a", "a", "b"]))
    assert kept.image_ids.tolist() == ["a", "a", "b"]


def test_without_a_classifier_only_gt_known_is_counted(tmp_path: Path) -> None:
    per_image(rank=None).save(tmp_path / "test.npz")
    kept = PerImage.load(tmp_path / "test.npz")
    assert kept.rank is None
    assert list(kept.conditions) == ["gt_known"]
    assert hits(kept, "gt_known", 0.5).tolist() == [[True, True], [False, True], [True, False]]
    with pytest.raises(ValueError, match="top1 needs a classifier's ranks"):
        hits(kept, "top1", 0.5)


def test_an_error_of_no_image_is_refused() -> None:
    empty = {name: FIELDS[name][:0] for name in ("image_ids", "target", "rank", "iou")}
    with pytest.raises(ValueError, match="needs an image"):
        error(per_image(**empty), "top1", 0, 0.5)


def test_a_file_brings_everything_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "test"  # no suffix is added
    per_image().save(path)
    loaded = PerImage.load(path)
    for name, value in FIELDS.items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
        assert getattr(loaded, name).dtype == value.dtype


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"val\.npz does not exist; evaluate the run again"):
        PerImage.load(tmp_path / "val.npz")


class TestBadFiles:
    @pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut"])
    def test_no_archive(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "test.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"test\.npz holds no outcomes per image"):
            PerImage.load(path)

    def test_more_than_any_evaluation_writes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "test.npz"
        per_image().save(path)
        monkeypatch.setattr(saved, "MAX_BYTES", 300)
        with pytest.raises(ValueError, match=r"test\.npz holds .*: it unpacks to [\d,]+ bytes, and 300 are the most"):
            PerImage.load(path)

    def test_an_array_that_claims_more_than_there_is(self, tmp_path: Path) -> None:
        path, header = tmp_path / "test.npz", io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**50,)})
        with zipfile.ZipFile(path, "w") as archive:
            for name in FIELDS:
                archive.writestr(f"{name}.npy", header.getvalue())
        with pytest.raises(ValueError, match=r"test\.npz holds no outcomes per image"):
            PerImage.load(path)

    @pytest.mark.parametrize("keep", [0.3, 0.6, 0.99])
    def test_cut_off(self, keep: float, tmp_path: Path) -> None:
        path = tmp_path / "test.npz"
        per_image().save(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])
        with pytest.raises(ValueError, match=r"test\.npz holds no outcomes per image"):
            PerImage.load(path)

    def test_damage_anywhere(self, tmp_path: Path) -> None:
        path = tmp_path / "test.npz"
        per_image().save(path)
        content, refused = path.read_bytes(), 0
        for place in range(len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
            try:
                loaded = PerImage.load(path)
            except ValueError as error:
                assert str(path) in str(error)  # noqa: PT017 - damage to a time stamp does no harm
                refused += 1
            else:
                np.testing.assert_array_equal(loaded.iou, FIELDS["iou"])
        assert refused > 600

    def test_a_single_array(self, tmp_path: Path) -> None:
        path = tmp_path / "test.npz"
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
        with pytest.raises(ValueError, match=r"test\.npz holds no outcomes per image"):
            PerImage.load(path)

    def test_a_field_is_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "test.npz"
        np.savez(path, **{name: value for name, value in FIELDS.items() if name != "target"})
        with pytest.raises(ValueError, match=r"test\.npz holds no outcomes per image: .*target"):
            PerImage.load(path)

    def test_pickles_are_not_opened(self, tmp_path: Path) -> None:
        path = tmp_path / "test.npz"
        np.savez(path, **(FIELDS | {"image_ids": FIELDS["image_ids"].astype(object)}))
        with pytest.raises(ValueError, match=r"test\.npz holds no outcomes per image: .*allow_pickle=False"):
            PerImage.load(path)

    def test_values_are_checked_and_the_file_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "test.npz"
        np.savez(path, **(FIELDS | {"rank": np.zeros(2, dtype=np.int64)}))
        with pytest.raises(ValueError, match=r"test\.npz .* 3 image_ids .*\(2,\)"):
            PerImage.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iou": np.zeros((2, 3))}, r"iou \(3, 2\).*got \(2, 3\)"),
        ({"target": np.zeros((3, 1), dtype=np.int64)}, r"got .*\(3, 1\)"),
        ({"image_ids": np.array([1, 2, 3])}, "text, got int64"),
        (
            {"image_ids": np.array(["a", "b", "a"]), "target": np.array([1, 1, 1])},
            "1 images come more than once, among them a, class 1",
        ),
        ({"iou": np.full((3, 2), np.nan)}, r"\[0,1\]"),
        ({"iou": np.full((3, 2), 50.0)}, r"\[0,1\]"),
        ({"cam_thresholds": np.array([0.2, 0.0])}, r"ascend, got \[0.2, 0.0\]"),
    ],
)
def test_fields_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        per_image(**changes)


def test_thresholds_are_found_exactly_or_refused() -> None:
    assert per_image().threshold_index(0.2) == 1
    with pytest.raises(ValueError, match=r"0\.21 is not among the 2 measured"):
        per_image().threshold_index(0.21)


def test_boxes_without_thresholds_have_one_column(tmp_path: Path) -> None:
    ids, rank = np.array(["a", "b"]), np.array([0, 1])
    kept = PerImage(ids, rank, rank, np.array([[0.6], [0.7]]), np.zeros(0))
    kept.save(tmp_path / "test.npz")
    assert hits(PerImage.load(tmp_path / "test.npz"), "top1", 0.5).tolist() == [[True], [False]]
    with pytest.raises(ValueError, match=r"the CAM threshold 0\.2 is not among the 0 measured"):
        kept.threshold_index(0.2)
    with pytest.raises(ValueError, match="need iou"):
        PerImage(ids, rank, rank, np.ones((2, 2)), np.zeros(0))
