import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import DTypeLike, NDArray
from torch.utils.data import DataLoader

from camloc.data.datasets.wsol_metadata import WsolMetadata
from camloc.data.loading.samplers import EvalSampler
from camloc.predictors.map_files import MapBatch, MapSample, ReadyMadeMaps, ScoreMapFiles, collate_maps

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


def test_the_file_is_named_by_the_whole_id(directory: Path) -> None:
    maps = ScoreMapFiles(str(directory))
    assert maps.path("001.Black/x.jpg") == directory / "001.Black" / "x.jpg.npy"
    assert maps.load("001.Black/y.jpg").tolist() == [[1, 1, 1, 1], [1, 1, 1, 1]]
    np.save(directory / "short.npy", np.zeros((2, 2)))
    with pytest.raises(FileNotFoundError, match=r"no score map .*short\.jpg\.npy; a map is named by the whole image"):
        maps.load("short.jpg")


@pytest.mark.parametrize(
    ("dtype", "loaded"),
    [
        ("float16", torch.float32),
        ("float32", torch.float32),
        (">f4", torch.float32),
        ("float64", torch.float64),
        (">f8", torch.float64),
        ("uint8", torch.float32),
        ("int16", torch.float32),
        ("int32", torch.float64),
        ("int64", torch.float64),
    ],
)
def test_every_real_number_is_read_as_saved(tmp_path: Path, dtype: DTypeLike, loaded: torch.dtype) -> None:
    saved = np.array([[0, 1, 100], [7, 8, 9]], dtype=dtype)
    save(tmp_path, "x.jpg", saved)
    score_map = ScoreMapFiles(str(tmp_path)).load("x.jpg")
    assert score_map.dtype == loaded
    assert score_map.tolist() == [[0, 1, 100], [7, 8, 9]]
    save(tmp_path, "turned.jpg", np.asfortranarray(saved))
    assert ScoreMapFiles(str(tmp_path)).load("turned.jpg").tolist() == score_map.tolist()


def test_a_float64_score_keeps_its_grey_level(tmp_path: Path) -> None:
    below = np.nextafter(100 / 255, 0)
    save(tmp_path, "x.jpg", np.array([[below]]))
    assert int(ScoreMapFiles(str(tmp_path)).load("x.jpg") * 255) == 99
    assert int(np.float32(below).astype(np.float64) * 255) == 100


def test_values_that_are_no_score_are_left_to_the_normalization(tmp_path: Path) -> None:
    save(tmp_path, "x.jpg", np.array([[np.nan, np.inf, -3.5]], dtype=np.float32))
    score_map = ScoreMapFiles(str(tmp_path)).load("x.jpg")
    assert torch.equal(score_map.isnan(), torch.tensor([[True, False, False]]))
    assert score_map[0, 1:].tolist() == [np.inf, -3.5]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 2, 2)), r"x\.jpg\.npy has shape \(1, 2, 2\); a score map is \(height, width\)"),
        (np.zeros(4), r"has shape \(4,\)"),
        (np.float32(3), r"has shape \(\)"),
        (np.zeros((0, 4)), r"has shape \(0, 4\); .*at least \(1, 1\)"),
        (np.zeros((2, 2), dtype=complex), r"x\.jpg\.npy holds complex128; save float32"),
        (np.full((2, 2), "a"), r"x\.jpg\.npy holds <U1"),
        (np.zeros((2, 2), dtype=[("a", float)]), r"x\.jpg\.npy holds"),
    ],
)
def test_an_array_that_is_no_map_is_named(tmp_path: Path, array: NDArray[Any], message: str) -> None:
    save(tmp_path, "x.jpg", array)
    with pytest.raises(ValueError, match=message):
        ScoreMapFiles(str(tmp_path)).load("x.jpg")


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="here long double is float64")
def test_numbers_that_torch_does_not_know_are_named(tmp_path: Path) -> None:
    save(tmp_path, "x.jpg", np.zeros((2, 2), dtype=np.longdouble))
    with pytest.raises(ValueError, match=r"x\.jpg\.npy holds float\d+; save float32"):
        ScoreMapFiles(str(tmp_path)).load("x.jpg")


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
        with pytest.raises(ValueError, match=rf"{file} is no array of numbers as np\.save writes it"):
            ScoreMapFiles(str(tmp_path)).load("x.jpg")
    assert not sprung.exists()


def test_an_archive_is_no_map(tmp_path: Path) -> None:
    archive = io.BytesIO()
    np.savez(archive, score_map=np.zeros((2, 2)))
    (tmp_path / "x.jpg.npy").write_bytes(archive.getvalue())
    with pytest.raises(ValueError, match=r"x\.jpg\.npy is no array of numbers"):
        ScoreMapFiles(str(tmp_path)).load("x.jpg")


def test_a_file_that_is_cut_off_anywhere_is_named(tmp_path: Path) -> None:
    file = save(tmp_path, "x.jpg", np.ones((2, 2), dtype=np.float32))
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=rf"{file} is no array of numbers as np\.save writes it, or is cut off"):
            ScoreMapFiles(str(tmp_path)).load("x.jpg")


