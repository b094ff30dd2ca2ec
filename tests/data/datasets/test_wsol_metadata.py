import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from camloc.data.datasets.wsol_metadata import WsolMetadata, leaves_folder

BOXES = {
    "image_ids": ["b/1.jpg", "a/2.JPEG", "3.png"],
    # Other files need not be in the order of the ids, nor an image's boxes one after the other.
    "class_labels": ["3.png,4", "b/1.jpg,0", "a/2.JPEG,7"],
    "image_sizes": ["a/2.JPEG,50,40", "b/1.jpg,500,300", "3.png,1,1"],
    "localization": ["a/2.JPEG,0,0,49,39", "3.png,0,0,0,0", "b/1.jpg,9,8,9,10", "a/2.JPEG,3,2,5,4"],
}
MASKS = {
    "image_ids": ["v/1.jpg", "v/2.jpg"],
    "class_labels": ["v/1.jpg,0", "v/2.jpg,1"],
    "image_sizes": [],
    "localization": ["v/1.jpg,v/1_a.png,v/1_ignore.png", "v/2.jpg,v/2_a.png,", "v/1.jpg,v/1_b.png,"],
}


def write(folder: Path, files: dict[str, list[str]], **changed: list[str]) -> str:
    """Write a split's four files, some of them changed."""
    for name, lines in {**files, **changed}.items():
        (folder / f"{name}.txt").write_text("".join(line + "\n" for line in lines))
    return str(folder)


@pytest.fixture
def mask_root(tmp_path: Path) -> Path:
    """Masks of 2x4 pixels: two instances that overlap, an ignored row, and one instance of another image."""
    root = tmp_path / "masks"
    (root / "v").mkdir(parents=True)
    for name, levels in {
        "1_a": [[255, 255, 0, 0], [0, 0, 0, 0]],
        "1_b": [[0, 1, 0, 0], [0, 0, 0, 1]],
        "1_ignore": [[255, 255, 255, 255], [0, 0, 0, 0]],
        "2_a": [[0, 0, 0, 0], [0, 0, 0, 200]],
    }.items():
        assert cv2.imwrite(str(root / "v" / f"{name}.png"), np.array(levels, dtype=np.uint8))
    return root


def test_everything_follows_the_order_of_the_ids(tmp_path: Path) -> None:
    metadata = WsolMetadata(write(tmp_path, BOXES))
    assert len(metadata) == 3
    assert not metadata.has_masks
    assert [metadata.image_id(i) for i in range(3)] == BOXES["image_ids"]
    assert [metadata.target(i) for i in range(3)] == [0, 7, 4]
    assert metadata.num_classes == 8
    assert [metadata.image_size(i) for i in range(3)] == [(300, 500), (40, 50), (1, 1)]


def test_boxes_are_half_open_and_as_annotated_in_the_files_order(tmp_path: Path) -> None:
    metadata = WsolMetadata(write(tmp_path, BOXES))
    inclusive = [[[9, 8, 9, 10]], [[0, 0, 49, 39], [3, 2, 5, 4]], [[0, 0, 0, 0]]]
    half_open = [[[9, 8, 10, 11]], [[0, 0, 50, 40], [3, 2, 6, 5]], [[0, 0, 1, 1]]]
    assert [metadata.inclusive_boxes(i).tolist() for i in range(3)] == inclusive
    assert [metadata.gt_boxes(i).tolist() for i in range(3)] == half_open
    assert (metadata.inclusive_boxes(0).dtype, metadata.gt_boxes(0).dtype) == (torch.int64, torch.float32)


def test_changing_boxes_in_place_changes_nothing_that_is_read_later(tmp_path: Path) -> None:
    metadata = WsolMetadata(write(tmp_path, BOXES))
    metadata.inclusive_boxes(1).add_(1)
    metadata.gt_boxes(1).add_(1)
    assert metadata.inclusive_boxes(1).tolist() == [[0, 0, 49, 39], [3, 2, 5, 4]]


