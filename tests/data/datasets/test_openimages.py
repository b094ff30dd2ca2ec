from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from camloc.data.datasets.openimages import OpenImages

# The second class's own name holds an underscore, as 0bt_c3 of the real ones does.
IMAGES = {
    "train": ["01226z/0a.jpg", "01226z/0b.jpg", "0bt_c3/0c.jpg"],
    "val": ["0bt_c3/1a.jpg"],
    "test": ["01226z/2b.jpg", "0bt_c3/2a.jpg"],
}
MASKS = {
    "val/0bt_c3/1a_m0bt_c3_7dab3053": [[0, 0, 0], [0, 255, 0]],
    "val/0bt_c3/1a_ignore": [[0, 0, 0], [255, 255, 0]],
    "test/01226z/2b_m01226z_6554d965": [[255, 0, 0], [255, 0, 0]],
    "test/01226z/2b_m01226z_1856c605": [[0, 0, 255], [0, 0, 0]],
    "test/0bt_c3/2a_m0bt_c3_5372dbc3": [[0, 0, 0], [0, 255, 255]],
}
LOCALIZATION = {
    "val": ["val/0bt_c3/1a.jpg,val/0bt_c3/1a_m0bt_c3_7dab3053.png,val/0bt_c3/1a_ignore.png"],
    "test": [
        "test/0bt_c3/2a.jpg,test/0bt_c3/2a_m0bt_c3_5372dbc3.png,",
        "test/01226z/2b.jpg,test/01226z/2b_m01226z_6554d965.png,",
        "test/01226z/2b.jpg,test/01226z/2b_m01226z_1856c605.png,",
    ],
}