@pytest.mark.parametrize(
    ("there", "instead"),
    [(b"}", b" "), (b"(2, 2)", b"9" * 6), (b"'shape'", b"1234567"), (b"(2, 2), }", b"(9**9,2)}"), (b"<f4", b"<q9")],
)
def test_a_damaged_header_is_named(tmp_path: Path, there: bytes, instead: bytes) -> None:
    file = save(tmp_path, "x.jpg", np.ones((2, 2), dtype=np.float32))
    assert there in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(there, instead))
    with pytest.raises(ValueError, match=f"{file} is no array of numbers"):
        ScoreMapFiles(str(tmp_path)).load("x.jpg")


def test_a_header_that_promises_more_than_there_is_memory_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.jpg.npy"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 100000000)}\n"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(ValueError, match=f"{file} is no array of numbers"):
        ScoreMapFiles(str(tmp_path)).load("x.jpg")


def test_the_directory_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"score_maps=.*nowhere is no folder; give the one with"):
        ScoreMapFiles(str(tmp_path / "nowhere"))


def test_missing_maps_are_counted_and_the_first_are_shown(directory: Path) -> None:
    maps = ScoreMapFiles(str(directory))
    maps.check(IDS)
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of 4 maps: b/new\.jpg\.npy; a map is named by the whole"):
        maps.check([*IDS, "b/new.jpg"])
    with pytest.raises(FileNotFoundError, match=r"lacks 5 of 8 maps: 0\.jpg\.npy, 1\.jpg\.npy, 2\.jpg\.npy, \.\.\.;"):
        maps.check([*IDS, *(f"{number}.jpg" for number in range(5))])


def test_a_folder_is_no_map(directory: Path) -> None:
    (directory / "folder.jpg.npy").mkdir()
    with pytest.raises(FileNotFoundError, match="lacks 1 of 1 maps"):
        ScoreMapFiles(str(directory)).check(["folder.jpg"])


@pytest.mark.parametrize("outside", ["../secret", "a/../../secret", "/secret"])
def test_an_id_never_leads_out_of_the_directory(directory: Path, outside: str) -> None:
    image_id = str(directory.parent / "secret") if outside == "/secret" else outside
    save(directory.parent, "secret", np.zeros((2, 2)))
    for read in (ScoreMapFiles(str(directory)).load, lambda i: ScoreMapFiles(str(directory)).check([i])):
        with pytest.raises(ValueError, match=r"the image id '.*secret' leads out of score_maps="):
            read(image_id)


def test_positions_beyond_the_end_are_padding(directory: Path, metadata: WsolMetadata) -> None:
    samples = ReadyMadeMaps(ScoreMapFiles(str(directory)), metadata)
    for position, (number, is_padding) in enumerate([(0, False), (1, False), (2, False), (0, True), (1, True)]):
        sample = samples[position]
        assert sample.score_map.tolist() == [[number] * (3 + number)] * 2
        assert (sample.image_index, sample.is_padding) == (number, is_padding)


def test_a_split_without_all_its_maps_is_refused_before_any_is_read(directory: Path, metadata: WsolMetadata) -> None:
    (directory / "z.JPEG.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of 3 maps: z\.JPEG\.npy"):
        ReadyMadeMaps(ScoreMapFiles(str(directory)), metadata)


def test_maps_are_read_when_asked_for_and_not_kept(directory: Path, metadata: WsolMetadata) -> None:
    samples = ReadyMadeMaps(ScoreMapFiles(str(directory)), metadata)
    for value in (5, 6):
        save(directory, IDS[0], np.full((1, 1), value))
        assert samples[0].score_map.tolist() == [[value]]


def test_a_batch_lists_maps_of_their_own_sizes() -> None:
    maps = [torch.zeros(2, 3), torch.ones(4, 5)]
    batch = collate_maps([MapSample(maps[0], 7, is_padding=False), MapSample(maps[1], 0, is_padding=True)])
    assert [tuple(score_map.shape) for score_map in batch.score_maps] == [(2, 3), (4, 5)]
    assert batch.image_indices == [7, 0]
    assert batch.is_padding.tolist() == [False, True]
    assert batch.is_padding.dtype == torch.bool


@pytest.mark.parametrize("num_workers", [0, 1])
def test_ranks_together_read_every_map_once(directory: Path, metadata: WsolMetadata, num_workers: int) -> None:
    samples = ReadyMadeMaps(ScoreMapFiles(str(directory)), metadata)
    counted = []
    for rank in range(2):
        loader: DataLoader[MapSample] = DataLoader(
            samples,
            batch_size=2,
            sampler=EvalSampler(3, world_size=2, rank=rank),
            collate_fn=collate_maps,
            num_workers=num_workers,
        )
        for batch in loader:
            assert isinstance(batch, MapBatch)
            assert [int(score_map[0, 0]) for score_map in batch.score_maps] == batch.image_indices
            for index, is_padding in zip(batch.image_indices, batch.is_padding.tolist(), strict=True):
                counted += [] if is_padding else [index]
    assert sorted(counted) == [0, 1, 2]
