import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import DTypeLike, NDArray
from torch.utils.data import DataLoader

from camloc.data.datasets.wsol_metadata import WsolMetadata
from camloc.data.loading.samplers import EvalSampler
from camloc.predictors.map_files import MAP_SIZE, MapBatch, MapDataset, MapFolder, MapPredictor, MapSample
from camloc.predictors.truth import MetadataSplit, SomeOf

IDS = ["001.Black/x.jpg", "001.Black/y.jpg", "z.JPEG"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A map of another size for each id; its values are the id's number."""
    for number, image_id in enumerate(IDS):
        save(tmp_path / "maps", image_id, np.full((2, 3 + number), number, dtype=np.float32))
    return tmp_path / "maps"


@pytest.fixture
def metadata(tmp_path: Path) -> WsolMetadata:
    folder = tmp_path / "metadata"
    folder.mkdir()
    (folder / "image_ids.txt").write_text("\n".join(IDS))
    for name, fields in (("class_labels", "0"), ("image_sizes", "8,6"), ("localization", "0,0,7,5")):
        (folder / f"{name}.txt").write_text("\n".join(f"{image_id},{fields}" for image_id in IDS))
    return WsolMetadata(str(folder))


def save(directory: Path, image_id: str, array: NDArray[Any]) -> Path:
    """Save a map as the evaluator's inference does: NumPy appends the extension to the whole id."""
    path = directory / image_id
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path.with_name(path.name + ".npy")


def test_the_file_is_named_by_the_whole_id_or_its_stem(directory: Path) -> None:
    maps = MapFolder(str(directory))
    assert maps.find("001.Black/x.jpg") == directory / "001.Black" / "x.jpg.npy"
    assert maps.load("001.Black/y.jpg").tolist() == [[1, 1, 1, 1], [1, 1, 1, 1]]
    np.save(directory / "short.npy", np.full((2, 2), 0.5))
    assert MapFolder(str(directory)).load("short.jpg").tolist() == [[0.5, 0.5], [0.5, 0.5]]
    with pytest.raises(FileNotFoundError, match=r"score_maps=.* has no map of other\.jpg"):
        maps.load("other.jpg")


@pytest.mark.parametrize(
    ("dtype", "loaded"),
    [
        ("float16", torch.float32),
        ("float32", torch.float32),
        (">f4", torch.float32),
        ("float64", torch.float64),
        (">f8", torch.float64),
    ],
)
def test_every_float_is_read_as_saved(tmp_path: Path, dtype: DTypeLike, loaded: torch.dtype) -> None:
    saved = np.array([[0, 1, 0.5], [0.25, 0.125, 2]], dtype=dtype)
    save(tmp_path, "x.jpg", saved)
    score_map = MapFolder(str(tmp_path)).load("x.jpg")
    assert score_map.dtype == loaded
    assert score_map.tolist() == [[0, 1, 0.5], [0.25, 0.125, 2]]
    save(tmp_path, "turned.jpg", np.asfortranarray(saved))
    assert MapFolder(str(tmp_path)).load("turned.jpg").tolist() == score_map.tolist()


def test_grey_levels_of_8_bit_are_fractions_of_255_that_are_cut_at_their_own_level(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save(tmp_path, "array.jpg", levels)
    cv2.imwrite(str(tmp_path / "image.png"), levels)
    for image_id in ("array.jpg", "image.jpg"):
        score_map = MapFolder(str(tmp_path)).load(image_id)
        assert score_map[0, 1].item() == pytest.approx(1 / 255)
        assert np.array_equal((score_map.numpy() * 255).astype(np.uint8), levels)


def test_an_archive_of_one_array_is_a_map_and_one_of_two_is_not(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "one.npz", cam=np.full((2, 3), 0.5))
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 3)), b=np.zeros((2, 3)))
    maps = MapFolder(str(tmp_path))
    assert maps.load("one.jpg").tolist() == [[0.5] * 3] * 2
    with pytest.raises(ValueError, match=r"two\.npz cannot be read as a map.*it holds 2 arrays instead of one map"):
        maps.load("two.jpg")