def write(path: Path, levels: list[list[int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.array(levels, dtype=np.uint8))


def write_masks(root: Path) -> None:
    for name, levels in MASKS.items():
        write(root / f"{name}.png", levels)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images of 2x3 pixels in the real layout, without masks."""
    for split, names in IMAGES.items():
        for name in names:
            write(tmp_path / "data" / split / name, [[90, 90, 90], [90, 90, 90]])
    return tmp_path / "data"


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """The real layout of the metadata, where the order of images is not that of their names."""
    for split, lines in LOCALIZATION.items():
        folder = tmp_path / "metadata" / split
        folder.mkdir(parents=True)
        ids = list(dict.fromkeys(line.split(",")[0] for line in lines))
        (folder / "image_ids.txt").write_text("\n".join(ids))
        (folder / "class_labels.txt").write_text("\n".join(f"{i},{int('0bt_c3' in i)}" for i in ids))
        (folder / "image_sizes.txt").touch()
        (folder / "localization.txt").write_text("\n".join(lines))
    return tmp_path / "metadata"


def ids(data: OpenImages, name: str) -> list[str]:
    split = data.split(name)  # type: ignore[arg-type] # a split's name
    return [split.image_id(i) for i in range(len(split))]


def test_folders_are_the_splits_and_masks_may_lie_next_to_the_images(root: Path) -> None:
    write_masks(root)
    data = OpenImages(str(root))
    assert data.class_names == ("01226z", "0bt_c3")
    for name, images in IMAGES.items():
        assert ids(data, name) == [f"{name}/{image}" for image in images]
    assert [data.split("train").target(i) for i in range(3)] == [0, 0, 1]
    assert [data.split("test").target(i) for i in range(2)] == [0, 1]
    assert data.split("val").target(0) == 1
    assert data.split("test").image(0).shape == (3, 2, 3)


def test_masks_and_boxes_of_all_instances_in_the_order_of_their_files(root: Path) -> None:
    write_masks(root)
    test = OpenImages(str(root)).split("test")
    masks = test.masks(0)
    assert masks is not None
    assert masks[0][0].tolist() == [[True, False, True], [True, False, False]]
    assert not masks[1][0].any()
    assert test.gt_boxes(0)[0].tolist() == [[2, 0, 3, 1], [0, 0, 1, 2]]
    assert test.gt_boxes(1)[0].tolist() == [[1, 1, 3, 2]]


def test_pixels_of_an_object_are_not_ignored(root: Path) -> None:
    write_masks(root)
    val = OpenImages(str(root)).split("val")
    masks = val.masks(0)
    assert masks is not None
    assert masks[0][0].tolist() == [[False, False, False], [False, True, False]]
    assert masks[1][0].tolist() == [[False, False, False], [True, False, False]]
    assert val.gt_boxes(0)[0].tolist() == [[1, 1, 2, 2]]


@pytest.mark.parametrize("suffix", [".jpeg", ".JPG", ".JPEG"])
def test_images_may_have_any_suffix_of_a_jpeg(root: Path, suffix: str) -> None:
    write_masks(root)
    for name in ("train/01226z/0a", "test/01226z/2b"):
        (root / f"{name}.jpg").rename(root / f"{name}{suffix}")
    data = OpenImages(str(root))
    assert ids(data, "train") == [f"train/01226z/0a{suffix}", "train/01226z/0b.jpg", "train/0bt_c3/0c.jpg"]
    assert ids(data, "test") == [f"test/01226z/2b{suffix}", "test/0bt_c3/2a.jpg"]
    assert data.split("test").gt_boxes(0)[0].tolist() == [[2, 0, 3, 1], [0, 0, 1, 2]]


def test_two_images_with_the_same_masks_are_refused(root: Path) -> None:
    write_masks(root)
    write(root / "test/01226z/2b.png", [[90]])
    (root / "test/01226z/2b.png").rename(root / "test/01226z/2b.JPG")
    with pytest.raises(ValueError, match=r"test/01226z/2b\.JPG and test/01226z/2b\.jpg would have the same masks"):
        OpenImages(str(root)).split("test")


def test_hidden_folders_are_not_a_classes(root: Path) -> None:
    for name in IMAGES:
        (root / name / ".ipynb_checkpoints").mkdir()
    data = OpenImages(str(root))
    assert data.class_names == ("01226z", "0bt_c3")
    assert [data.split("train").target(i) for i in range(3)] == [0, 0, 1]


def test_training_images_have_neither_boxes_nor_masks(root: Path) -> None:
    train = OpenImages(str(root)).split("train")
    assert train.gt_boxes(0)[0].shape == (0, 4)
    assert train.masks(0) is None


def test_masks_may_have_a_folder_of_their_own(root: Path, tmp_path: Path) -> None:
    write_masks(tmp_path / "masks")
    write(tmp_path / "masks/test/01226z/77_m01226z_00000000.png", [[1]])  # of an image that is not there
    write(tmp_path / "masks/test/01226z/2b_m0bt_c3_00000000.png", [[1]])  # of another class's object
    test = OpenImages(str(root), masks=str(tmp_path / "masks")).split("test")
    assert [test.gt_boxes(i)[0].tolist() for i in range(2)] == [[[2, 0, 3, 1], [0, 0, 1, 2]], [[1, 1, 3, 2]]]


def test_the_metadata_say_which_images_and_masks_there_are(root: Path, metadata: Path, tmp_path: Path) -> None:
    write_masks(tmp_path / "masks")
    write(root / "test/01226z/unlisted.jpg", [[90]])
    data = OpenImages(str(root), masks=str(tmp_path / "masks"), metadata=str(metadata))
    assert ids(data, "test") == ["test/0bt_c3/2a.jpg", "test/01226z/2b.jpg"]
    assert [data.split("test").target(i) for i in range(2)] == [1, 0]
    assert data.split("test").gt_boxes(1)[0].tolist() == [[0, 0, 1, 2], [2, 0, 3, 1]]
    masks = data.split("val").masks(0)
    assert masks is not None
    assert masks[1][0].tolist() == [[False, False, False], [True, False, False]]
    assert ids(data, "train") == [f"train/{image}" for image in IMAGES["train"]]


def test_batches_hold_masks_and_boxes(root: Path) -> None:
    write_masks(root)
    batch = next(iter(OpenImages(str(root), input_size=6, num_workers=0).test_dataloader()))
    assert batch.truth.masks is not None
    assert batch.truth.masks.shape == (2, 2, 6, 6)
    # Images of 2x3 pixels, three times as high and twice as wide.
    assert batch.truth.gt_boxes[1].tolist() == [[2, 3, 6, 6]]
    assert batch.truth.masks[1, 0].nonzero().amin(dim=0).tolist() == [3, 2]
    assert batch.truth.masks[1, 0].sum() == 12


def test_images_without_masks_are_counted_and_named(root: Path) -> None:
    with pytest.raises(
        FileNotFoundError,
        match=r"2 of 2 images in .*test have no mask in .*: test/01226z/2b\.jpg, \.\.\. needs "
        r"test/01226z/2b_m01226z_\*\.png; see datamodule\.masks",
    ):
        OpenImages(str(root)).split("test")


def test_folders_that_are_missing_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"datamodule\.root=.*nowhere has no class folder in train, val or"):
        OpenImages(str(tmp_path / "nowhere"), masks=str(root))
    with pytest.raises(FileNotFoundError, match=r"datamodule\.masks=.*nowhere is not a folder"):
        OpenImages(str(root), masks=str(tmp_path / "nowhere"))
    with pytest.raises(
        FileNotFoundError, match=r"datamodule\.metadata=.*nowhere has no folder val; give metadata/Open"
    ):
        OpenImages(str(root), metadata=str(tmp_path / "nowhere")).split("val")
    write(tmp_path / "other" / "val" / "01226z" / "a.jpg", [[1]])
    data = OpenImages(str(tmp_path / "other"))
    assert data.class_names == ("01226z",)
    with pytest.raises(FileNotFoundError, match=r"datamodule\.root=.*other has no folder train"):
        data.split("train")


def test_a_class_that_training_does_not_know_is_refused(root: Path) -> None:
    write(root / "test/09new/a.jpg", [[1]])
    with pytest.raises(ValueError, match=r"test has class folders that .*train lacks: 09new"):
        OpenImages(str(root)).split("test")


def test_metadata_and_folders_that_disagree_are_refused(root: Path, metadata: Path) -> None:
    write_masks(root)
    labels = metadata / "val" / "class_labels.txt"
    for target, told in ((0, "01226z"), (2, "missing")):
        labels.write_text(f"val/0bt_c3/1a.jpg,{target}")
        with pytest.raises(ValueError, match=rf"1a\.jpg has class {target}, but class {target} of .* is {told}"):
            OpenImages(str(root), metadata=str(metadata)).split("val")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "test/0bt_c3/2a.jpg",
            r"lacks 1 of 2 files, test/0bt_c3/2a\.jpg, which .*image_ids\.txt names; see datamodule\.r",
        ),
        (
            "test/0bt_c3/2a_m0bt_c3_5372dbc3.png",
            r"lacks 1 of 3 files, .*_5372dbc3\.png, which .*localization\.txt names",
        ),
    ],
)
def test_files_that_the_metadata_name_must_be_there(root: Path, metadata: Path, file: str, message: str) -> None:
    write_masks(root)
    (root / file).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        OpenImages(str(root), metadata=str(metadata)).split("test")


def test_metadata_of_boxes_are_refused(root: Path, metadata: Path) -> None:
    (metadata / "val" / "image_sizes.txt").write_text("val/0bt_c3/1a.jpg,3,2")
    (metadata / "val" / "localization.txt").write_text("val/0bt_c3/1a.jpg,0,0,1,1")
    with pytest.raises(ValueError, match=r"localization\.txt holds boxes and no masks"):
        OpenImages(str(root), metadata=str(metadata)).split("val")


def test_real_metadata_fit_their_layout(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    metadata = shared_data("wsolevaluation-metadata/OpenImages")
    lines = (metadata / "val" / "localization.txt").read_text().splitlines()
    empty = cv2.imencode(".png", np.array([[0, 255]], dtype=np.uint8))[1].tobytes()
    for line in lines:
        for name in filter(None, line.split(",")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(empty)
    by_name = OpenImages(str(tmp_path)).split("val")
    data = OpenImages(str(tmp_path), metadata=str(metadata))
    named = data.split("val")
    assert (len(named), data.num_classes, named.image_id(0)) == (2500, 100, "val/01226z/32fdab44f6e415f1.jpg")
    assert sum(len(named.gt_boxes(i)[0]) for i in range(2500)) == len(lines)
    boxes_of = {by_name.image_id(i): (by_name.target(i), len(by_name.gt_boxes(i)[0])) for i in range(len(by_name))}
    assert boxes_of == {named.image_id(i): (named.target(i), len(named.gt_boxes(i)[0])) for i in range(2500)}
