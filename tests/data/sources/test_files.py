"""Which files a person means, and what is named instead of being waited for."""

import os
from pathlib import Path

import pytest

from camloc.data.sources.files import find_files


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_is_searched_at_any_depth_in_a_fixed_order(tmp_path: Path) -> None:
    fill(tmp_path, "b.JPG", "a/z.png", "a/b/c.webp", "notes.txt", "Makefile", ".hidden/x.jpg", ".x.jpg")
    found = find_files(str(tmp_path))
    assert found.names == ["a/b/c.webp", "a/z.png", "b.JPG"]
    assert found.root == tmp_path
    assert found.notes == [f"{tmp_path}: 2 files are not read (1 without a suffix, 1 .txt), first Makefile"]


def test_a_loop_of_links_ends_and_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    found = find_files(str(tmp_path))
    assert found.names == ["a/1.jpg", "self.jpg"]
    assert [name for name, _ in found.unreadable] == ["a/up"]
    assert "link to one that it lies in" in found.unreadable[0][1]


def test_a_folder_that_two_links_lead_to_is_read_by_both_names(tmp_path: Path) -> None:
    fill(tmp_path, "real/1.jpg", "top/.keep")
    (tmp_path / "top" / "link").symlink_to(tmp_path / "real")
    assert find_files(str(tmp_path)).names == ["real/1.jpg", "top/link/1.jpg"]


def test_a_pattern_names_files_by_what_differs(tmp_path: Path) -> None:
    fill(tmp_path, "x/1.jpg", "x/y/1.jpg", "x/2.png")
    assert find_files(f"{tmp_path}/**/*.jpg").names == ["1.jpg", "y/1.jpg"]
    assert find_files(f"{tmp_path}/x/*").names == ["1.jpg", "2.png"]


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path: Path) -> None:
    fill(tmp_path, "a[1].jpg")
    assert find_files(f"{tmp_path}/a[1].jpg").names == ["a[1].jpg"]


def test_a_list_keeps_its_order_and_each_path_once(tmp_path: Path) -> None:
    fill(tmp_path, "x/b.jpg", "x/a.jpg")
    (tmp_path / "list.txt").write_text(f"# of today\nx/b.jpg\n\n{tmp_path}/x/a.jpg\nx/../x/b.jpg\nmissing.jpg\n")
    found = find_files(str(tmp_path / "list.txt"))
    assert found.root == tmp_path
    assert found.names == ["x/b.jpg", "x/a.jpg", "missing.jpg"]  # which is named when it is read
    assert found.notes == ["1 repeated paths were left out"]


def test_what_is_not_there_or_holds_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such file or folder"):
        find_files(str(tmp_path / "nowhere"))
    fill(tmp_path, "a.txt/.x", "a.heic")
    with pytest.raises(ValueError, match=r"holds no image .*: 1 file is not read \(1 \.heic\), first a\.heic"):
        find_files(str(tmp_path))
    with pytest.raises(ValueError, match="holds no image"):
        find_files(f"{tmp_path}/*.jpg")


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "open/1.jpg", "shut/1.jpg")
    (tmp_path / "shut").chmod(0)
    found = find_files(str(tmp_path))
    (tmp_path / "shut").chmod(0o700)
    assert found.names == ["open/1.jpg"]
    assert found.unreadable[0][0] == "shut"
