import io
import os
import shutil
import unicodedata
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from camloc.data.datasets.textures import Textures
from camloc.data.loading import fingerprint as found_by
from camloc.data.loading.files import FileSplit
from camloc.data.loading.fingerprint import fingerprint, num_trained_on
from camloc.data.loading.split import Split, Subset


def split(root: Path, *names: str) -> FileSplit:
    return FileSplit(root, list(names), [0] * len(names))


def write(root: Path, sizes: dict[str, int]) -> FileSplit:
    """Write files of these sizes, and return them as a split."""
    for name, size in sizes.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"." * size)
    return split(root, *sizes)


def trained_on(images: Split) -> torch.Tensor:
    found = fingerprint(images)
    assert found is not None
    return found


def test_it_is_the_names_hash_and_the_size_sorted_whatever_the_order_and_the_folder(tmp_path: Path) -> None:
    images = write(tmp_path, {"b/2.jpg": 7, "a/1.jpg": 300, "c/1.jpg": 5})
    found = trained_on(images)
    assert found.dtype == torch.int64
    assert found.shape == (3, 2)
    unsigned = [number % 2**64 for number in found[:, 0].tolist()]
    one, two = zlib.crc32(b"1.jpg"), zlib.crc32(b"2.jpg")
    assert unsigned == sorted([one * 2**32 + 5, one * 2**32 + 300, two * 2**32 + 7])
    assert torch.equal(trained_on(split(tmp_path, "c/1.jpg", "a/1.jpg", "b/2.jpg")), found)


