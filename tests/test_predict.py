"""``predict.py`` as its user meets it."""

import csv
import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml  # type: ignore[import-untyped] # no types published
from PIL import Image

import camloc
from camloc.data.annotations.coco import read_coco
from camloc.data.annotations.formats import chosen_reader
from camloc.data.annotations.voc import read_voc
from camloc.data.sources.loading import Unlabelled, Viewing
from camloc.experiment.checkpoint import load_checkpoint, write_checkpoint
from camloc.experiment.predict_source import Opened
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.run_record import RUN_KEY
from camloc.export.csv_file import read_csv
from camloc.export.predictions_jsonl import Predictions
from camloc.localized import LocalizedImage
from camloc.report.explorer.reading import read_explored

Here = Callable[..., Any]
FORMATS = "save=[csv,coco,yolo,voc,label_studio,overlays,page,maps]"


def lines(run: Path) -> list[LocalizedImage]:
    return list(Predictions(run / "predictions.jsonl"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of different sizes, some in folders."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(12):
        size = (40 + number, 70 - number)
        pixels = cv2.resize(generator.integers(0, 256, (5, 7, 3)).astype(np.uint8), size[::-1])
        file = folder / ("a" if number % 3 else "") / f"{number:02d}{'.png' if number % 2 else '.jpg'}"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(file)
    return folder


def predict(here: Here, trained: tuple[Path, str], run: Path, *arguments: str) -> Any:  # noqa: ANN401 - an answer
    answer = here(
        "predict",
        f"checkpoint={trained[0]}",
        "device=cpu",
        "num_workers=0",
        "batch_size=5",
        f"hydra.run.dir={run}",
        *arguments,
    )
    assert answer.returncode == 0, answer.stderr
    return answer


def test_a_split_is_predicted_as_it_was_evaluated(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    answer = predict(here, trained, tmp_path, "source=test", "save=[csv]")
    assert "CAM threshold" in answer.stdout
    assert "chosen on val" in answer.stdout
    with (trained[0] / "predictions.csv").open(newline="") as file:
        evaluated = {row["image_id"]: row for row in csv.DictReader(file)}
    found = lines(tmp_path)
    assert [one.name for one in found] == list(evaluated)
    compared = 0
    for one in found:
        row = evaluated[one.name]
        assert [of_class.name for of_class in one.classes] == [row["prediction_1"]]
        if row["prediction_1"] == row["true_class"]:  # whose box an evaluation reports
            expected = tuple(float(row[corner]) for corner in ("x0", "y0", "x1", "y1"))
            ((_, box),) = one.boxes
            assert box.box == pytest.approx(expected, abs=1e-3)  # six digits were written
            compared += 1
    assert compared > 0
    assert json.loads((tmp_path / "status.json").read_text())["status"] == "completed"


def test_a_split_of_another_data_set_is_predicted(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    others = (
        "datamodule=textures",
        "datamodule.num_val=2",
        "datamodule.num_test=1",
        "datamodule.num_train=9",
        "seed=3",
    )
    answer = predict(here, trained, tmp_path, "source=val", "save=[csv]", *others)
    assert "source: 2 images of the split val" in answer.stdout
    assert len(lines(tmp_path)) == 2


def test_every_format_reads_back_to_equal_boxes(
    trained: tuple[Path, str], here: Here, images: Path, tmp_path: Path
) -> None:
    options = (FORMATS, "top_k=3", "boxes=all", "masks=true", "cam_threshold=0.5")
    predict(here, trained, tmp_path, f"source={images}", *options)
    found = lines(tmp_path)
    assert len(found) == 12
    assert sum(len(one.boxes) for one in found) > 40
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["images"], summary["boxes"]) == (12, sum(len(one.boxes) for one in found))
    assert (summary["cam_threshold"], summary["threshold_source"]) == (0.5, "given")
    names = summary["class_names"]
    coco = read_coco(tmp_path / "coco.json")
    assert list(coco) == [one.name for one in found]
    written = {entry["file_name"]: entry["id"] for entry in json.loads((tmp_path / "coco.json").read_text())["images"]}
    segments = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    for one in found:
        expected = np.array([box.box for _, box in one.boxes]).reshape(-1, 4)
        labels = [of_class.name for of_class, _ in one.boxes]
        assert np.array_equal(coco[one.name].boxes.astype(np.float32), expected.astype(np.float32))
        assert list(coco[one.name].names) == labels
        stem = Path(one.name).with_suffix("")
        voc = read_voc(tmp_path / "voc" / "Annotations" / f"{stem}.xml")
        assert np.array_equal(voc.boxes.astype(np.float32), expected.astype(np.float32))
        assert list(voc.names) == labels
        height, width = one.size
        yolo = np.loadtxt(tmp_path / "yolo" / "labels" / f"{stem}.txt", ndmin=2)
        assert [names[int(index)] for index in yolo[:, 0]] == labels
        centre, half = yolo[:, 1:3] * [width, height], yolo[:, 3:] * [width, height] / 2
        assert np.hstack([centre - half, centre + half]) == pytest.approx(expected, abs=1e-9)
        for entry, (_, box) in zip(
            [entry for entry in segments if entry["image_id"] == written[one.name]], one.boxes, strict=True
        ):
            assert box.mask is not None
            assert sum(entry["segmentation"]["counts"]) == height * width
            assert entry["area"] == box.mask.sum() == sum(entry["segmentation"]["counts"][1::2])
        maps = np.load(tmp_path / "maps" / f"{one.name}.npy", allow_pickle=False)
        assert len(maps) == len(one.classes) == 3
        overlay = Image.open(tmp_path / "overlays" / f"{one.name}.png")
        assert overlay.size == (width, height)
    tasks = json.loads((tmp_path / "label_studio.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [f"/data/local-files/?d={one.name}" for one in found]
    for task, one in zip(tasks, found, strict=True):
        values = [result["value"] for result in task["predictions"][0]["result"]]
        corners = [
            (value["x"], value["y"], value["x"] + value["width"], value["y"] + value["height"]) for value in values
        ]
        pixels = np.array(corners).reshape(-1, 4) * np.array([one.size[1], one.size[0]] * 2) / 100
        assert pixels == pytest.approx(np.array([box.box for _, box in one.boxes]).reshape(-1, 4), abs=1e-9)
    rows = read_csv(tmp_path / "predictions.csv")
    assert [float(row["x1"]) for row in rows if row["x1"]] == [box.box[2] for one in found for _, box in one.boxes]
    data = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert list(data["names"].values()) == names


def test_the_page_moves_boxes_with_the_threshold(
    trained: tuple[Path, str], here: Here, images: Path, tmp_path: Path
) -> None:
    options = ("save=[page]", "top_k=2", "min_size=0.1", "cam_threshold=0.455")
    predict(here, trained, tmp_path, f"source={images}", *options)
    ((run, shown),) = read_explored(tmp_path / "report").runs
    assert (run.cam_threshold, run.threshold_source, len(run.cam_thresholds)) == (0.455, "given", 101)
    reported = list(run.cam_thresholds).index(0.455)
    sizes = set()
    for image, one in zip(shown, lines(tmp_path), strict=True):
        height, width = one.size
        for pair, found in zip(image.pairs, one.classes, strict=True):
            best = found.boxes[0].box if found.boxes else (0, 0, 0, 0)
            expected = np.array(best) / [width, height, width, height]
            assert pair.boxes[reported] == pytest.approx(expected, abs=2e-5)  # written in steps of 1/50,000
            areas = (pair.boxes[:, 2] - pair.boxes[:, 0]) * (pair.boxes[:, 3] - pair.boxes[:, 1])
            assert ((areas == 0) | (areas > 0.0999)).all()
            sizes |= set(areas.tolist())
    assert len(sizes) > 20


def test_what_is_written_is_read_as_a_data_set(
    trained: tuple[Path, str], here: Here, images: Path, tmp_path: Path
) -> None:
    run, flat = tmp_path / "run", tmp_path / "flat"
    flat.mkdir()
    for file in images.rglob("*.*"):  # VOC knows no folders of images
        shutil.copy(file, flat)
    formats = ("csv", "coco", "yolo", "voc", "label_studio")
    options = (f"save=[{','.join(formats)}]", "top_k=3", "boxes=all", "cam_threshold=0.5")
    predict(here, trained, run, f"source={flat}", *options)
    found = {str(Path(one.name).with_suffix("")): one for one in lines(run)}
    for name in formats:  # beside the images, as a person would lay them
        shutil.copytree(flat, tmp_path / name / ("images" if name == "yolo" else ""))
    for name, written in (("csv", "predictions.csv"), ("coco", "coco.json"), ("voc", "voc"), ("yolo", "yolo")):
        target = tmp_path / name
        if (run / written).is_dir():
            shutil.copytree(run / written, target, dirs_exist_ok=True)
        else:
            shutil.copy(run / written, target)
    tasks = json.loads((run / "label_studio.json").read_text())
    # As Label Studio exports a prediction that a person submits as it is.
    accepted = [{**task, "annotations": [{"result": task["predictions"][0]["result"]}]} for task in tasks]
    (tmp_path / "label_studio" / "export.json").write_text(json.dumps(accepted))
    for name in formats:
        reader, _ = chosen_reader("auto", tmp_path / name)
        assert reader.name == name
        table = reader.read(tmp_path / name)
        assert len(table.names) == len(found) == 12
        for number, read in enumerate(table.names):
            one = found[str(Path(read.removeprefix("images/")).with_suffix(""))]
            own = table.box_image == number
            assert [table.class_names[index] for index in table.box_class[own]] == [kind.name for kind, _ in one.boxes]
            sides = {"pixels": (1, 1), "fractions": one.size[::-1], "percent": np.divide(one.size[::-1], 100)}
            pixels = table.boxes[own] * np.tile(sides[table.units], 2)
            expected = np.array([box.box for _, box in one.boxes]).reshape(-1, 4)
            assert pixels == pytest.approx(expected, abs=1e-9), name


def test_the_library_finds_what_the_command_finds(
    trained: tuple[Path, str], here: Here, images: Path, tmp_path: Path
) -> None:
    predict(here, trained, tmp_path, f"source={images}", "save=[]")
    found = lines(tmp_path)
    again = camloc.load(trained[0], device="cpu").localize([images / one.name for one in found], batch_size=5)
    assert [[(of.name, box.box) for of, box in one.boxes] for one in again] == [
        [(of.name, box.box) for of, box in one.boxes] for one in found
    ]
    two = tmp_path / "two"
    predict(here, trained, two, f"source={images}", "save=[]", "devices=2", "num_workers=2")
    assert (two / "predictions.jsonl").read_text() == (tmp_path / "predictions.jsonl").read_text()


def test_what_cannot_be_read_is_named_and_stops_nothing(
    trained: tuple[Path, str], here: Here, images: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    shutil.copytree(images, folder)
    (folder / "cut.jpg").write_bytes((images / "00.jpg").read_bytes()[:200])
    (folder / "empty.png").touch()
    (folder / "huge.png").write_bytes(
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (20_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0" + bytes(64)
    )
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop").symlink_to(folder)
    (folder / "self.jpg").symlink_to(folder / "self.jpg")
    answer = predict(here, trained, tmp_path / "out", f"source={folder}", "save=[csv,coco,voc]")
    found = {one.name: one for one in lines(tmp_path / "out")}
    broken = ["cut.jpg", "empty.png", "huge.png", "loop", "pipe.jpg", "self.jpg"]
    assert sorted(name for name, one in found.items() if one.error) == broken
    assert len(found) == 18
    for name, says in (("empty.png", "it is empty"), ("huge.png", "20000 by 20000"), ("pipe.jpg", "FIFO")):
        assert says in str(found[name].error)
        assert f"unreadable: {name}" in answer.stdout
    assert "6 unreadable" in answer.stdout
    listed = json.loads((tmp_path / "out" / "unreadable.json").read_text())
    assert sorted(entry["image"] for entry in listed) == broken
    assert len(read_coco(tmp_path / "out" / "coco.json")) == 12
    assert len(list((tmp_path / "out" / "voc").rglob("*.xml"))) == 12


def outputs(run: Path) -> dict[str, bytes]:
    skipped = {"config.yaml", "status.json", "predict.log"}
    files = (path for path in run.rglob("*") if path.is_file() and ".hydra" not in path.parts)
    return {str(path.relative_to(run)): path.read_bytes() for path in files if path.name not in skipped}


def test_what_was_stopped_goes_on_to_equal_output(
    trained: tuple[Path, str], here: Here, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise RuntimeError("interrupted")

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = ("device=cpu", "num_workers=0", "batch_size=5", f"source={images}", FORMATS)
    command = ("predict", f"checkpoint={trained[0]}", *options)
    answer = here(*command, f"hydra.run.dir={whole}")
    assert answer.returncode == 0, answer.stderr
    with monkeypatch.context() as patch:
        patch.setattr("camloc.experiment.predict.write_at_end", interrupted)
        answer = here(*command, f"hydra.run.dir={stopped}")
        assert answer.returncode == 1
    kept = {str(file.relative_to(stopped)) for file in stopped.glob("report/**/*") if file.is_file()}
    assert len(kept) > 12
    assert kept <= {
        str(file.relative_to(stopped)) for file in RunDirectory(stopped).own_files()
    }  # the next run's to remove
    # What a killed process leaves: some whole lines, a torn one, and nothing that is written at the end.
    text = (stopped / "predictions.jsonl").read_bytes()
    assert text == (whole / "predictions.jsonl").read_bytes()
    fifth = [place for place, byte in enumerate(text) if byte == ord("\n")][4] + 1
    (stopped / "predictions.jsonl").write_bytes(text[: fifth + 30])
    (stopped / "status.json").write_text('{"status": "running", "error": null}')
    (stopped / "traceback.txt").unlink()
    answer = here("predict", f"resume={stopped}")
    assert answer.returncode == 0, answer.stderr
    assert "5 images are done already" in answer.stdout
    before, after = outputs(whole), outputs(stopped)
    assert before.pop("label_studio.json") == after.pop("label_studio.json")
    assert before == after
    again = here("predict", f"resume={stopped}")
    assert again.returncode == 1
    assert "the prediction has completed" in again.stderr


def test_a_video_becomes_a_video(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(9):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    run = tmp_path / "out"
    predict(here, trained, run, f"source={clip}", "every=2")
    found = lines(run)
    assert [one.name for one in found] == [f"clip.avi/{number:06d}" for number in range(0, 9, 2)]
    assert [one.seconds for one in found] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    overlays = cv2.VideoCapture(str(run / "overlays.mp4"))
    assert overlays.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert overlays.get(cv2.CAP_PROP_FPS) == 5
    assert overlays.read()[1].shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["source=nowhere"], "there is no such file or folder"),
        (["source=test", "every=2"], "every=2 takes each n-th frame of a video"),
        (["source=test", "save=[jpeg]"], "save"),
        (["source=test", "intensity=full"], "source=test is shown by datamodule.intensity=full"),
        (
            ["source=test", "attribution=grad_cam"],
            "run's own attribution, and another is used here; give cam_threshold=X",
        ),
        (["source=test", "views=flip", "score_map=max"], "run's own views and score_map, and"),
        (["source=clip.avi", "intensity=full"], "intensity has no effect on source=clip.avi"),
        (["source=0", "intensity=full"], "intensity has no effect on source=0"),
        (["source=test", "probability=2"], "probability=2"),
        (["source=test", "device=gpux"], "device=gpux is none of torch's"),
        (["source=test", "sourc=x"], "sourc"),
        ([], "source must be given"),
    ],
)
def test_what_cannot_run_is_said_in_one_line(
    trained: tuple[Path, str], here: Here, tmp_path: Path, arguments: list[str], says: str
) -> None:
    answer = here("predict", f"checkpoint={trained[0]}", f"hydra.run.dir={tmp_path}", *arguments)
    assert answer.returncode == 1
    assert says in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_other_maps_are_cut_at_a_threshold_that_is_given(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    answer = predict(here, trained, tmp_path / "max", "source=test", "score_map=max", "cam_threshold=0.3", "save=[]")
    assert "CAM threshold: 0.3, given" in answer.stdout
    answer = predict(here, trained, tmp_path / "rule", "source=test", "box_rule=released", "save=[]")
    assert "CAM threshold: none" in answer.stdout


def test_nothing_of_a_strangers_run_is_called(trained: tuple[Path, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("camloc.attribution.cam.cam", "os.system"))
    with pytest.raises(ValueError, match=r"attribution\._target_=os\.system is not called"):
        camloc.load(run)


@pytest.mark.parametrize("ends", [True, False])
def test_ctrl_c_ends_a_camera_and_interrupts_the_rest(
    trained: tuple[Path, str], here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    def opened(_: object, viewing: Viewing, _intensity: object) -> Opened:
        def batches(_: object) -> Iterator[list[Unlabelled]]:
            for number in itertools.count():
                if number == 3:
                    os.kill(os.getpid(), signal.SIGINT)
                yield [viewing(f"frame/{number}", torch.zeros(3, 40, 60, dtype=torch.uint8))]

        return Opened("source: endless", None, batches, [], [], can_go_on=ends, ends=ends, frames_per_second=None)

    monkeypatch.setattr("camloc.experiment.predict.open_source", opened)
    options = ("source=0", "save=[csv]", "device=cpu", f"hydra.run.dir={tmp_path}")
    answer = here("predict", f"checkpoint={trained[0]}", *options)
    assert answer.returncode == (130 if ends else 0), answer.stderr
    assert len(lines(tmp_path)) >= 2
    assert (tmp_path / "predictions.csv").exists() == (not ends)
    status = json.loads((tmp_path / "status.json").read_text())["status"]
    assert status == ("failed" if ends else "completed")
    assert (f"resume={tmp_path} continues" in answer.stderr) == ends


def test_one_brighter_frame_is_predicted_and_counted(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    """Training sampled 0 to 4095; a given range shows all images in it."""
    run, frames = tmp_path / "run", tmp_path / "frames"
    shutil.copytree(trained[0], run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    folder = yaml.safe_load(Path("conf/datamodule/folder.yaml").read_text())
    config["datamodule"] = {"_target_": folder["_target_"], "root": str(frames), "intensity": "auto"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    checkpoint = load_checkpoint(run / "checkpoints" / "best.ckpt")
    checkpoint[RUN_KEY] |= {"intensity": (0.0, 4095.0)}
    write_checkpoint(checkpoint, run / "checkpoints" / "best.ckpt")
    frames.mkdir()
    dark = np.tile(np.arange(64, dtype=np.uint16) * 64, (48, 1))
    bright = dark.copy()
    bright[:12] = 30_000
    for name, pixels in (("1.png", dark), ("2.png", bright), ("3.png", np.minimum(bright, 4095))):
        cv2.imwrite(str(frames / name), pixels)
    answer = predict(here, (run, ""), tmp_path / "out", f"source={frames}", "save=[]")
    found = {one.name: one for one in lines(tmp_path / "out")}
    assert {name: one.clipped for name, one in found.items()} == {"1.png": 0, "2.png": 0.25, "3.png": 0}
    assert found["2.png"].classes == found["3.png"].classes
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["clipped"], summary["unreadable"]) == (1, 0)
    note = (
        "1 images have values outside of 0 to 4095, the range of training, which are black or white; first 2.png, 25.00"
    )
    assert note in answer.stdout
    assert any(note in one for one in summary["notes"])
    assert camloc.load(run, device="cpu").localize([frames / "2.png"])[0].clipped == 0.25
    given = tmp_path / "given"
    predict(here, (run, ""), given, f"source={frames}", "save=[]", "intensity=[0,30000]")
    assert [one.clipped for one in lines(given)] == [0, 0, 0]
    assert lines(given)[1].classes != found["2.png"].classes
    Image.fromarray(np.full((8, 12), 0.5, np.float32)).save(frames / "4.tif")
    predict(here, (run, ""), tmp_path / "full", f"source={frames}", "save=[]", "intensity=full")
    assert "such as intensity=[0.5,1.5]" in str(lines(tmp_path / "full")[3].error)
