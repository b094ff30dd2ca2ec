"""Files of the same bytes."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camloc.data.images import same_files as module
from camloc.data.images.same_files import same_files


def untracked(items: Iterable[int], _what: str, _total: int) -> Iterable[int]:
    return items


@given(st.lists(st.binary(max_size=3), max_size=12))
def test_files_are_the_same_if_their_bytes_are(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("files")
    files = [folder / str(number) for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    found = same_files(files, untracked).tolist()
    for index, one in enumerate(contents):
        same = [other for other, content in enumerate(contents) if content == one and one]
        assert (found[index] >= 0) == (len(same) > 1)
        if found[index] >= 0:
            assert [other for other, number in enumerate(found) if number == found[index]] == same


def test_files_that_end_alike_are_compared_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAIL", 4)
    for name, text in (
        ("a", "1 tail"),
        ("b", "2 tail"),
        ("c", "1 tail"),
        ("d", "1 tale"),
        ("e", "tail"),
        ("f", "tail"),
    ):
        (tmp_path / name).write_text(text)
    assert same_files([tmp_path / name for name in "abcdef"], untracked).tolist() == [0, -1, 0, -1, 1, 1]


def test_only_what_may_be_a_copy_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAIL", 4)
    for name, text in (("a", "1 tail"), ("b", "2 tail"), ("c", "1 tale"), ("d", "longer")):
        (tmp_path / name).write_text(text)
    (tmp_path / "e").write_text("alone by its size")
    read: list[tuple[str, bool]] = []
    digest = module._digest

    def noted(file: Path | None, whole: bool) -> bytes:
        assert file is not None
        read.append((file.name, whole))
        return digest(file, whole)

    monkeypatch.setattr(module, "_digest", noted)
    same_files([tmp_path / name for name in "abcde"], untracked)
    assert sorted(read) == [("a", False), ("a", True), ("b", False), ("b", True), ("c", False), ("d", False)]


def test_links_are_the_files_they_lead_to_and_what_is_no_file_equals_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for name in ("empty1", "empty2"):
        (tmp_path / name).touch()
    files = [tmp_path / "a", tmp_path / "link", tmp_path / "empty1", tmp_path / "empty2", tmp_path / "missing", None]
    assert same_files(files, untracked).tolist() == [0, 0, -1, -1, -1, -1]
