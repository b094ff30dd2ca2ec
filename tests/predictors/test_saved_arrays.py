"""A file of saved predictions is checked against itself: sizes before anything is read, then every array and value."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from camloc.predictors.saved_arrays import SavedArrays

Arrays = dict[str, NDArray[Any]]


def whole() -> Arrays:
    """Three images, four classes, maps of 2x3 of 4x6 pixels; the second image has two boxes."""
    return {
        "class_names": np.array(["a", "b", "c", "d"]),
        "devkit_ids": np.zeros(0, np.int64),
        "map_size": np.array([4, 6]),
        "config": np.array("backbone: {}"),
        "test/logits": np.array([[4, 3, 2, 1], [1, 2, 3, 4], [0, 9, 9, 0]], np.float32),
        "test/cam": np.zeros((3, 2, 3), np.float32),
        "test/ranked_classes": np.array([[0, 1], [3, 2], [2, 1]]),
        "test/ranked_cams": np.zeros((3, 2, 2, 3), np.float32),
        "test/target": np.array([0, 3, 1]),
        "test/image_ids": np.array([b"x", b"y", b"z"]),
        "test/image_sizes": np.full((3, 2), 30),
        "test/windows": np.array([[0, 0, 30, 30]] * 3),
        "test/box_ends": np.array([1, 3, 3]),
        "test/image_boxes": np.array([[0, 0, 9, 9]] * 3, np.float32),
        "test/masks": np.zeros((3, 2, 3), np.uint8),
    }


def read(path: Path, arrays: Arrays) -> Arrays:
    np.savez(path, **arrays)  # type: ignore[arg-type] # no array is called allow_pickle
    return SavedArrays(path).split("test")


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    arrays = whole()
    found = read(tmp_path / "maps.npz", arrays)
    assert found.keys() == {name.removeprefix("test/") for name in arrays if "/" in name}
    for name, array in found.items():
        np.testing.assert_array_equal(array, arrays[f"test/{name}"])
    del arrays["test/masks"]
    arrays["test/image_boxes"], arrays["test/box_ends"] = np.zeros((0, 4), np.float32), np.zeros(3, np.int64)
    assert "masks" not in read(tmp_path / "maps.npz", arrays)
    arrays["test/logits"][0] = np.nan  # of a network that diverged, which is measured as such
    read(tmp_path / "maps.npz", arrays)


def several() -> Arrays:
    """Three images with two classes, none and one; of three pairs the first has two boxes and the last none."""
    target = np.zeros((3, 4), bool)
    target[0, [1, 3]] = target[2, 0] = True
    return {**whole(), "test/target": target, "test/box_ends": np.array([2, 3, 3]), "objectless": np.array([0])}


def test_a_file_of_several_labels_has_arrays_of_pairs(tmp_path: Path) -> None:
    path, arrays = tmp_path / "maps.npz", several()
    assert read(path, arrays)["target"].dtype == bool
    assert SavedArrays(path).general["objectless"].tolist() == [0]
    nothing = {"test/target": np.zeros((3, 4), bool), "test/image_boxes": np.zeros((0, 4), np.float32)}
    for name, empty in (("cam", (0, 2, 3)), ("masks", (0, 2, 3)), ("box_ends", (0,))):
        nothing[f"test/{name}"] = np.zeros(empty, arrays[f"test/{name}"].dtype)
    assert read(path, {**arrays, **nothing})["cam"].shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("key", "array", "message"),
    [
        ("test/target", np.ones((3, 4), bool), "test/cam has 3 maps, and test/target has 12 pairs"),
        ("test/target", np.ones((3, 5), bool), r"test/target has shape \(3, 5\), where C is 4 by class_names"),
        ("test/target", np.ones((2, 4), bool), r"test/target has shape \(2, 4\), where N is 3 by test/logits"),
        ("test/target", np.ones(3, bool), r"test/target has shape \(3,\), not \(N, C\)"),
        ("test/cam", np.zeros((4, 2, 3), np.float32), r"test/box_ends has shape \(3,\), where P is 4 by test/cam"),
        ("test/box_ends", np.array([2, 3]), r"test/box_ends has shape \(2,\), where P is 3 by test/cam"),
        ("test/masks", np.zeros((2, 2, 3), np.uint8), r"test/masks has shape \(2, 2, 3\), where P is 3 by test/cam"),
        ("objectless", np.array([4]), "objectless has class 4, and there are 4"),
        ("objectless", np.array([True]), "objectless is bool, not int64"),
    ],
)
def test_arrays_of_pairs_that_contradict_each_other_are_named(
    key: str, array: NDArray[Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "maps.npz", {**several(), key: array})


@pytest.mark.parametrize("key", sorted(whole()))
def test_every_array_that_is_shorter_longer_or_missing_is_named(key: str, tmp_path: Path) -> None:
    path, arrays = tmp_path / "maps.npz", whole()
    changed: list[NDArray[Any]] = [] if key == "config" else [arrays[key][:-1], np.concatenate([arrays[key]] * 2)]
    if key == "devkit_ids":
        changed = [np.array([1, 2])]
    for array in (*changed, arrays[key][..., None], np.zeros(arrays[key].shape, complex)):
        with pytest.raises(ValueError, match=r"^score_maps=\S*maps\.npz holds no saved score maps: [^\n]*; write it"):
            read(path, {**arrays, key: array})
    del arrays[key]
    if key != "test/masks":
        with pytest.raises(ValueError, match=rf"maps\.npz holds no saved score maps: {key} is missing; write it again"):
            read(path, arrays)


@pytest.mark.parametrize(
    ("key", "array", "message"),
    [
        ("test/target", np.array([0, 3]), r"test/target has shape \(2,\), where N is 3 by test/logits"),
        ("test/logits", np.zeros((3, 5), np.float32), r"test/logits has shape \(3, 5\), where C is 4 by class_names"),
        (
            "test/ranked_cams",
            np.zeros((3, 2, 3, 3), np.float32),
            r"test/ranked_cams has shape .*, where h is 2 by test/cam",
        ),
        ("test/windows", np.zeros((3, 3), np.int64), r"test/windows has shape \(3, 3\), not \(N, 4\)"),
        ("test/cam", np.zeros((3, 0, 3), np.float32), r"test/cam has shape \(3, 0, 3\), which is empty"),
        ("test/target", np.array([0.0, 3.0, 1.0]), "test/target is float64, not int64"),
        ("test/target", np.array([0, 3, 1], ">i8"), "test/target is >i8, not int64"),
        ("test/target", np.array([0, 4, 1]), "test/target has class 4, and there are 4"),
        ("test/target", np.array([0, -1, 1]), "test/target has class -1"),
        ("test/ranked_classes", np.array([[0, 1], [2, 3], [2, 1]]), "test/ranked_classes at 1 are not the 2 highest"),
        ("test/ranked_classes", np.array([[0, 1], [3, 2], [2, 2]]), "test/ranked_classes at 2 are not the 2 highest"),
        ("test/ranked_classes", np.array([[0, 2], [3, 2], [2, 1]]), "test/ranked_classes at 0 are not the 2 highest"),
        ("test/box_ends", np.array([2, 1, 3]), "test/box_ends at 1 go back"),
        ("test/box_ends", np.array([2**63 - 1, -2, 3]), "test/box_ends at 1 go back"),  # their difference overflows
        ("test/box_ends", np.array([1, 2, 2]), "test/box_ends ends at 2, and image_boxes has 3 boxes"),
        ("test/image_boxes", np.full((3, 4), np.nan, np.float32), "test/image_boxes at 0 are no box"),
        ("test/image_boxes", np.array([[5, 0, 1, 9]] * 3, np.float32), "test/image_boxes at 0 are no box"),
        ("test/windows", np.array([[0, 0, 30, 30], [0, 0, 0, 9], [0, 0, 3, 3]]), "test/windows at 1 are no window"),
        ("test/image_sizes", np.array([[1, 1], [1, 1], [0, 1]]), "test/image_sizes at 2 are no height and width"),
        ("test/image_ids", np.array([b"x", b"y", b"x"]), "test/image_ids at 2 are another image's as well"),
        ("test/masks", np.zeros((3, 2, 2), np.uint8), "test/masks has 2 bytes for 24 pixels of map_size"),
        ("map_size", np.array([4, 1_000_000]), r"map_size is \[4, 1000000\], not two sides of 1 to 4096 pixels"),
        ("devkit_ids", np.array([1, 2]), "devkit_ids has 2 entries for 4 classes"),
        ("config", np.array([{}], object), "config is object, not str"),
    ],
)
def test_arrays_that_contradict_each_other_are_named(
    key: str, array: NDArray[Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        read(tmp_path / "maps.npz", {**whole(), key: array})
    assert "\n" not in str(refused.value)


def replace_member(path: Path, name: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    np.savez(path, **{key: array for key, array in whole().items() if key != name})  # type: ignore[arg-type] # the same
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{name}.npy", content, compression)


def test_nothing_is_unpacked_and_no_header_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    stream = io.BytesIO()
    np.save(stream, np.zeros(1_000_000, np.int64))
    replace_member(path, "test/target", stream.getvalue(), zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="test/target is compressed"):
        SavedArrays(path).split("test")
    stream = io.BytesIO()
    header = {"descr": "<i8", "fortran_order": False, "shape": (10**15,)}
    np.lib.format.write_array_header_1_0(stream, header)
    replace_member(path, "test/target", stream.getvalue() + bytes(24))
    with pytest.raises(ValueError, match=r"test/target has \d+ bytes, and its header says 8000000000000\d+"):
        SavedArrays(path).split("test")


def test_any_flipped_byte_is_one_line_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    expected = read(path, whole())
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            found = SavedArrays(path).split("test")
        except ValueError as error:
            assert str(error).startswith(f"score_maps={path} holds no saved score maps: ")  # noqa: PT017 - some flips are harmless
            continue
        for name in found:
            np.testing.assert_array_equal(found[name], expected[name])