@pytest.mark.parametrize("shape", [(1, 2, 3), (2, 3, 1), (2, 3)])
def test_a_channel_of_one_is_dropped(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save(tmp_path, "x.jpg", np.arange(6, dtype=np.float32).reshape(shape) / 8)
    assert MapFolder(str(tmp_path)).load("x.jpg").tolist() == [[0, 0.125, 0.25], [0.375, 0.5, 0.625]]


def test_a_float64_score_keeps_its_grey_level(tmp_path: Path) -> None:
    below = np.nextafter(100 / 255, 0)
    save(tmp_path, "x.jpg", np.array([[below]]))
    assert int(MapFolder(str(tmp_path)).load("x.jpg") * 255) == 99
    assert int(np.float32(below).astype(np.float64) * 255) == 100


def test_values_that_are_no_score_are_left_to_the_normalization(tmp_path: Path) -> None:
    save(tmp_path, "x.jpg", np.array([[np.nan, np.inf, -3.5]], dtype=np.float32))
    score_map = MapFolder(str(tmp_path)).load("x.jpg")
    assert torch.equal(score_map.isnan(), torch.tensor([[True, False, False]]))
    assert score_map[0, 1:].tolist() == [np.inf, -3.5]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2, 2)), r"x\.jpg\.npy has shape \(3, 2, 2\); a score map is \(height, width\)"),
        (np.zeros((2, 2), dtype=np.int64), r"x\.jpg\.npy holds int64; save float16, float32, float64 or uint8"),
        (np.zeros(4), r"has shape \(4,\)"),
        (np.float32(3), r"has shape \(\)"),
        (np.zeros((0, 4)), r"has shape \(0, 4\); .*at least \(1, 1\)"),
        (np.zeros((2, 2), dtype=complex), r"x\.jpg\.npy holds complex128; save float16"),
        (np.full((2, 2), "a"), r"x\.jpg\.npy holds <U1"),
        (np.zeros((2, 2), dtype=[("a", float)]), r"x\.jpg\.npy holds"),
    ],
)
def test_an_array_that_is_no_map_is_named(tmp_path: Path, array: NDArray[Any], message: str) -> None:
    save(tmp_path, "x.jpg", array)
    with pytest.raises(ValueError, match=message):
        MapFolder(str(tmp_path)).load("x.jpg")


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="here long double is float64")
def test_numbers_that_torch_does_not_know_are_named(tmp_path: Path) -> None:
    save(tmp_path, "x.jpg", np.zeros((2, 2), dtype=np.longdouble))
    with pytest.raises(ValueError, match=r"x\.jpg\.npy holds float\d+; save float16"):
        MapFolder(str(tmp_path)).load("x.jpg")


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    file = save(tmp_path, "x.jpg", np.array([[Trap(sprung)]], dtype=object))
    for content in (file.read_bytes(), pickle.dumps(Trap(sprung))):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{file} (holds object|cannot be read as a map)"):
            MapFolder(str(tmp_path)).load("x.jpg")
    assert not sprung.exists()


def test_an_archive_named_like_an_array_is_no_map(tmp_path: Path) -> None:
    archive = io.BytesIO()
    np.savez(archive, score_map=np.zeros((2, 2)))
    (tmp_path / "x.jpg.npy").write_bytes(archive.getvalue())
    with pytest.raises(ValueError, match=r"x\.jpg\.npy cannot be read as a map"):
        MapFolder(str(tmp_path)).load("x.jpg")


def test_a_file_that_is_cut_off_anywhere_is_named(tmp_path: Path) -> None:
    file = save(tmp_path, "x.jpg", np.ones((2, 2), dtype=np.float32))
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=rf"{file} cannot be read as a map, or is cut off"):
            MapFolder(str(tmp_path)).load("x.jpg")


@pytest.mark.parametrize(
    ("there", "instead"),
    [(b"}", b" "), (b"(2, 2)", b"9" * 6), (b"'shape'", b"1234567"), (b"(2, 2), }", b"(9**9,2)}"), (b"<f4", b"<q9")],
)
def test_a_damaged_header_is_named(tmp_path: Path, there: bytes, instead: bytes) -> None:
    file = save(tmp_path, "x.jpg", np.ones((2, 2), dtype=np.float32))
    assert there in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(there, instead))
    with pytest.raises(ValueError, match=f"{file} cannot be read as a map"):
        MapFolder(str(tmp_path)).load("x.jpg")


def test_a_header_that_promises_more_than_there_is_memory_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.jpg.npy"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 100000000)}\n"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(ValueError, match=f"{file} cannot be read as a map"):
        MapFolder(str(tmp_path)).load("x.jpg")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".png"])
def test_too_many_pixels_are_refused_by_the_header_and_nothing_is_read(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, levels = tmp_path / f"x{suffix}", np.zeros((30, 40), np.uint8)
    if suffix == ".npy":
        np.save(file, levels)
    elif suffix == ".npz":
        np.savez_compressed(file, levels)
    else:
        cv2.imwrite(str(file), levels)
    assert MapFolder(str(tmp_path)).check(["x.jpg"]) == ([0], [])
    monkeypatch.setattr("camloc.data.images.headers.MAX_PIXELS", 1199)
    for module, reader in ((cv2, "imdecode"), (np.lib.format, "read_array")):
        monkeypatch.setattr(module, reader, lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ValueError, match=rf"{file} cannot be read as a map.* 40 by 30 pixels, and 1,199 are the most"):
        MapFolder(str(tmp_path)).load("x.jpg")
    with pytest.raises(ValueError, match=rf"1 of 1 maps cannot be read: x{suffix} .* 40 by 30 pixels, and 1,199"):
        MapFolder(str(tmp_path)).check(["x.jpg"])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".png"])
