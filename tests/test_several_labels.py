"""Runs on images with several labels, or none: maps saved and measured again, thresholds swept, runs compared."""

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camloc.predictors.saved_maps import SavedMaps
from camloc.report.compare import main as compare

Here = Callable[..., Any]
TREE = run_path(str(Path(__file__).with_name("several_labels_tree.py")))
SMALL = (
    *("datamodule.input_size=64", "datamodule.num_workers=0", "datamodule.batch_size=4", "trainer.accelerator=cpu"),
    *("trainer.max_epochs=1", "callbacks.gallery.count=2"),
)
NUMBERS = run_path(str(Path(__file__).with_name("run_numbers.py")))
metrics, assert_equal_but_for_the_loss = NUMBERS["metrics"], NUMBERS["assert_equal_but_for_the_loss"]
PROTOCOLS = "localization=[several_labels,maxboxacc_v2,paper]"


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, ...]:
    root = TREE["write_tree"](tmp_path / "data")
    return "datamodule=annotated", f"datamodule.root={root}", "datamodule.objectless_classes=[good]"


@pytest.fixture
def trained(here: Here, data: tuple[str, ...], tmp_path: Path) -> Path:
    run = tmp_path / "run"
    finished = here("train", *data, *SMALL, "objective=multi_label", f"hydra.run.dir={run}")
    assert finished.returncode == 0, finished.stderr
    return run


def test_saved_maps_give_the_numbers_of_the_network_and_runs_are_compared(
    here: Here, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def evaluate(name: str, *options: str) -> Path:
        finished = here("evaluate", *options, "trainer.accelerator=cpu", f"hydra.run.dir={tmp_path / name}")
        assert finished.returncode == 0, finished.stderr
        return tmp_path / name

    saved = evaluate("saved", f"checkpoint={trained}", "save_score_maps=true", PROTOCOLS)
    maps = f"score_maps={saved / 'score_maps.npz'}"
    again = evaluate("again", maps, PROTOCOLS)
    expected = metrics(saved)
    assert_equal_but_for_the_loss(metrics(again), expected)
    assert (again / "predictions.csv").read_text() == (saved / "predictions.csv").read_text()
    for key in ("corloc", "iou_accuracy_50", "pointing_game", "gt_known_error", "top1_error", "max_box_acc_v2"):
        low, value, high = (expected[f"test/localization/{key}{end}"] for end in ("_low", "", "_high"))
        assert 0 <= low <= value <= high <= 1, key

    read = SavedMaps(saved / "score_maps.npz")
    assert read.class_names == ("blue", "good", "green", "red")
    assert read.objectless == {1}
    test = read.split("test")
    pairs = [name for index in range(7, 15) for name in sorted({name for name, _ in TREE["objects"](index)})]
    assert len(test.arrays["cam"]) == len(pairs) + TREE["GOOD"]
    negative, good, last = test[0], test[4], test[14]
    assert (len(negative.cams), len(good.cams), len(negative.truth.gt_boxes)) == (0, 1, 0)
    assert [boxes.tolist() for boxes in good.truth.image_boxes] == [[]]
    names = [read.class_names[index] for index in last.truth.target.nonzero().flatten().tolist()]  # type: ignore[union-attr] # several labels
    assert names == sorted({name for name, _ in TREE["objects"](14)})
    for name, boxes in zip(names, last.truth.image_boxes, strict=True):
        assert boxes.tolist() == [list(box) for label, box in TREE["objects"](14) if label == name]
    place = last.ranked_classes.tolist().index(int(last.truth.target.nonzero()[0]))  # type: ignore[union-attr] # the same
    np.testing.assert_array_equal(last.ranked_cams[place], last.cams[0])

    # Another threshold from the maps, as from the network.
    fixed = ("localization.cam_threshold=0.6", "localization=several_labels")
    from_maps, from_network = evaluate("maps", maps, *fixed), evaluate("network", f"checkpoint={trained}", *fixed)
    assert_equal_but_for_the_loss(metrics(from_maps), metrics(from_network))
    assert metrics(from_maps)["test/localization/cam_threshold"] == 0.6

    capfd.readouterr()
    assert compare([str(saved), str(from_maps)]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "GT-known" in line]
    errors = [metrics(run)["test/localization/gt_known_error"] for run in (saved, from_maps)]
    assert line.split()[2:4] == [f"{100 * error:.2f}" for error in errors]


def test_what_has_one_class_for_each_image_is_refused_in_one_line(
    here: Here, data: tuple[str, ...], trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "submission.txt").write_text("\n")
    checkpoint = f"checkpoint={trained}"
    of_files = "predictions from files have one class for each image, and the images of this data set have several"
    for command, options, message in (
        ("evaluate", (checkpoint, "localization.submission=true"), "localization.submission writes one class for each"),
        ("evaluate", (checkpoint, "export_score_maps=MAPS"), "export_score_maps writes one class for each image"),
        ("evaluate", (f"score_maps={tmp_path / 'maps'}", *data), of_files),
        ("evaluate", (f"submission={tmp_path / 'submission.txt'}", *data), of_files),
        ("svm", (checkpoint, *data), "camloc svm tells one class per image from the others"),
    ):
        refused = here(command, *options, f"hydra.run.dir={tmp_path / 'refused'}", "overwrite=true")
        assert refused.returncode == 1
        assert message in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_test_set_of_negative_images_alone_is_measured_and_says_so(here: Here, trained: Path, tmp_path: Path) -> None:
    images = tmp_path / "negative"
    images.mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 60, (40, 60, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(images / f"{index}.png")
    (images / "a.csv").write_text("file,label,split\n0.png,,test\n1.png,,test\n2.png,,test\n")
    options = (f"checkpoint={trained}", f"datamodule.root={images}", "trainer.accelerator=cpu", "localization=ilsvrc")
    run = tmp_path / "of_negative"
    refused = here("evaluate", *options, f"hydra.run.dir={run}")
    assert refused.returncode == 1
    assert "the annotation labels no image; " in refused.stderr
    named = "datamodule.classes=[blue,good,green,red]"
    finished = here("evaluate", *options, named, f"hydra.run.dir={run}")
    assert finished.returncode == 0, finished.stderr
    nothing = "test: 3 images without label, no pair of an image and a class: localization was not measured."
    assert nothing in finished.stdout
    assert "submission.txt is not written: it has one class for each image" in finished.stdout
    assert not (run / "submission.txt").exists()
    assert metrics(run)["test/num_pairs"] == 0
