from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from camloc.data.images.transforms import EvalTransform
from camloc.data.loading.files import FileSplit
from camloc.data.loading.preflight import Preflight, SplitSummary, check_splits, check_windows, open_images
from camloc.data.loading.split import Split, SplitName

CLASSES = ("cat", "dog")


def untracked(items: Iterable[int], _what: str, _total: int) -> Iterable[int]:
    return items


def split(root: Path, names: list[str], targets: list[int], boxes: list[list[list[float]]] | None = None) -> FileSplit:
    arrays = None if boxes is None else [np.array(b, dtype=np.float64).reshape(-1, 4) for b in boxes]
    return FileSplit(root, names, targets, arrays)


def check(**splits: Split) -> Preflight:
    named: dict[SplitName, Split] = splits  # type: ignore[assignment] # their names are given
    return check_splits(named, CLASSES, untracked)


BOX = [[0.0, 0.0, 4.0, 4.0]]


def test_counts_by_split_and_class(tmp_path: Path) -> None:
    found = check(
        train=split(tmp_path, ["a", "b", "c"], [0, 1, 1]), test=split(tmp_path, ["d", "e"], [0, 1], [BOX * 2, BOX])
    )
    assert found.errors == []
    assert found.warnings == []
    train, test = found.splits["train"], found.splits["test"]
    assert train.per_class.tolist() == [1, 2]
    assert (test.num_images, test.num_boxes, test.num_without_boxes) == (2, 3, 0)


def test_a_class_without_training_image_is_an_error_and_without_test_image_a_warning(tmp_path: Path) -> None:
    found = check(train=split(tmp_path, ["a"], [0]), test=split(tmp_path, ["b"], [0], [BOX]))
    (error,) = found.errors
    assert error.startswith("train has no image of 1 of 2 classes, first dog")
    (warning,) = found.warnings
    assert warning.startswith("test has no image of 1 of 2 classes, first dog")


def test_annotation_on_some_images_only_is_said_with_the_number_of_the_others(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]
    found = check(test=split(tmp_path, names, [0, 1, 0, 1, 0], [BOX, [], [], [], []]))
    assert not found.errors
    assert found.splits["test"].num_without_boxes == 4
    (warning,) = found.warnings
    assert warning == (
        "test: 4 of 5 images have no true box, first b, c, d, ...: localization is measured on the other 1"
    )


def test_an_objectless_class_lacks_no_box_and_may_have_none(tmp_path: Path) -> None:
    def of_test(boxes: list[list[list[float]]]) -> Preflight:
        images = split(tmp_path, ["a", "b", "c"], [0, 1, 1], boxes)
        return check_splits({"test": images}, CLASSES, untracked, objectless=[1])

    found = of_test([BOX, [], []])
    assert not found.errors
    assert not found.warnings
    assert found.splits["test"].num_without_boxes == 0
    (error,) = of_test([BOX, [], BOX]).errors
    assert error.startswith("test: 1 images of objectless classes have a true box, first c: remove the annotation")


def test_pairs_of_several_labels_are_counted(tmp_path: Path) -> None:
    labels = np.array([[True, True], [False, False], [False, True]])
    some = FileSplit(tmp_path, ["a", "b", "c"], labels, [np.array(BOX), np.zeros((0, 4)), np.array(BOX * 2)])
    found = check(test=some)
    summary = found.splits["test"]
    assert (summary.num_images, summary.per_class.tolist()) == (3, [1, 2])
    assert (summary.num_boxes, summary.num_without_boxes) == (3, 1)
    (warning,) = found.warnings
    assert warning == (
        "test: 1 of 3 pairs of an image and a class with objects have no true box, first a: localization is measured "
        "on the other 2"
    )


@pytest.mark.parametrize(("num_shown", "is_said"), [(20, True), (19, True), (18, False)])
def test_a_class_that_nearly_all_training_images_show_is_said(tmp_path: Path, num_shown: int, is_said: bool) -> None:
    labels = np.zeros((20, 2), dtype=bool)
    labels[:num_shown, 1] = labels[:5, 0] = True
    some = FileSplit(tmp_path, [f"{number}" for number in range(20)], labels)
    said = [warning for warning in check(train=some).warnings if "training images" in warning]
    assert len(said) == is_said
    if is_said:
        assert said[0].startswith("1 of 2 classes are in at least 95% of the training images, first dog: image labels")


