"""Tables that are kept: the same as what was read, and never those of a file that has changed."""

import os
from pathlib import Path

import numpy as np
import pytest

from camloc.data.annotations import table_cache
from camloc.data.annotations.table import AnnotatedImages, TableBuilder
from camloc.data.annotations.table_cache import cached_table

LONG_AGO = 10**18


class Reads:
    """Counts how often a file is read."""

    def __init__(self, file: Path) -> None:
        self.file, self.count = file, 0

    def __call__(self) -> AnnotatedImages:
        self.count += 1
        table = TableBuilder()
        image = table.image("na\u00efve \udcff.jpg", "train", (4, 6), "p1", str(self.file))
        table.image("2.jpg")
        table.box(image, self.file.read_text()[:3], (0, 0.1, 2, 3), "x")
        table.notes.append("a note")
        return table.build()

    def table(self) -> AnnotatedImages:
        return cached_table([self.file], "coco", self)


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reads:
    monkeypatch.setattr(table_cache, "LARGE", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "a.json"
    file.write_text("cat")
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    return Reads(file)


def test_a_kept_table_is_what_was_read(reads: Reads) -> None:
    first, second = reads.table(), reads.table()
    assert reads.count == 1
    for one, other in zip(first, second, strict=True):
        if isinstance(one, np.ndarray):
            assert isinstance(other, np.ndarray)
            assert one.dtype == other.dtype
            assert one.tolist() == other.tolist()
        else:
            assert one == other


def test_other_bytes_are_seen_where_size_and_time_stay(reads: Reads) -> None:
    reads.table()
    reads.file.write_text("dog")
    os.utime(reads.file, ns=(LONG_AGO, LONG_AGO))
    assert reads.table().class_names == ("dog",)
    assert reads.count == 2


def test_a_file_that_may_still_change_is_not_kept(reads: Reads) -> None:
    os.utime(reads.file)
    reads.table()
    reads.table()
    assert reads.count == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken"])
def test_a_broken_cache_is_rebuilt(content: bytes, reads: Reads, tmp_path: Path) -> None:
    reads.table()
    (cache,) = (tmp_path / "cache" / "camloc").iterdir()
    cache.write_bytes(content)
    assert reads.table().class_names == ("cat",)
    assert reads.table().class_names == ("cat",)
    assert reads.count == 2


def test_without_room_there_is_no_cache(reads: Reads, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    reads.table()
    reads.table()
    assert reads.count == 2


def test_another_reader_has_a_table_of_its_own(reads: Reads) -> None:
    reads.table()
    cached_table([reads.file], "other", reads)
    assert reads.count == 2
