"""``val`` with pseudo boxes: true ones cannot be asked for, and data sets do not read them."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from camloc.data.datasets.textures import Textures
from camloc.data.images.border_contrast import border_contrast_box
from camloc.data.loading.files import FileSplit
from camloc.data.loading.pseudo_boxed import PseudoBoxed
from camloc.data.loading.split import Split, SplitName, Subset


def textures(**options: Any) -> Textures:  # noqa: ANN401 - options of the loaders
    return Textures(num_train=9, num_val=3, num_test=3, image_size=64, num_workers=0, input_size=32, **options)


def test_every_image_has_its_pseudo_boxes_and_no_mask() -> None:
    split = textures().split("val")
    boxes = [np.array([[0.0, 1, 2, 3], [4, 5, 6, 7]]), np.zeros((0, 4)), np.array([[8.0, 9, 10, 11]])]
    pseudo = pickle.loads(pickle.dumps(PseudoBoxed(split, boxes)))  # noqa: S301 # as loader workers receive it
    assert [pseudo.gt_boxes(index)[0].tolist() for index in range(3)] == [one.tolist() for one in boxes]
    assert [pseudo.masks(index) for index in range(3)] == [None] * 3
    assert torch.equal(pseudo.image(1), split.image(1))
    assert Subset(pseudo, np.array([2])).gt_boxes(0)[0].tolist() == [[8, 9, 10, 11]]


def test_several_labels_are_refused() -> None:
    split = FileSplit(Path(), ["a"], np.array([[True, False]]))
    with pytest.raises(
        ValueError, match=r"datamodule\.pseudo_boxes: a pseudo box is of no class, and these images have"
    ):
        PseudoBoxed(split, [np.zeros((0, 4))])


class Reads(Textures):
    """Notes of which splits the true boxes may be read."""

    def load_split(self, name: SplitName) -> Split:
        self.read = {**getattr(self, "read", {}), name: self.reads_boxes(name)}
        return super().load_split(name)


def reads(*, with_boxes: bool = False, **options: Any) -> dict[str, bool]:  # noqa: ANN401 - options of the loaders
    data = Reads(num_train=9, num_val=3, num_test=3, image_size=64, **options)
    if with_boxes:
        data.train_with_boxes()
    for name in data.split_names:
        data.split(name)
    found: dict[str, bool] = data.read
    return found


def test_true_boxes_are_read_of_test_and_of_val_unless_pseudo_boxes_stand_in() -> None:
    assert reads() == {"train": False, "val": True, "test": True}
    assert reads(pseudo_boxes="border_contrast") == {"train": False, "val": False, "test": True}
    assert reads(with_boxes=True) == {"train": True, "val": True, "test": True}


def test_a_folder_of_pseudo_boxes_stands_in_on_val_alone(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    lines = [f"val-{index:05d},{index},0,9,9" for index in range(3)]
    (tmp_path / "val" / "localization.txt").write_text("\n".join(lines))
    data = textures(pseudo_boxes=str(tmp_path))
    assert [data.split("val").gt_boxes(index)[0].tolist() for index in range(3)] == [[[i, 0, 10, 10]] for i in range(3)]
    assert all(data.split("val").masks(index) is None for index in range(3))
    true = textures().split("test")
    assert torch.equal(data.split("test").gt_boxes(1)[0], true.gt_boxes(1)[0])
    assert any(f"pseudo boxes ({tmp_path}), made without people" in note for note in data.notes)


def test_boxes_are_made_of_the_images_where_there_are_none() -> None:
    split = textures(pseudo_boxes="border_contrast").split("val")
    expected = [border_contrast_box(split.image(index)).tolist() for index in range(3)]
    assert [split.gt_boxes(index)[0].tolist() for index in range(3)] == [[box] for box in expected]


def test_an_image_that_cannot_be_read_has_no_pseudo_box(monkeypatch: pytest.MonkeyPatch) -> None:
    data = textures(pseudo_boxes="border_contrast")
    split = data.load_split("val")

    def image(index: int) -> torch.Tensor:
        if index == 1:
            raise ValueError("cut off")
        return torch.zeros(3, 8, 8, dtype=torch.uint8)

    monkeypatch.setattr(split, "image", image)
    monkeypatch.setattr(data, "load_split", lambda _: split)
    assert [len(data.split("val").gt_boxes(index)[0]) for index in range(3)] == [1, 0, 1]