@pytest.mark.parametrize("slow", [0.0, 3600.0])
def test_it_is_the_same_from_a_disk_that_is_slow_to_answer(
    slow: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write(tmp_path, {f"{number % 3}/{number}.jpg": number for number in range(1, 10)})
    whole = trained_on(images)
    monkeypatch.setattr(found_by, "CHUNK", 2)
    monkeypatch.setattr(found_by, "SLOW", slow)
    (tmp_path / "2" / "8.jpg").unlink()
    assert torch.equal(trained_on(images), whole[(whole[:, 0] & 0xFFFFFFFF) != 8])


def test_it_goes_through_a_checkpoint_that_is_loaded_without_pickle(tmp_path: Path) -> None:
    images = write(tmp_path, {"a/1.jpg": 10, "a/2.jpg": 11})
    buffer = io.BytesIO()
    torch.save({"fingerprint": fingerprint(images)}, buffer)
    buffer.seek(0)
    assert num_trained_on(torch.load(buffer, weights_only=True)["fingerprint"], images) == 2


def test_images_of_the_training_split_are_counted_one_by_one(tmp_path: Path) -> None:
    train = write(tmp_path / "train", {f"{'ab'[i % 2]}/{i}.jpg": 1000 + 7 * i for i in range(100)})
    other = write(tmp_path / "test", {f"a/{i}.jpg": 1000 + 7 * i for i in range(100, 110)})
    trained = trained_on(train)
    assert num_trained_on(trained, other) == 0
    assert num_trained_on(trained, train) == 100
    assert num_trained_on(trained, Subset(train, np.array([3]))) == 1
    mixed = [f"train/a/{i}.jpg" for i in (0, 2, 4)] + [f"test/a/{i}.jpg" for i in (100, 101)]
    assert num_trained_on(trained, split(tmp_path, *mixed)) == 3


def test_copies_are_found_under_another_root_and_in_other_folders(tmp_path: Path) -> None:
    trained = trained_on(write(tmp_path / "before", {f"cat/{i}.jpg": 100 + i for i in range(20)}))
    (tmp_path / "before").rename(tmp_path / "after")
    assert num_trained_on(trained, split(tmp_path / "after", *(f"cat/{i}.jpg" for i in range(20)))) == 20
    shutil.copytree(tmp_path / "after" / "cat", tmp_path / "flat")
    assert num_trained_on(trained, split(tmp_path, "flat/3.jpg", "flat/9.jpg")) == 2


def test_a_file_of_the_same_name_and_another_size_is_another_image(tmp_path: Path) -> None:
    trained = trained_on(write(tmp_path / "train", {f"cat/{i}.jpg": 100 + i for i in range(20)}))
    assert num_trained_on(trained, write(tmp_path / "test", {f"cat/{i}.jpg": 200 + i for i in range(20)})) == 0
    assert num_trained_on(trained, write(tmp_path / "more", {f"dog/{i}.png": 100 + i for i in range(20)})) == 0


def test_uncompressed_images_share_names_and_sizes_by_chance(tmp_path: Path) -> None:
    for part, level in (("train", 0), ("test", 9)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(30):
                cv2.imwrite(str(tmp_path / part / name / f"{i:03d}.bmp"), np.full((4, 5, 3), level + i, np.uint8))
    names = [f"{name}/{i:03d}.bmp" for name in ("cat", "dog") for i in range(30)]
    sizes = {(tmp_path / part / name).stat().st_size for part in ("train", "test") for name in names}
    assert len(sizes) == 1
    assert num_trained_on(trained_on(split(tmp_path / "train", *names)), split(tmp_path / "test", *names)) == 0


def test_files_at_the_paths_of_training_files_are_known_whatever_their_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"cat/{i:03d}.bmp" for i in range(30)]
    write(tmp_path / "all", dict.fromkeys(names, 5000))
    trained = trained_on(split(tmp_path / "all", *names[:20]))
    assert num_trained_on(trained, split(tmp_path / "all", *names[15:])) == 5
    monkeypatch.chdir(tmp_path)
    assert num_trained_on(trained, split(Path("all"), *names[15:])) == 5  # named from somewhere else
    (tmp_path / "all" / names[19]).write_bytes(b"another image")
    assert num_trained_on(trained, split(tmp_path / "all", *names[15:])) == 4


def test_copies_of_a_few_images_of_equal_sizes_in_pairs_are_found(tmp_path: Path) -> None:
    sizes = {f"cat/{i}.png": 100 + i // 2 for i in range(12)}
    trained = trained_on(write(tmp_path / "train", sizes))
    assert num_trained_on(trained, write(tmp_path / "copies", sizes)) == 12


def test_uncompressed_images_do_not_hide_compressed_ones(tmp_path: Path) -> None:
    bitmaps = {f"cat/{i}.bmp": 5000 for i in range(50)}
    train = write(tmp_path / "train", bitmaps | {f"cat/{i}.jpg": 100 + i for i in range(50)})
    test = write(tmp_path / "test", bitmaps | {f"cat/{i}.jpg": 900 + i for i in range(50)})
    trained = trained_on(train)
    assert num_trained_on(trained, test) == 0
    leaked = [f"train/cat/{i}.jpg" for i in (0, 1)] + [f"test/cat/{i}.bmp" for i in range(50)]
    assert num_trained_on(trained, split(tmp_path, *leaked)) == 2


def test_class_folders_that_all_count_from_one_match_by_chance(tmp_path: Path) -> None:
    # 40 classes with files 0 to 24, of sizes that are shared by one in 250: an image has 40 namesakes, of which one has
    # its size with probability 1 - 0.996^40 = 0.15.
    rng = np.random.default_rng(0)
    names = [f"{name}/{i}.png" for name in range(40) for i in range(25)]
    train = write(tmp_path / "train", dict(zip(names, rng.integers(1, 251, len(names)).tolist(), strict=True)))
    test = write(tmp_path / "test", dict(zip(names, rng.integers(1, 251, len(names)).tolist(), strict=True)))
    trained = trained_on(train)
    known = set(trained[:, 0].tolist())
    assert sum(number in known for number in trained_on(test)[:, 0].tolist()) > 100
    assert num_trained_on(trained, test) == 0
    assert num_trained_on(trained, train) == len(names)


@pytest.mark.parametrize(("found", "counted"), [(3, 0), (4, 4)])
def test_the_limit_is_one_in_a_thousand(found: int, counted: int, tmp_path: Path) -> None:
    # 1001 training files in pairs of equal size but one: p = 1000 / 1001 / 1000. Of 200 images with one namesake each,
    # 0.1998 match by chance; a Poisson variable of that mean is 3 or more with 1.1e-3, 4 or more with 5.6e-5.
    train = write(tmp_path / "train", {f"{i}.jpg": 100 + i // 2 for i in range(1001)})
    test = write(tmp_path / "test", {f"{i}.jpg": 100 + i // 2 if i < found else 9000 + i for i in range(200)})
    assert num_trained_on(trained_on(train), test) == counted


def test_accents_may_be_composed_otherwise(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "caf\u00e9.jpg") for form in ("NFC", "NFD"))
    trained = trained_on(write(tmp_path / "train", {composed: 10}))
    assert num_trained_on(trained, write(tmp_path / "test", {apart: 10})) == 1


def test_a_name_that_is_not_utf8_is_a_name(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    images = write(tmp_path, {name: 10})
    assert num_trained_on(trained_on(images), images) == 1


def test_images_in_memory_and_missing_files_have_no_fingerprint(tmp_path: Path) -> None:
    drawn = Textures(num_train=9, image_size=64).split("train")
    assert fingerprint(drawn) is None
    assert fingerprint(split(tmp_path, "nowhere.jpg")) is None
    images = write(tmp_path, {"a.jpg": 10})
    trained = trained_on(split(tmp_path, "a.jpg", "nowhere.jpg"))
    assert torch.equal(trained, trained_on(images))
    assert num_trained_on(trained, drawn) == 0
    assert num_trained_on(trained, split(tmp_path, "elsewhere/a.jpg")) == 0


def test_a_single_training_image_is_recognized(tmp_path: Path) -> None:
    images = write(tmp_path, {"a.jpg": 10})
    assert num_trained_on(trained_on(images), images) == 1