def test_training_with_boxes_needs_some_and_says_how_many_images_lack_one(tmp_path: Path) -> None:
    def of_train(boxes: list[list[list[float]]] | None) -> Preflight:
        train = split(tmp_path, ["a", "b", "c"], [0, 1, 1], boxes)
        return check_splits({"train": train}, CLASSES, untracked, trains_with_boxes=True)

    (error,) = of_train(None).errors
    assert error.startswith("train has no true boxes, and this objective trains on them; give data whose training")
    found = of_train([BOX, [], BOX])
    assert found.errors == []
    assert found.warnings == ["train: 1 of 3 images have no true box: only their labels count"]
    assert found.splits["train"].num_boxes == 2
    (error,) = of_train([BOX, [[4.0, 0.0, 4.0, 4.0]], BOX]).errors
    assert error.startswith("train: boxes of 1 images are inverted or empty, first b")


def test_no_annotation_at_all_is_a_warning(tmp_path: Path) -> None:
    found = check(test=split(tmp_path, ["a", "b"], [0, 1]))
    assert found.errors == []
    assert found.warnings == ["test has no true boxes: localization is not measured on it"]


@pytest.mark.parametrize("box", [[4.0, 0.0, 1.0, 4.0], [1.0, 1.0, 1.0, 5.0], [0.0, 0.0, float("nan"), 3.0]])
def test_inverted_and_empty_boxes_are_errors(tmp_path: Path, box: list[float]) -> None:
    found = check(test=split(tmp_path, ["a", "b"], [0, 1], [BOX, [box]]))
    (error,) = found.errors
    assert error.startswith("test: boxes of 1 images are inverted or empty, first b [[")


def test_an_image_in_two_splits_is_an_error(tmp_path: Path) -> None:
    train, test = split(tmp_path, ["a", "b", "x"], [0, 1, 1]), split(tmp_path, ["x", "y"], [1, 0], [BOX, BOX])
    (error,) = check(train=train, test=test).errors
    assert error.startswith("1 images are in train and in test, first x:")


def test_a_label_without_class_is_an_error(tmp_path: Path) -> None:
    (error,) = check(test=split(tmp_path, ["a", "b"], [0, 2], [BOX, BOX])).errors
    assert error == "test: b has class 2, and there are 2 classes"


def test_opening_finds_unreadable_images_and_boxes_that_reach_outside(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((5, 8, 3), np.uint8))
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    boxes = [[[0.0, 0.0, 8.0, 5.0], [0.0, 0.0, 9.0, 5.0], [-1.0, 0.0, 3.0, 3.0]], BOX, BOX, BOX]
    images = split(tmp_path, ["good.png", "bad.png", "empty.jpg", "missing.jpg"], [0, 1, 1, 0], boxes)
    unreadable, num_beyond = open_images(images, "test", untracked)
    assert num_beyond == 2
    assert [index for index, _ in unreadable] == [1, 2, 3]
    assert all(name in reason for (_, reason), name in zip(unreadable, ("bad", "empty", "missing"), strict=True))


def test_copies_in_two_splits_are_an_error_whatever_their_names(tmp_path: Path) -> None:
    for name, level in (("a", 1), ("b", 2), ("c", 3), ("d", 4)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((5, 8, 3), level, np.uint8))
    (tmp_path / "copy.png").write_bytes((tmp_path / "b.png").read_bytes())
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "empty1.png").touch()
    (tmp_path / "empty2.png").touch()
    train = split(tmp_path, ["a.png", "b.png", "empty1.png"], [0, 1, 0])
    val = split(tmp_path, ["c.png", "d.png", "empty2.png", "missing.png"], [0, 1, 0, 1], [BOX] * 4)
    assert check(train=train, val=val).errors == []
    test = split(tmp_path, ["copy.png", "link.png"], [1, 0], [BOX, BOX])
    (error,) = check(train=train, val=val, test=test).errors
    assert error.startswith("2 files of test are copies of files of train, first ")
    assert "copy.png is b.png" in error
    assert "link.png is a.png" in error
    assert "on_copies" not in error  # a data set without that option