@given(data=st.data(), num_images=st.integers(1, 5))
def test_the_order_of_lines_matters_only_within_an_image(data: st.DataObject, num_images: int) -> None:
    ids = [f"{index}.jpg" for index in range(num_images)]
    others = data.draw(st.lists(st.sampled_from(ids), max_size=8))
    # The n-th line's box begins at column n.
    box_ids = data.draw(st.permutations([*ids, *others]))
    files = {
        "image_ids": ids,
        "class_labels": data.draw(st.permutations([f"{index}.jpg,{index}" for index in range(num_images)])),
        "image_sizes": data.draw(st.permutations([f"{index}.jpg,99,{index + 1}" for index in range(num_images)])),
        "localization": [f"{image_id},{number},0,50,0" for number, image_id in enumerate(box_ids)],
    }
    with tempfile.TemporaryDirectory() as folder:
        metadata = WsolMetadata(write(Path(folder), files))
    for index, image_id in enumerate(ids):
        assert (metadata.image_id(index), metadata.target(index)) == (image_id, index)
        assert metadata.image_size(index) == (index + 1, 99)
        columns = [number for number, box_id in enumerate(box_ids) if box_id == image_id]
        assert metadata.inclusive_boxes(index).tolist() == [[number, 0, 50, 0] for number in columns]


@pytest.mark.parametrize(("start", "end"), [("", ""), ("", "\r\n\r\n"), ("\ufeff", "\r\n")])
def test_line_ends_marks_and_blank_lines_at_the_end_do_not_matter(tmp_path: Path, start: str, end: str) -> None:
    write(tmp_path, BOXES)
    for name, lines in BOXES.items():
        (tmp_path / f"{name}.txt").write_bytes((start + "\r\n".join(lines) + end).encode())
    metadata = WsolMetadata(str(tmp_path))
    assert [metadata.image_id(i) for i in range(3)] == BOXES["image_ids"]
    assert metadata.inclusive_boxes(1).tolist() == [[0, 0, 49, 39], [3, 2, 5, 4]]


def test_ids_may_hold_any_letter_but_a_comma(tmp_path: Path) -> None:
    ids = ["Möwe/\u2028 1.jpg", " x.jpg"]
    files = {"image_ids": ids, "class_labels": [f"{i},0" for i in ids], "image_sizes": [f"{i},9,9" for i in ids]}
    metadata = WsolMetadata(write(tmp_path, files, localization=[f"{i},0,0,1,1" for i in ids]))
    assert [metadata.image_id(i) for i in range(2)] == ids


