import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from camloc.data.images.regular import open_regular, read_regular

KINDS: list[tuple[str, Callable[[Path], None], str]] = [
    ("fifo", os.mkfifo, "a FIFO"),
    ("device", lambda path: path.symlink_to("/dev/zero"), "a device"),
    ("folder", lambda path: path.mkdir(), "a folder"),
    ("socket", lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "a socket"),
]


@pytest.mark.parametrize(("name", "make", "kind"), KINDS, ids=[name for name, _, _ in KINDS])
def test_what_is_no_regular_file_is_named_without_waiting(
    name: str, make: Callable[[Path], None], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    make(Path(name))
    Path("link").symlink_to(name)
    for path in (Path(name), Path("link")):
        with pytest.raises(ValueError, match=f"{path} is {kind}.* and not a regular file; replace it by a file"):
            open_regular(path)


def test_a_file_behind_links_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link", 5) == b"12345"
    with pytest.raises(ValueError, match=r"link has 5 bytes, and 4 are the most that are read"):
        read_regular(tmp_path / "link", 4)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_regular(tmp_path / "nowhere", 4)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (Path("/dev/null"), tmp_path / "file"):
        with pytest.raises(ValueError, match=r"are the most|is a device"):
            open_regular(path, 4)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
