from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from camloc.data.datasets.textures import Textures
from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, Subset
from camloc.data.loading.whole_split import all_files, all_targets, class_counts


def files() -> FileSplit:
    return FileSplit(Path("root"), ["a/1.jpg", "b/2.jpg", "b/3.jpg", "c/4.jpg"], [0, 1, 1, 2])


def drawn() -> Split:
    return Textures(num_train=12, image_size=64).split("train")


@pytest.mark.parametrize("whole", [files, drawn])
def test_arrays_and_single_answers_agree(whole: type[Split]) -> None:
    split: Split = Subset(Subset(whole(), np.array([3, 1, 2])), np.array([2, 0]))
    assert all_targets(split).tolist() == [split.target(index) for index in range(len(split))]
    assert all_targets(split).dtype == np.int64
    found = [split.file(index) for index in range(len(split))]
    assert [Path(file.decode()) for file in all_files(split)] == [file for file in found if file is not None]


def test_files_are_below_the_root_whatever_the_images_are_called() -> None:
    renamed = FileSplit(Path(), ["one", "two"], [0, 0], files=np.array([b"x/1.jpg", b"x/2.jpg"]))
    assert list(all_files(renamed)) == [b"x/1.jpg", b"x/2.jpg"]
    assert [renamed.image_id(index) for index in range(2)] == ["one", "two"]
    assert list(all_files(FileSplit(Path("/"), ["a"], [0]))) == [b"/a"]
    assert list(all_files(drawn())) == []


def test_several_labels_are_rows_with_boxes_for_each_pair() -> None:
    labels = np.array([[True, False, True], [False, False, False], [False, True, False]])
    boxes = [np.array([[0, 0, 4, 4]]), np.zeros((0, 4)), np.array([[1, 1, 2, 2], [3, 3, 5, 5]])]
    split = FileSplit(Path(), ["a", "b", "c"], labels, boxes)
    assert np.array_equal(all_targets(Subset(split, np.array([2, 0]))), labels[[2, 0]])
    assert class_counts(split, 3).tolist() == [1, 1, 1]
    found = [[of_class.tolist() for of_class in split.gt_boxes(index)] for index in range(3)]
    assert found == [[[[0, 0, 4, 4]], []], [], [[[1, 1, 2, 2], [3, 3, 5, 5]]]]
    target = split.target(0)
    assert isinstance(target, Tensor)
    assert target.tolist() == [True, False, True]


def test_boxes_that_are_not_one_array_for_each_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="gt_boxes has 2 entries; give 3, one for each pair"):
        FileSplit(Path(), ["a", "b"], np.array([[True, True], [False, True]]), [np.zeros((0, 4))] * 2)