@pytest.mark.parametrize("file", BOXES)
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    write(tmp_path, BOXES)
    (tmp_path / f"{file}.txt").unlink()
    with pytest.raises(FileNotFoundError, match=rf"no {file}\.txt in datamodule\.metadata={tmp_path}; give a split's"):
        WsolMetadata(str(tmp_path))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"datamodule\.metadata=.*nowhere; give a split's folder"):
        WsolMetadata(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("file", BOXES)
def test_an_empty_file_is_named(tmp_path: Path, file: str) -> None:
    with pytest.raises(ValueError, match=rf"{file}\.txt is empty"):
        WsolMetadata(write(tmp_path, BOXES, **{file: []}))


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    write(tmp_path, BOXES)
    (tmp_path / "class_labels.txt").write_bytes(b"b/1.jpg,0\nM\xf6we.jpg,1\n")
    with pytest.raises(ValueError, match=r"class_labels\.txt, line 2: this is not UTF-8 text; save the file as"):
        WsolMetadata(str(tmp_path))


@pytest.mark.parametrize("file", ["class_labels", "image_sizes", "localization"])
def test_an_id_that_is_in_one_file_only_is_named(tmp_path: Path, file: str) -> None:
    lines = BOXES[file]
    with pytest.raises(ValueError, match=rf"{file}\.txt, line {len(lines) + 1}: the image is not in .* 'new\.jpg,"):
        WsolMetadata(write(tmp_path, BOXES, **{file: [*lines, lines[0].replace(lines[0].split(",")[0], "new.jpg")]}))
    without = [line for line in lines if not line.startswith("3.png")]
    with pytest.raises(ValueError, match=rf"{file}\.txt lacks 1 of 3 images of image_ids\.txt: 3\.png"):
        WsolMetadata(write(tmp_path, BOXES, **{file: without}))


@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        ("image_ids", ["x.jpg", "", "y.jpg"], r"image_ids\.txt, line 2: expected one path without a comma, found ''"),
        ("image_ids", ["x.jpg,1"], r"image_ids\.txt, line 1: expected one path without a comma, found 'x\.jpg,1'"),
        ("image_ids", ["x.jpg", "y.jpg", "x.jpg"], r"image_ids\.txt, line 3: x\.jpg is in line 1 already"),
        ("class_labels", ["b/1.jpg"], r"class_labels\.txt, line 1: expected path,label; found 'b/1\.jpg'"),
        (
            "class_labels",
            ["b/1.jpg,0", "3.png,1.0", "a/2.JPEG,0"],
            r"line 2: expected whole numbers; found '3\.png,1\.0'",
        ),
        ("class_labels", ["b/1.jpg,0", "3.png,-1", "a/2.JPEG,0"], "line 2: a class label is 0 or more"),
        ("class_labels", ["b/1.jpg,9" + 18 * "9" + "9", "3.png,1", "a/2.JPEG,0"], "line 1: expected whole numbers"),
        ("class_labels", [*BOXES["class_labels"], "3.png,4"], "line 4: the image has a line already"),
        ("image_sizes", ["b/1.jpg,500"], r"image_sizes\.txt, line 1: expected path,width,height"),
        ("image_sizes", ["b/1.jpg,500,300", "3.png,1,0", "a/2.JPEG,5,5"], "line 2: width and height are at least 1"),
        ("image_sizes", [*BOXES["image_sizes"], "3.png,1,1"], "line 4: the image has a line already"),
        ("localization", ["b/1.jpg,1,2,3"], r"localization\.txt, line 1: expected path,x0,y0,x1,y1; found"),
        ("localization", [*BOXES["localization"], "3.png,m.png,"], r"line 5: expected path,x0,y0,x1,y1; found"),
        ("localization", [*BOXES["localization"], "", "3.png,0,0,0,0"], r"line 5: expected path,x0,y0,x1,y1; found ''"),
        ("localization", ["b/1.jpg,1,2,x,4", "3.png,0,0,0,0", "a/2.JPEG,0,0,1,1"], "line 1: expected whole numbers"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, file: str, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WsolMetadata(write(tmp_path, BOXES, **{file: lines}))


@pytest.mark.parametrize("box", ["5,2,4,4", "3,5,5,4", "-1,0,5,4", "0,-1,5,4", "0,0,50,4", "0,0,5,40"])
def test_a_box_that_is_inverted_or_outside_is_refused(tmp_path: Path, box: str) -> None:
    lines = [*BOXES["localization"], f"a/2.JPEG,{box}"]
    with pytest.raises(
        ValueError, match=rf"localization\.txt, line 5: the box is inverted or .*; found 'a/2\.JPEG,{box}'"
    ):
        WsolMetadata(write(tmp_path, BOXES, localization=lines))


def test_instances_are_united_and_never_ignored(tmp_path: Path, mask_root: Path) -> None:
    metadata = WsolMetadata(write(tmp_path, MASKS), masks=str(mask_root))
    assert metadata.has_masks
    mask, ignore = metadata.masks(0, size=(2, 4))
    # A level of 1 is inside: the evaluator compares levels of 0 to 255 with 0.5.
    assert mask.tolist() == [[True, True, False, False], [False, False, False, True]]
    assert ignore.tolist() == [[False, False, True, True], [False, False, False, False]]
    assert (mask.dtype, ignore.dtype) == (torch.bool, torch.bool)


def test_without_an_ignore_file_no_pixel_is_ignored(tmp_path: Path, mask_root: Path) -> None:
    mask, ignore = WsolMetadata(write(tmp_path, MASKS), masks=str(mask_root)).masks(1)
    assert mask.shape == ignore.shape == (224, 224)
    assert mask[112:, 168:].all()
    assert mask.sum() == 112 * 56
    assert not ignore.any()


def read_as_the_evaluator(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    levels = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)).astype(np.float32)
    return np.asarray(cv2.resize(levels, size[::-1], interpolation=cv2.INTER_NEAREST) > 0.5)


@pytest.mark.parametrize("shape", [(1, 1), (683, 1024), (223, 7), (640, 480, 3)])
@pytest.mark.parametrize("size", [(224, 224), (5, 300)])
def test_masks_equal_the_evaluators(
    tmp_path: Path, mask_root: Path, shape: tuple[int, ...], size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(len(shape) + shape[0])
    paths = [mask_root / "v" / f"{name}.png" for name in ("1_a", "1_b", "1_ignore")]
    for path in paths:
        assert cv2.imwrite(str(path), rng.choice([0, 0, 0, 1, 255], shape).astype(np.uint8))
    first, second, ignored = (read_as_the_evaluator(path, size) for path in paths)
    mask, ignore = WsolMetadata(write(tmp_path, MASKS), masks=str(mask_root)).masks(0, size)
    assert np.array_equal(mask.numpy(), first | second)
    assert np.array_equal(ignore.numpy(), ignored & ~(first | second))


def test_mask_files_are_named_when_they_cannot_be_read(tmp_path: Path, mask_root: Path) -> None:
    metadata = WsolMetadata(write(tmp_path, MASKS), masks=str(mask_root))
    file = mask_root / "v" / "1_b.png"
    for broken in (b"", b"no mask", file.read_bytes()[:-20]):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=f"cannot read the mask {file}"):
            metadata.masks(0)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=rf"no mask {file}, which .*localization\.txt names"):
        metadata.masks(0)