def test_what_is_no_regular_file_is_no_map(suffix: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / f"x{suffix}").symlink_to(tmp_path / "fifo")
    with pytest.raises(ValueError, match=rf"x{suffix} cannot be read as a map.* is a FIFO and not a regular file"):
        MapFolder(str(tmp_path)).load("x.jpg")
    with pytest.raises(ValueError, match=rf"1 of 1 maps cannot be read: x{suffix} .* is a FIFO"):
        MapFolder(str(tmp_path)).check(["x.jpg"])


def test_negative_sides_and_unusual_archives_are_named(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2)}\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(16))
    with pytest.raises(ValueError, match=r"x\.npy has shape \(-2, -2\); a score map is"):
        MapFolder(str(tmp_path)).load("x.jpg")
    (tmp_path / "x.npy").unlink()
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("map.npy", bytes(99))
    with pytest.raises(ValueError, match=r"x\.npz cannot be read as a map.*compressed as NumPy does not compress"):
        MapFolder(str(tmp_path)).load("x.jpg")
    array = io.BytesIO()
    np.save(array, np.zeros((2, 2), np.float32))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("map.npy", array.getvalue() + bytes(10_000_000))
    with pytest.raises(ValueError, match=r"x\.npz cannot be read as a map.*it holds more than an array"):
        MapFolder(str(tmp_path)).load("x.jpg")


def test_a_flipped_byte_of_an_archive_is_found(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    np.savez(file, np.ones((30, 40), np.float32))
    content = bytearray(file.read_bytes())
    content[content.index(np.float32(1).tobytes()) + 400] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz cannot be read as a map.*CRC"):
        MapFolder(str(tmp_path)).load("x.jpg")


def test_the_directory_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"score_maps=.*nowhere is no folder; give the one with"):
        MapFolder(str(tmp_path / "nowhere"))


def test_missing_maps_are_counted_and_the_first_are_shown(directory: Path) -> None:
    maps = MapFolder(str(directory))
    assert maps.check(IDS) == ([0, 1, 2], [])
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of 4 maps: b/new\.jpg; a map is named by the whole image id"):
        maps.check([*IDS, "b/new.jpg"])
    with pytest.raises(FileNotFoundError, match=r"lacks 5 of 8 maps: 0\.jpg, 1\.jpg, 2\.jpg, \.\.\.;"):
        maps.check([*IDS, *(f"{number}.jpg" for number in range(5))])


def test_missing_and_unreadable_maps_are_left_out_on_request_and_counted(directory: Path) -> None:
    (directory / "z.JPEG.npy").write_bytes((directory / "z.JPEG.npy").read_bytes()[:-1])
    maps = MapFolder(str(directory))
    with pytest.raises(
        ValueError, match=r"1 of 3 maps cannot be read: z\.JPEG\.npy is cut off: 1 bytes are missing; on_"
    ):
        maps.check(IDS)
    present, notes = maps.check([IDS[0], "new.jpg", *IDS[1:]], on_missing="skip")
    assert present == [0, 2]
    assert notes == [
        "1 of 4 images have no map: new.jpg.",
        "1 maps cannot be read: z.JPEG.npy is cut off: 1 bytes are missing.",
        "Measured on 2 of 4 images.",
    ]
    with pytest.raises(FileNotFoundError, match="lacks 1 of 1 maps"):
        maps.check(["new.jpg"], on_missing="skip")
    with pytest.raises(ValueError, match="on_missing must be error or skip, found 'ignore'"):
        maps.check(IDS, on_missing="ignore")  # type: ignore[arg-type] # a word from the command line


@pytest.mark.parametrize("suffix", [".npz", ".png"])
def test_an_archive_or_image_that_is_cut_off_is_found_before_anything_is_measured(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"x{suffix}"
    levels = np.random.default_rng(0).integers(0, 255, (30, 40)).astype(np.uint8)
    if suffix == ".npz":
        np.savez_compressed(file, levels)
    else:
        cv2.imwrite(str(file), levels)
    maps = MapFolder(str(tmp_path))
    assert maps.check(["x.jpg"]) == ([0], [])
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ValueError, match=rf"1 of 1 maps cannot be read: x{suffix}"):
        maps.check(["x.jpg"])


def test_maps_of_no_image_are_counted(directory: Path) -> None:
    assert MapFolder(str(directory)).check(IDS[:1]) == (
        [0],
        ["2 maps belong to no image of the split: 001.Black/y.jpg.npy, z.JPEG.npy."],
    )