def test_people_s_own_copies_are_errors_that_name_the_option(tmp_path: Path) -> None:
    names = [f"{index}.png" for index in range(200)]
    for name in names:
        (tmp_path / name).write_text(f"{int(name[:-4]):03d}")
    (tmp_path / "copy.png").write_text("000")
    train, test = split(tmp_path, names, [0, 1] * 100), split(tmp_path, ["copy.png"], [0], [BOX])
    two_classes = split(tmp_path, [*names, "copy.png"], [0, 1] * 100 + [1])
    fix = "datamodule.on_copies=leave_out"
    named: dict[SplitName, Split] = {"train": train, "test": test}
    (error,) = check_splits(named, CLASSES, untracked, on_copies="error").errors
    assert error.startswith("1 files of test are copies of files of train, first copy.png is 0.png: a network must")
    assert error.endswith(fix)
    (error,) = check_splits({"train": two_classes}, CLASSES, untracked, on_copies="error").errors
    assert error.startswith("train: 2 files are copies of files of another class, first 0.png is copy.png, copy.png is")
    assert error.endswith(fix)
    assert check_splits(named, CLASSES, untracked, on_copies="leave_out").errors == []
    assert check_splits({"train": two_classes}, CLASSES, untracked).errors == []  # an official data set has some
    assert "another class" in check_splits({"train": two_classes}, CLASSES, untracked).warnings[0]


def test_many_images_are_not_compared_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("camloc.data.loading.preflight.FEW", 1)
    for name in "ab":
        (tmp_path / name).write_text("same")
    named: dict[SplitName, Split] = {"train": split(tmp_path, ["a", "b"], [0, 1])}
    found = check_splits(named, CLASSES, untracked, on_copies="error")
    assert found.errors == []
    assert found.warnings == ["copies were not looked for among more than 1 images; check_only=true looks for them"]
    assert len(check_splits(named, CLASSES, untracked, on_copies="error", read_files=True).errors) == 1


def test_a_copy_among_hundreds_is_a_warning_and_not_an_error(tmp_path: Path) -> None:
    for index in range(101):
        (tmp_path / f"{index}").write_text(f"{index:03d}")
    (tmp_path / "copy").write_text("000")
    train, test = split(tmp_path, ["copy"], [0]), split(tmp_path, [str(index) for index in range(101)], [0] * 101)
    found = check_splits({"train": train, "test": test}, ["cat"], untracked)
    assert found.errors == []
    assert found.warnings[-1].startswith("1 files of test are copies of files of train, first ")


@pytest.mark.parametrize(
    ("box", "cut", "unseen"),
    [
        ([20.0, 5.0, 80.0, 35.0], 1, 0),
        ([33.0, 3.0, 66.0, 37.0], 0, 0),
        ([0.0, 0.0, 32.0, 40.0], 0, 1),
        ([0.0, 0.0, 33.0, 40.0], 1, 0),
    ],
)
def test_a_box_that_the_centre_crop_cuts_or_does_not_show_is_counted(
    tmp_path: Path, box: list[float], cut: int, unseen: int
) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((40, 100, 3), np.uint8))
    images = split(tmp_path, ["wide.png"], [0], [[box]])
    summary = SplitSummary(np.array([1, 0]), num_images=1)
    window = EvalTransform(32, "centre_crop").window
    assert window((40, 100)) == (32, 2, 67, 37)
    check_windows(images, summary, window)
    assert (summary.num_cut, summary.num_unseen) == (cut, unseen)


def test_boxes_are_tensors_of_the_image(tmp_path: Path) -> None:
    assert torch.equal(split(tmp_path, ["a"], [0], [BOX]).gt_boxes(0)[0], torch.tensor(BOX))
