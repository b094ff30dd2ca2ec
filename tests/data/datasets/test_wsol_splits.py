import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from camloc.data.datasets.wsol_metadata import WsolMetadata
from camloc.data.datasets.wsol_splits import wsol_split

FILES = {
    "image_ids": ["v/dog/1.jpg", "v/cat/1.jpg"],
    "class_labels": ["v/cat/1.jpg,0", "v/dog/1.jpg,1"],
    "image_sizes": ["v/dog/1.jpg,8,6", "v/cat/1.jpg,8,6"],
    "localization": ["v/dog/1.jpg,0,0,7,5", "v/cat/1.jpg,1,2,3,4", "v/dog/1.jpg,5,5,5,5"],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two grey images of 6x8 pixels."""
    for image_id, level in (("dog/1.jpg", 40), ("cat/1.jpg", 200)):
        path = tmp_path / "v" / image_id
        path.parent.mkdir(parents=True)
        assert cv2.imwrite(str(path), np.full((6, 8), level, dtype=np.uint8))
    return tmp_path


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    return write(tmp_path / "metadata" / "test")


def write(folder: Path, **changed: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in {**FILES, **changed}.items():
        (folder / f"{name}.txt").write_text("\n".join(lines))
    return folder


def test_images_labels_and_boxes_follow_the_metadata(root: Path, metadata: Path) -> None:
    split = wsol_split(root, metadata, ["cat", "dog"])
    assert [split.image_id(i) for i in range(len(split))] == ["v/dog/1.jpg", "v/cat/1.jpg"]
    assert [split.target(i) for i in range(2)] == [1, 0]
    assert [split.gt_boxes(i)[0].tolist() for i in range(2)] == [[[0, 0, 8, 6], [5, 5, 6, 6]], [[1, 2, 4, 5]]]
    assert [round(split.image(i).float().mean().item()) for i in range(2)] == [40, 200]


def test_images_may_lie_elsewhere_and_keep_their_ids(root: Path, metadata: Path) -> None:
    split = wsol_split(root / "v", metadata, ["cat", "dog"], lambda image_id: image_id.removeprefix("v/"))
    split = pickle.loads(pickle.dumps(split))  # noqa: S301 # as loader workers receive it
    assert [split.image_id(i) for i in range(2)] == ["v/dog/1.jpg", "v/cat/1.jpg"]
    assert [round(split.image(i).float().mean().item()) for i in range(2)] == [40, 200]


def test_missing_images_are_named(root: Path, metadata: Path) -> None:
    (root / "v/cat/1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of 2 files, v/cat/1\.jpg, which .*test/image_ids\.txt names"):
        wsol_split(root, metadata, ["cat", "dog"])
    with pytest.raises(FileNotFoundError, match=r"see datamodule\.val_root"):
        wsol_split(root, metadata, ["cat", "dog"], option="datamodule.val_root")


def test_a_missing_split_is_named(root: Path, metadata: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"datamodule\.metadata={metadata.parent} has no folder val; give"):
        wsol_split(root, metadata.parent / "val", ["cat", "dog"])


def test_a_label_that_is_not_the_folders_is_refused(root: Path, metadata: Path) -> None:
    with pytest.raises(ValueError, match=r"v/dog/1\.jpg has class 1, cat, and lies in dog, class 0; give the metadata"):
        wsol_split(root, metadata, ["dog", "cat"])


def test_a_folder_that_is_not_a_class_does_not_affect_labels(root: Path, metadata: Path) -> None:
    assert wsol_split(root, metadata, ["a", "b"]).target(0) == 1


def test_more_classes_than_the_data_set_has_are_refused(root: Path, metadata: Path) -> None:
    with pytest.raises(ValueError, match=r"class_labels\.txt labels classes up to 1, and the data set has 1; give all"):
        wsol_split(root, metadata, ["cat"])


@pytest.mark.parametrize("image_id", ["../1.jpg", "/1.jpg", "v/../../1.jpg"])
def test_an_image_outside_its_root_is_refused(root: Path, tmp_path: Path, image_id: str) -> None:
    values = {"class_labels": ",0", "image_sizes": ",8,6", "localization": ",0,0,1,1"}
    changed = {name: [image_id + value] for name, value in values.items()}
    folder = write(tmp_path / "bad", image_ids=[image_id], **changed)
    with pytest.raises(ValueError, match=rf"image_ids\.txt, line 1: {image_id} lies outside {root}"):
        wsol_split(root, folder, ["cat"])


def test_real_metadata_of_cub(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("wsolevaluation-metadata/CUB/val")
    metadata = WsolMetadata(str(folder))
    folders = sorted({metadata.image_id(i).split("/")[0] for i in range(len(metadata))})
    for index in range(len(metadata)):
        path = tmp_path / metadata.image_id(index)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    split = wsol_split(tmp_path, folder, folders)
    assert len(split) == 1000
    assert split.gt_boxes(0)[0].tolist() == [[176, 136, 460, 292]]
    assert (split.image_id(999), split.target(999)) == ("200.Common_Yellowthroat/47733619781.jpg", 199)


def test_boxes_are_not_opened_where_none_are_to_be_read(root: Path, metadata: Path) -> None:
    (metadata / "localization.txt").unlink()
    split = wsol_split(root, metadata, ["cat", "dog"], with_boxes=False)
    assert [split.image_id(i) for i in range(2)] == ["v/dog/1.jpg", "v/cat/1.jpg"]
    assert [len(split.gt_boxes(i)[0]) for i in range(2)] == [0, 0]
