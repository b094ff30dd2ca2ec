import os
import shutil
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from camloc.data.loading.index import FolderIndex, index_class_folders

LONG_AGO = 1_600_000_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "camloc"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Tiny ImageNet's nesting, a flat class, an empty one, and what people's machines leave behind."""
    for file in (
        "train/n02/images/n02_1.JPEG",
        "train/n02/images/n02_0.JPEG",
        "train/n02/n02_boxes.txt",
        "train/n01/10.png",
        "train/n01/9.Tiff",
        "train/n01/._9.png",
        "train/n01/Thumbs.db",
        "train/n01/.thumbnails/9.png",
        "train/.git/x.png",
        "train/stray.png",
    ):
        (tmp_path / "data" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / file).touch()
    (tmp_path / "data/train/empty").mkdir()
    settle(tmp_path / "data")
    return tmp_path / "data"


def settle(root: Path) -> None:
    """Date all folders back, as those of a data set that was unpacked some time ago."""
    for number, folder in enumerate((root, *(path for path in root.rglob("*") if path.is_dir()))):
        os.utime(folder, (LONG_AGO + number, LONG_AGO + number))


def rows(index: FolderIndex) -> list[tuple[str, bytes]]:
    return [(index.classes[target], name) for name, target in zip(index.image_ids, index.targets, strict=True)]


EXPECTED = [
    ("n01", b"train/n01/10.png"),
    ("n01", b"train/n01/9.Tiff"),
    ("n02", b"train/n02/images/n02_0.JPEG"),
    ("n02", b"train/n02/images/n02_1.JPEG"),
]


def forbid_walking(monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: Path) -> Iterator[None]:
        raise AssertionError(f"{path} was walked")

    monkeypatch.setattr("camloc.data.loading.index.os.scandir", scandir)


def test_only_images_sorted_by_class_and_path(root: Path) -> None:
    index = index_class_folders(root / "train", relative_to=root)
    assert index.classes == ("empty", "n01", "n02")
    assert rows(index) == EXPECTED
    assert index.image_ids.dtype.kind == "S"
    assert index.targets.dtype == np.int64


def test_ids_may_start_at_the_folder_itself(root: Path) -> None:
    assert index_class_folders(root / "train", root / "train").image_ids[0] == b"n01/10.png"
    # One folder, two starting points: two caches.
    assert rows(index_class_folders(root / "train", root)) == EXPECTED


def test_what_is_left_out_is_counted_with_the_first_of_each_kind(root: Path) -> None:
    for file in (
        "n01/@eaDir/9.png/SYNOFILE_THUMB_M.jpg",
        "n02/images/@eaDir/1.jpg",
        "@eaDir/1.jpg",
        "__MACOSX/n01/1.jpg",
        "$RECYCLE.BIN/1.jpg",
        "System Volume Information/1.jpg",
        "lost+found/1.jpg",
        ".Trash-1000/files/1.jpg",
        "n01/2.HEIC",
        "n01/1.heic",
        "n01/README",
        "n02/desktop.ini",
        "a.png",
        "notes.txt",
    ):
        (root / "train" / file).parent.mkdir(parents=True, exist_ok=True)
        (root / "train" / file).touch()
    settle(root)
    for _ in ("walked", "cached"):
        index = index_class_folders(root / "train", root)
        assert index.classes == ("empty", "n01", "n02")
        assert rows(index) == EXPECTED
        assert index.skipped == (
            ("files *.heic", 2, "n01/1.heic"),
            ("files *.txt", 1, "n02/n02_boxes.txt"),
            ("files Thumbs.db", 1, "n01/Thumbs.db"),
            ("files desktop.ini", 1, "n02/desktop.ini"),
            ("files without an extension", 1, "n01/README"),
            ("folders $RECYCLE.BIN", 1, "$RECYCLE.BIN"),
            ("folders @eaDir", 3, "@eaDir"),
            ("folders System Volume Information", 1, "System Volume Information"),
            ("folders __MACOSX", 1, "__MACOSX"),
            ("folders lost+found", 1, "lost+found"),
            ("hidden files with an image's extension", 1, "n01/._9.png"),
            ("hidden folders", 3, ".Trash-1000"),
            ("images beside the class folders", 2, "a.png"),
        )


def test_folders_that_are_no_classes_are_not_looked_at(root: Path, cache: Path) -> None:
    index = index_class_folders(root / "train", root, without=["n02", "nothing"])
    assert rows(index) == EXPECTED[:2]
    assert index.classes == ("empty", "n01")
    assert not any("n02" in kind.first for kind in index.skipped)
    assert rows(index_class_folders(root / "train", root)) == EXPECTED  # another cache
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("kind", ["zero", "before 1970", "one time", "fuse"])
def test_times_that_never_change_are_not_trusted_to_a_cache(
    root: Path, cache: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [root / "train", *(path for path in (root / "train").rglob("*") if path.is_dir())]
    times = [LONG_AGO + number for number in range(len(folders))]
    if kind == "fuse":
        device = root.stat().st_dev
        line = f"36 35 {os.major(device)}:{os.minor(device)} / /data rw master:1 - fuse.gcsfuse bucket rw\n"
        (tmp_path / "mountinfo").write_text("22 27 0:21 / /proc rw - proc proc rw\n" + line)
        monkeypatch.setattr("camloc.data.loading.folder_times.MOUNTS", tmp_path / "mountinfo")
    elif kind == "one time":
        times = [LONG_AGO] * len(folders)
    else:
        times[folders.index(root / "train/n01")] = 0 if kind == "zero" else -5

    def keep_times() -> None:
        for folder, seconds in zip(folders, times, strict=True):
            os.utime(folder, (seconds, seconds))

    keep_times()
    assert rows(index_class_folders(root / "train", root)) == EXPECTED
    assert not cache.exists()
    (root / "train/n01/0.jpg").touch()
    keep_times()  # as such a mount does
    assert b"train/n01/0.jpg" in index_class_folders(root / "train", root).image_ids


@pytest.mark.parametrize("kind", ["ext4", "fuseblk", "nfs4"])
def test_other_file_systems_are_cached(
    root: Path, cache: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = root.stat().st_dev
    line = f"36 35 {os.major(device)}:{os.minor(device)} / /data rw master:1 - {kind} disk rw\n"
    (tmp_path / "mountinfo").write_text("22 27 99:99 / /bucket rw - fuse.s3fs s3fs rw\n" + line)
    monkeypatch.setattr("camloc.data.loading.folder_times.MOUNTS", tmp_path / "mountinfo")
    index_class_folders(root / "train", root)
    assert len(list(cache.iterdir())) == 1


def test_without_a_list_of_mounts_times_alone_are_judged(
    root: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("camloc.data.loading.folder_times.MOUNTS", tmp_path / "nowhere")
    index_class_folders(root / "train", root)
    assert len(list(cache.iterdir())) == 1


def test_the_second_time_nothing_is_walked(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = index_class_folders(root / "train", root)
    assert len(list(cache.iterdir())) == 1
    forbid_walking(monkeypatch)
    again = index_class_folders(root / "train", root)
    assert again.classes == first.classes
    assert rows(again) == EXPECTED
    assert again.targets.dtype == np.int64


def test_a_relative_path_finds_the_same_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index_class_folders(root / "train", root)
    monkeypatch.chdir(root)
    forbid_walking(monkeypatch)
    assert rows(index_class_folders(Path("train"), Path())) == EXPECTED


@pytest.mark.parametrize("added", ["train/n01/0.jpg", "train/n02/images/0.jpg", "train/empty/0.jpg", "train/new/0.jpg"])
def test_what_is_added_is_seen(root: Path, added: str) -> None:
    index_class_folders(root / "train", root)
    (root / added).parent.mkdir(exist_ok=True)
    (root / added).touch()
    assert added.encode() in index_class_folders(root / "train", root).image_ids


def test_what_is_removed_is_seen(root: Path) -> None:
    index_class_folders(root / "train", root)
    (root / "train/n01/10.png").unlink()
    assert rows(index_class_folders(root / "train", root)) == EXPECTED[1:]
    shutil.rmtree(root / "train/n01")
    index = index_class_folders(root / "train", root)
    assert index.classes == ("empty", "n02")
    assert index.targets.tolist() == [1, 1]


def test_folders_that_have_just_changed_are_not_trusted_to_a_cache(root: Path, cache: Path) -> None:
    now = time.time()
    os.utime(root / "train/n01", (now, now))
    assert rows(index_class_folders(root / "train", root)) == EXPECTED
    assert not cache.exists()


@pytest.mark.parametrize("broken", ["cut", "empty", "text", "npy", "foreign", "fewer"])
def test_a_broken_cache_is_rebuilt(root: Path, cache: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index_class_folders(root / "train", root)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    with np.load(file) as arrays:
        parts = dict(arrays)
    with file.open("wb") as out:
        match broken:
            case "cut":
                out.write(whole[: len(whole) // 2])
            case "text":
                out.write(b"not a cache")
            case "npy":
                np.save(out, np.zeros(3))
            case "foreign":
                np.savez(out, something=np.zeros(3))
            case "fewer":
                np.savez(out, **{**parts, "targets": parts["targets"][1:]})
    assert rows(index_class_folders(root / "train", root)) == EXPECTED
    forbid_walking(monkeypatch)
    assert rows(index_class_folders(root / "train", root)) == EXPECTED


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_cache_runs_no_code(root: Path, cache: Path, tmp_path: Path) -> None:
    index_class_folders(root / "train", root)
    (file,) = cache.iterdir()
    with np.load(file) as arrays:
        parts = dict(arrays)
    trap = np.array([Trap(tmp_path / "sprung")] * 4, dtype=object)
    with file.open("wb") as out:
        np.savez(out, **{**parts, "image_ids": trap})
    assert rows(index_class_folders(root / "train", root)) == EXPECTED
    assert not (tmp_path / "sprung").exists()


def test_without_a_writable_cache_there_is_just_none(root: Path, cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert rows(index_class_folders(root / "train", root)) == EXPECTED
    assert rows(index_class_folders(root / "train", root)) == EXPECTED


def test_a_full_disk_leaves_nothing_behind(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def savez(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("camloc.data.loading.index.np.savez", savez)
    assert rows(index_class_folders(root / "train", root)) == EXPECTED
    assert list(cache.iterdir()) == []


def test_a_user_without_a_home_has_no_cache(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", home)
    assert rows(index_class_folders(root / "train", root)) == EXPECTED
    assert not cache.exists()


def test_the_cache_is_below_home_by_default(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    index_class_folders(root / "train", root)
    assert len(list((tmp_path / "me/.cache/camloc").glob("*.npz"))) == 1


def test_names_that_are_not_text_keep_their_bytes(root: Path) -> None:
    names = [b"\xff\xfe.png", b"new\nline.png", "tête.png".encode()]
    folder = os.fsencode(root / "train") + b"/n\xe9"
    os.mkdir(folder)  # noqa: PTH102 # a path of bytes
    for name in names:
        Path(os.fsdecode(folder + b"/" + name)).touch()
    settle(root)
    for _ in ("walked", "cached"):
        index = index_class_folders(root / "train", root)
        assert os.fsencode(index.classes[-1]) == b"n\xe9"
        assert index.image_ids[4:].tolist() == sorted(b"train/n\xe9/" + name for name in names)
        assert all(Path(root, os.fsdecode(name)).is_file() for name in index.image_ids)


def test_a_link_to_a_class_elsewhere_is_followed_and_a_circle_is_not(root: Path, tmp_path: Path) -> None:
    shutil.move(root / "train/n01", tmp_path / "elsewhere")
    (root / "train/n01").symlink_to(tmp_path / "elsewhere")
    (root / "train/n02/images/back").symlink_to(root / "train/n02")
    assert rows(index_class_folders(root / "train", root)) == EXPECTED


def test_a_folder_without_classes_is_an_empty_index(root: Path) -> None:
    for _ in ("walked", "cached"):
        index = index_class_folders(root / "train/n02/images", root)
        assert (index.classes, len(index.image_ids), len(index.targets)) == ((), 0, 0)


@pytest.mark.parametrize("missing", ["nowhere", "train/stray.png"])
def test_a_missing_folder_is_named_with_the_fix(root: Path, missing: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"there is no folder {root / missing}; give one that has a sub-folder"):
        index_class_folders(root / missing, root)


def test_a_folder_outside_the_root_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"data/train.* is not in the subpath of .*other"):
        index_class_folders(root / "train", root / "other")


def test_several_processes_may_race(root: Path, cache: Path) -> None:
    with get_context("spawn").Pool(2) as pool:
        found = pool.starmap(index_class_folders, [(root / "train", root)] * 6)
    assert all(rows(index) == EXPECTED for index in found)
    assert [file.suffix for file in cache.iterdir()] == [".npz"]