def test_two_images_never_share_a_map(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"a\.npy would be the map of a\.jpg and of a\.png; name it by the whole id"):
        MapFolder(str(tmp_path)).check(["a.jpg", "a.png"])


def test_a_folder_is_no_map(directory: Path) -> None:
    (directory / "folder.jpg.npy").mkdir()
    with pytest.raises(FileNotFoundError, match="lacks 1 of 1 maps"):
        MapFolder(str(directory)).check(["folder.jpg"])


@pytest.mark.parametrize("outside", ["../secret", "a/../../secret", "/secret"])
def test_an_id_never_leads_out_of_the_directory(directory: Path, outside: str) -> None:
    image_id = str(directory.parent / "secret") if outside == "/secret" else outside
    save(directory.parent, "secret", np.zeros((2, 2)))
    for read in (MapFolder(str(directory)).load, lambda i: MapFolder(str(directory)).check([i])):
        with pytest.raises(ValueError, match=r"the image id '.*secret' leads out of score_maps="):
            read(image_id)


def test_maps_are_resized_once_and_positions_beyond_the_end_are_padding(
    directory: Path, metadata: WsolMetadata
) -> None:
    samples = MapDataset(MapFolder(str(directory)), MetadataSplit(metadata, MAP_SIZE))
    for position, (number, is_padding) in enumerate([(0, False), (1, False), (2, False), (0, True), (1, True)]):
        sample = samples[position]
        assert sample.score_map.shape == MAP_SIZE
        assert {*sample.score_map.flatten().tolist()} == {number}  # constant maps stay exactly constant
        assert (sample.truth.image_id, sample.truth.is_padding) == (IDS[number], is_padding)
    assert samples.size_notes() == ["Maps of 3x2, 4x2, 5x2 are resized to 224x224 (cubic)."]


def test_a_map_of_the_right_size_is_left_as_it_is(tmp_path: Path, metadata: WsolMetadata) -> None:
    saved = np.random.default_rng(0).random(MAP_SIZE)
    save(tmp_path / "right", IDS[0], saved)
    samples = MapDataset(MapFolder(str(tmp_path / "right")), SomeOf(MetadataSplit(metadata, MAP_SIZE), [0]))
    assert np.array_equal(samples[0].score_map.numpy(), saved)
    assert samples.size_notes() == []


def test_true_boxes_are_in_pixels_of_the_map_and_of_the_image(directory: Path, metadata: WsolMetadata) -> None:
    truth = MapDataset(MapFolder(str(directory)), MetadataSplit(metadata, MAP_SIZE))[0].truth
    assert truth.image_size == (6, 8)
    assert [boxes.tolist() for boxes in truth.image_boxes] == [[[0, 0, 8, 6]]]
    assert [boxes.tolist() for boxes in truth.gt_boxes] == [[[0, 0, 224, 224]]]


def test_some_images_of_a_split_keep_their_own_truth(directory: Path, metadata: WsolMetadata) -> None:
    some = MapDataset(MapFolder(str(directory)), SomeOf(MetadataSplit(metadata, MAP_SIZE), [0, 2]))
    assert [some.image_id(index) for index in range(len(some))] == [IDS[0], IDS[2]]
    found = some[1].truth
    assert (found.image_id, found.position, found.is_padding) == (IDS[2], 1, False)
    assert some[2].truth.is_padding


def test_a_batch_has_one_precision_and_its_predictions_have_no_logits(directory: Path, metadata: WsolMetadata) -> None:
    samples = MapDataset(MapFolder(str(directory)), MetadataSplit(metadata, MAP_SIZE))
    wide = MapSample(samples[1].score_map.double(), samples[1].truth)
    batch = MapDataset.collate([samples[0], wide])
    assert batch.maps.dtype == torch.float64
    prediction = MapPredictor().predict(batch)
    assert prediction.logits is None
    assert prediction.cams is batch.maps
    assert prediction.pairs.classes.tolist() == [0, 0]
    with pytest.raises(ValueError, match="ready-made maps are those of the true classes"):
        MapPredictor().predict(batch, num_ranked=5)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_ranks_together_read_every_map_once(directory: Path, metadata: WsolMetadata, num_workers: int) -> None:
    samples = MapDataset(MapFolder(str(directory)), MetadataSplit(metadata, MAP_SIZE))
    counted = []
    for rank in range(2):
        loader: DataLoader[MapSample] = DataLoader(
            samples,
            batch_size=2,
            sampler=EvalSampler(3, world_size=2, rank=rank),
            collate_fn=MapDataset.collate,
            num_workers=num_workers,
        )
        for batch in loader:
            assert isinstance(batch, MapBatch)
            for index, is_padding in zip(batch.truth.image_ids, batch.truth.is_padding.tolist(), strict=True):
                counted += [] if is_padding else [index]
    assert sorted(counted) == IDS