def test_masks_need_their_folder(tmp_path: Path) -> None:
    folder = write(tmp_path, MASKS)
    with pytest.raises(ValueError, match=r"localization\.txt names mask files; give their folder as datamodule\.masks"):
        WsolMetadata(folder)
    with pytest.raises(FileNotFoundError, match=r"datamodule\.masks=.*nowhere is not a folder"):
        WsolMetadata(folder, masks=str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["v/1.jpg,../a.png,", "v/2.jpg,a.png,"], r"line 1: a file lies outside the mask folder; found .*\.\./a\.png"),
        (["v/1.jpg,a.png,", "v/2.jpg,a.png,v/../../a.png"], "line 2: a file lies outside the mask folder"),
        (["v/1.jpg,/etc/a.png,", "v/2.jpg,a.png,"], "line 1: a file lies outside the mask folder"),
        (["v/1.jpg,a.png,", "v/2.jpg,,a.png"], "line 2: no mask file is named"),
        (["v/1.jpg,a.png,i.png", "v/2.jpg,a.png,", "v/1.jpg,b.png,i.png"], "line 3: only an image's first line"),
        (["v/1.jpg,a.png,i.png", "v/2.jpg,a.png"], r"line 2: expected path,mask,ignore"),
        (["v/1.jpg,a.png,i.png"], r"localization\.txt lacks 1 of 2 images of image_ids\.txt: v/2\.jpg"),
    ],
)
def test_malformed_mask_lines_are_named(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WsolMetadata(write(tmp_path, MASKS, localization=lines), masks=str(tmp_path))


def test_boxes_and_masks_are_not_taken_for_each_other(tmp_path: Path) -> None:
    metadata = WsolMetadata(write(tmp_path, BOXES))
    with pytest.raises(ValueError, match=r"localization\.txt holds boxes and no masks"):
        metadata.masks(0)
    metadata = WsolMetadata(write(tmp_path, MASKS), masks=str(tmp_path))
    for boxes in (metadata.gt_boxes, metadata.inclusive_boxes):
        with pytest.raises(ValueError, match=r"localization\.txt holds masks and no boxes"):
            boxes(0)


def test_sizes_given_with_masks_are_read_where_there_are_any(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"image_sizes\.txt is empty, so image sizes are unknown"):
        WsolMetadata(write(tmp_path, MASKS), masks=str(tmp_path)).image_size(0)
    sizes = ["v/2.jpg,4,2", "v/1.jpg,8,6"]
    assert WsolMetadata(write(tmp_path, MASKS, image_sizes=sizes), masks=str(tmp_path)).image_size(0) == (6, 8)
    with pytest.raises(ValueError, match=r"image_sizes\.txt lacks 1 of 2 images"):
        WsolMetadata(write(tmp_path, MASKS, image_sizes=sizes[:1]), masks=str(tmp_path))


@pytest.mark.parametrize(
    ("path", "leaves"),
    [
        ("a/../b", False),
        ("..a/b", False),
        ("a/..b", False),
        ("..", True),
        ("../a", True),
        ("a/../../b", True),
        ("/a", True),
    ],
)
def test_only_a_path_that_leads_out_leaves_its_folder(path: str, leaves: bool) -> None:
    assert leaves_folder(path) is leaves


@pytest.mark.parametrize(
    ("split", "count", "num_classes", "num_boxes"),
    [
        ("CUB/train", 5994, 200, 5994),
        ("CUB/val", 1000, 200, 1000),
        ("CUB/test", 5794, 200, 5794),
        ("ILSVRC/val", 10000, 1000, 18532),
        ("ILSVRC/test", 50000, 1000, 80477),
    ],
)
def test_real_boxes_are_all_read(
    split: str, count: int, num_classes: int, num_boxes: int, shared_data: Callable[[str], Path]
) -> None:
    folder = shared_data(f"wsolevaluation-metadata/{split}")
    metadata = WsolMetadata(str(folder))
    assert (len(metadata), metadata.num_classes) == (count, num_classes)
    boxes = [metadata.inclusive_boxes(i) for i in range(count)]
    assert sum(map(len, boxes)) == num_boxes
    lines = (folder / "localization.txt").read_text().splitlines()
    last = [int(number) for number in lines[-1].split(",")[1:]]
    assert boxes[-1][-1].tolist() == last


def test_first_lines_of_real_boxes(shared_data: Callable[[str], Path]) -> None:
    real = shared_data("wsolevaluation-metadata")
    metadata = WsolMetadata(str(real / "CUB" / "test"))
    assert metadata.image_id(0) == "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg"
    assert (metadata.target(0), metadata.image_size(0)) == (0, (335, 500))
    assert metadata.inclusive_boxes(0).tolist() == [[60, 27, 385, 331]]
    metadata = WsolMetadata(str(real / "ILSVRC" / "test"))
    assert metadata.image_id(1) == "val/ILSVRC2012_val_00000002.JPEG"
    assert (metadata.target(1), metadata.image_size(1)) == (970, (375, 500))
    assert metadata.gt_boxes(1).tolist() == [[45, 49, 500, 163], [2, 69, 438, 208]]


def test_real_masks_are_looked_for_where_they_are_named(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    real = shared_data("wsolevaluation-metadata/OpenImages")
    metadata = WsolMetadata(str(real / "test"), masks=str(tmp_path))
    assert (len(metadata), metadata.num_classes, metadata.has_masks) == (5000, 100, True)
    assert (metadata.image_id(0), metadata.target(0)) == ("test/01226z/7af766bd43da900b.jpg", 0)
    names = ("7af766bd43da900b_m01226z_6554d965", "7af766bd43da900b_m01226z_8856c605", "7af766bd43da900b_ignore")
    (tmp_path / "test" / "01226z").mkdir(parents=True)
    for number, name in enumerate(names):
        levels = np.zeros((1, 3), dtype=np.uint8)
        levels[0, number] = 255
        assert cv2.imwrite(str(tmp_path / "test" / "01226z" / f"{name}.png"), levels)
    mask, ignore = metadata.masks(0, size=(1, 3))
    assert mask.tolist() == [[True, True, False]]
    assert ignore.tolist() == [[False, False, True]]
