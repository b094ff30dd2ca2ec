"""One range for all splits of a data set, read off training images."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from camloc.data.datasets.folder import Folder
from camloc.data.images.intensity import IntensityOption
from camloc.data.loading.intensity_choice import IntensityChoice
from camloc.data.loading.split import SplitName

Pixels = NDArray[np.integer | np.floating]


def save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def deep(value: int, dtype: type = np.uint16) -> Pixels:
    """Mostly ``value``, with a black pixel."""
    pixels: Pixels = np.full((4, 6), value, dtype)
    pixels[0, 0] = 0
    return pixels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "val", "test"):
        for kind in ("cat", "dog"):
            for i in range(3):
                save(tmp_path / split / kind / f"{split}{i}.png", deep(1000 + 200 * i))
    return tmp_path


def folder(root: Path, intensity: IntensityOption = "auto") -> Folder:
    return Folder(str(root), intensity=intensity)


def brightest(datamodule: Folder, split: SplitName) -> list[int]:
    images = datamodule.split(split)
    return [int(images.image(i).max()) for i in range(len(images))]


def test_twelve_bits_are_not_black(root: Path) -> None:
    save(root / "train" / "cat" / "bright.png", deep(3021))
    datamodule = folder(root)
    # Of 0..4095, 16 values make a level.
    assert brightest(datamodule, "train") == [3021 // 16, *[value // 16 for value in (1000, 1200, 1400) * 2]]
    assert brightest(datamodule, "test") == [value // 16 for value in (1000, 1200, 1400) * 2]
    (note,) = datamodule.notes
    assert note == (
        "of images with more than 8 bits, 0 to 4095 becomes black to white (datamodule.intensity=auto; the largest "
        "value of 7 sampled training images is 3021)"
    )
    assert datamodule.chosen_intensity == (0, 4095)


def test_the_order_in_which_splits_are_loaded_does_not_matter(root: Path) -> None:
    save(root / "train" / "cat" / "bright.png", deep(3021))
    datamodule = folder(root)
    assert brightest(datamodule, "test")[0] == 1000 // 16
    assert brightest(datamodule, "val")[0] == 1000 // 16
    assert len(datamodule.notes) == 1


def test_the_full_range_is_what_is_asked_for(root: Path) -> None:
    assert brightest(folder(root, "full"), "test") == [value // 256 for value in (1000, 1200, 1400) * 2]
    assert brightest(Folder(str(root)), "test")[0] == 1000 // 256, "as configurations that do not name it had it"


def test_a_given_range_cuts(root: Path) -> None:
    assert brightest(folder(root, intensity=[1000, 1255]), "test") == [0, 200, 255] * 2


def test_a_later_image_above_is_an_error_that_names_it(root: Path) -> None:
    save(root / "test" / "cat" / "zz.png", deep(5000))
    datamodule = folder(root)
    with pytest.raises(ValueError, match=r"test/cat/zz\.png: it has the value 5000, outside of 0 to 4095") as error:
        brightest(datamodule, "test")
    assert "datamodule.intensity=[0,5000]" in str(error.value)


def test_a_deep_image_where_none_was_sampled_is_an_error(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for kind in ("cat", "dog"):
            save(tmp_path / split / kind / f"{split}.jpg", np.full((8, 8), 200, np.uint8))
    save(tmp_path / "test" / "dog" / "z.png", deep(4000))
    datamodule = folder(tmp_path)
    assert brightest(datamodule, "train") == [200, 200]
    assert datamodule.notes == []
    assert datamodule.chosen_intensity is None
    images = datamodule.split("test")
    with pytest.raises(ValueError, match=r"dog/z\.png: it has the value 4000, outside of 0 to 255, which the sampled"):
        images.image(2)


def test_jpegs_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "val", "test"):
        for kind in ("cat", "dog"):
            save(tmp_path / split / kind / f"{split}.jpg", np.full((8, 8), 200, np.uint8))
    monkeypatch.setattr("camloc.data.images.intensity_sample.is_deep", lambda _file: pytest.fail("it was opened"))
    assert brightest(folder(tmp_path), "train") == brightest(folder(tmp_path), "test") == [200, 200]


@pytest.mark.parametrize("values", [deep(-5, np.int16), deep(1, np.float32)])
def test_values_without_an_obvious_range_need_one(root: Path, values: Pixels) -> None:
    for file in root.rglob("*.png"):
        save(file.with_suffix(".tif"), values)
        file.unlink()
    low, high = values.min(), values.max()
    with pytest.raises(
        ValueError, match=rf"6 sampled training images have values from .*datamodule\.intensity=\[{low:g},{high:g}\]"
    ):
        folder(root).split("train")
    datamodule = folder(root, intensity=[-6, 4])
    assert len(set(brightest(datamodule, "test"))) == 1


def test_a_few_bright_pixels_are_remarked(root: Path) -> None:
    burnt = np.full((100, 100), 900, np.uint16)
    burnt[3, 4] = 65535
    save(root / "train" / "cat" / "burnt.png", burnt)
    datamodule = folder(root)
    assert brightest(datamodule, "test")[0] == 1000 // 256
    assert datamodule.notes[0].endswith(
        "; 99.9% of their pixels are below 1400, so datamodule.intensity=[0,1400] shows more"
    )


def test_what_files_state_is_their_range(root: Path) -> None:
    for file in root.rglob("*.png"):
        pixels = np.asarray(cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
        file.with_suffix(".pgm").write_bytes(b"P5\n6 4\n2000\n" + pixels.astype(">u2").tobytes())
        file.unlink()
    datamodule = folder(root)
    assert brightest(datamodule, "test")[0] == int(1000 * 256 / 2001)
    assert datamodule.notes[0].startswith("of images with more than 8 bits, 0 to 2000 becomes black to white")


def test_another_runs_choice_is_taken_where_auto_would_choose(root: Path) -> None:
    cases: list[tuple[IntensityOption, int]] = [("auto", 1000 // 64), ("full", 1000 // 256), ([0, 1023], 250)]
    for option, expected in cases:
        datamodule = folder(root, intensity=option)
        datamodule.split("test")
        datamodule.use_intensity((0, 16383))
        assert brightest(datamodule, "test")[0] == expected
        assert brightest(datamodule, "train")[0] == expected
        said = "of images with more than 8 bits, 0 to 16383 becomes black to white, as in training"
        assert datamodule.notes == ([said] if option == "auto" else [])


@pytest.mark.parametrize("option", ["automatic", [3], [5, 5], [9, 1], [0, float("inf")], None, "12"])
def test_no_other_option_is_taken(option: object) -> None:
    with pytest.raises(ValueError, match=r"datamodule\.intensity must be auto, full or two ascending numbers"):
        IntensityChoice(option, [])
