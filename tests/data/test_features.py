"""Features that are kept on the disk: whole or absent, and found again by what made them."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from camloc.data.features import FeatureFile, check_room, feature_file
from camloc.data.loading.files import FileSplit


def written(path: Path, rows: int = 3, width: int = 2) -> FeatureFile:
    file = FeatureFile(path, rows, width)
    partial = file.begin()
    array = np.load(partial, mmap_mode="r+")
    array[:] = np.arange(rows * width).reshape(rows, width)
    array.flush()
    file.end(partial)
    return file


def test_a_file_is_absent_until_it_is_whole(tmp_path: Path) -> None:
    file = FeatureFile(tmp_path / "new" / "a.npy", 3, 2)
    partial = file.begin()
    assert not file.exists
    assert partial.stat().st_size > file.num_bytes == 24
    file.end(partial)
    assert file.exists
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["a.npy"]


def test_rows_are_read_where_they_lie(tmp_path: Path) -> None:
    file = written(tmp_path / "a.npy")
    assert isinstance(file.rows, np.memmap)
    assert file.take([2, 0]).tolist() == [[4, 5], [0, 1]]


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY"])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npy is damaged; delete it"):
        _ = FeatureFile(tmp_path / "a.npy", 3, 2).rows


def test_a_file_of_another_shape_is_named(tmp_path: Path) -> None:
    written(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=r"holds \(3, 2\) float32 where \(4, 2\) float32 is due"):
        _ = FeatureFile(tmp_path / "a.npy", 4, 2).rows


def test_what_has_no_room_is_refused_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**9))
    small, large = FeatureFile(tmp_path / "a.npy", 10**6, 100), FeatureFile(tmp_path / "b.npy", 10**6, 200)
    check_room([small])
    with pytest.raises(ValueError, match=r"features take 1\.20 GB and .* has 1\.00 GB free; set XDG_CACHE_HOME"):
        check_room([small, large])
    assert check_room([written(tmp_path / "c.npy")]) is None  # type: ignore[func-returns-value] # it is there


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file, the folder of .* cannot be made .*; set XDG_CACHE_HOME"):
        check_room([FeatureFile(tmp_path / "file" / "a.npy", 2, 3)])
    (tmp_path / "b.npy").mkdir()
    with pytest.raises(ValueError, match=r"b\.npy is a folder where the frozen trunk's features are kept"):
        check_room([FeatureFile(tmp_path / "b.npy", 2, 3)])


def test_a_disk_that_is_full_after_all_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        FeatureFile(tmp_path / "a.npy", 3, 2).begin()
    assert list(tmp_path.iterdir()) == []


def split(folder: Path, names: tuple[str, ...] = ("1.png", "2.png")) -> FileSplit:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
        os.utime(folder / name, ns=(10**18, 10**18))
    return FileSplit(folder, list(names), [0] * len(names))


def test_the_key_follows_what_makes_the_features(tmp_path: Path) -> None:
    one = split(tmp_path / "one")
    first = feature_file(one, 2, 5, [b"weights", b"size"]).path
    assert feature_file(split(tmp_path / "copy"), 2, 5, [b"weights", b"size"]).path == first
    assert feature_file(one, 2, 5, [b"weights", b"other"]).path != first
    assert feature_file(one, 2, 5, [b"weightss", b"ize"]).path != first
    assert feature_file(split(tmp_path / "turned", ("2.png", "1.png")), 2, 5, [b"weights", b"size"]).path != first
    os.utime(tmp_path / "one" / "2.png", ns=(10**18, 10**18 + 1))
    assert feature_file(one, 2, 5, [b"weights", b"size"]).path != first


class InMemory:
    """One image without a file."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __len__(self) -> int:
        return 1

    def image_id(self, index: int) -> str:
        return str(index)

    def image(self, index: int) -> Tensor:  # noqa: ARG002 - there is one
        return torch.full((3, 2, 2), self.value, dtype=torch.uint8)

    def file(self, index: int) -> Path | None:  # noqa: ARG002 - the same
        return None


def test_images_in_memory_are_told_apart_by_their_pixels() -> None:
    paths = [feature_file(InMemory(value), 1, 5, [b""]).path for value in (0, 0, 1)]  # type: ignore[arg-type] # a part
    assert paths[0] == paths[1] != paths[2]


def test_without_a_home_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("camloc.data.features.cache_file", lambda *_: None)
    with pytest.raises(ValueError, match="set XDG_CACHE_HOME=FOLDER"):
        feature_file(InMemory(0), 1, 5, [b""])  # type: ignore[arg-type] # a part of a split
