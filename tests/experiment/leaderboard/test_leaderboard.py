"""``camloc leaderboard`` on run directories whose every number is known."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped] # no types published
from PIL import Image

from camloc.experiment import cli
from camloc.experiment.leaderboard.command import main
from camloc.experiment.run_directory import ReportedRow, RunDirectory
from camloc.metrics.functional.per_image import PerImage

NUM_TEST = 100
THRESHOLDS = np.array([0.1, 0.2, 0.3])
GT_KNOWN, TOP1 = "test/localization/gt_known_error", "test/localization/top1_error"
Printed = Callable[..., list[str]]
WritesRun = Callable[..., Path]


def configuration(*, objective: str, attribution: str, backbone: str, **others: Any) -> dict[str, Any]:  # noqa: ANN401 - configured values
    found = {
        "backbone": {"_target_": f"camloc.backbones.{backbone}", "_partial_": True, "weights": None},
        "datamodule": {"_target_": "camloc.data.datasets.tiny_imagenet.TinyImageNet", "root": "data"},
        "attribution": {"_target_": f"camloc.attribution.{attribution}", "_partial_": True},
        "views": {"_target_": "camloc.attribution.views.one_view", "_partial_": True},
        "score_map": {"_target_": "camloc.attribution.score_map.score_map", "normalization": "minmax"},
        "localization": {"iou_threshold": 0.5},
    }
    if objective:
        found["objective"] = {"_target_": f"camloc.objectives.{objective}", "_partial_": True}
    return found | others


def per_image(num_images: int, hits: tuple[int, int, int], prefix: str) -> PerImage:
    """The first images are hit, as many as is said for each of three thresholds; the first half has the right class."""
    places = np.arange(num_images)
    iou = np.stack([np.where(places < count, 0.8, 0.1) for count in hits], axis=1)
    names = np.array([f"{prefix}{place}.jpg" for place in places])
    return PerImage(names, places % 5, np.where(places < num_images // 2, 0, 9), iou, THRESHOLDS)


@pytest.fixture
def write_run(tmp_path: Path) -> WritesRun:
    """Write a run: of 100 test images as many are hit as is said at each threshold, reported at the second one."""

    def write(
        name: str,
        hits: tuple[int, int, int],
        *,
        objective: str = "classification.CrossEntropy",
        attribution: str = "cam.cam",
        backbone: str = "alexnet.alexnet_gap",
        source: str = "val",
        status: str = "completed",
        prefix: str = "",
        cost: dict[str, float] | None = None,
        **config: Any,  # noqa: ANN401 - configured values
    ) -> Path:
        run = RunDirectory(tmp_path / "runs" / name)
        run.make()
        evaluated = {} if "checkpoint" not in config else {"objective": ""}
        if not evaluated:
            run.checkpoints.mkdir()
            run.best_checkpoint.touch()
        names = {"objective": objective, "attribution": attribution, "backbone": backbone} | evaluated
        run.config.write_text(yaml.safe_dump(configuration(**names, **config)))
        per_image(NUM_TEST, hits, prefix).save(run.per_image("test"))
        per_image(20, (0, 9, 0), "val").save(run.per_image("val"))
        numbers: dict[str, float | int | str] = {
            GT_KNOWN: 1 - hits[1] / NUM_TEST,
            TOP1: 1 - min(hits[1], NUM_TEST // 2) / NUM_TEST,
            "test/localization/top5_error": 1 - min(hits[1], NUM_TEST // 2) / NUM_TEST,
            f"{GT_KNOWN}_at_best": 1 - max(hits) / NUM_TEST,
            "test/classification/top1_error": 0.5,
            "test/localization/centred_box_gt_known_error": 0.37,
        }
        rows = [
            ReportedRow("val/localization/gt_known_error", "GT-known localization error", "min", "oracle"),
            ReportedRow("test/classification/top1_error", "top-1 classification error", "min"),
            ReportedRow(TOP1, "top-1 localization error", "min", source),
            ReportedRow(GT_KNOWN, "GT-known localization error", "min", source),
            ReportedRow(f"{GT_KNOWN}_at_best", "GT-known, best threshold", "min", "oracle"),
            ReportedRow("test/localization/centred_box_gt_known_error", "GT-known, best centred box", "min", "oracle"),
        ]
        run.write_metrics(
            numbers
            | {f"{GT_KNOWN}_low": 0.95 - hits[1] / NUM_TEST, f"{GT_KNOWN}_high": 1.05 - hits[1] / NUM_TEST}
            | {f"{GT_KNOWN}_at_best_low": 0.1, f"{GT_KNOWN}_at_best_high": 0.2}
            | {"test/localization/cam_threshold": 0.2, "test/localization/threshold_source": source}
            | {"test/num_images": NUM_TEST, "test/num_images_in_split": NUM_TEST}
        )
        run.write_rows(rows)
        run.status.write_text(json.dumps({"status": status, "error": "no GPU" if status == "failed" else None}))
        if cost is not None:
            run.cost.write_text(json.dumps(cost))
        return run.path

    return write


@pytest.fixture
def printed(printed_by: Callable[..., Printed]) -> Printed:
    return printed_by(main)


def test_methods_are_compared_with_plain_cam_on_their_network(write_run: WritesRun, printed: Printed) -> None:
    write_run("a", (50, 60, 70))
    write_run("b", (50, 80, 70), objective="hide_and_seek.HideAndSeek")
    runs = write_run("c", (50, 65, 66), backbone="vgg.vgg_gap").parent
    lines = printed(runs)
    title = "tiny_imagenet, 100 test images: GT-known localization error, %"
    start = next(place for place, line in enumerate(lines) if line.startswith(f"{title}, methods x networks; "))
    matrix = lines[start : lines.index(title)]
    assert "method alexnet_gap vgg_gap" in matrix
    assert "cam 40.00 35.00" in matrix
    assert "hide_and_seek + cam 20.00" in matrix
    table = lines[lines.index(title) :]
    assert "network method val oracle vs cam run" in table
    assert "best centred box 37.00 1" in table
    assert "alexnet_gap cam 40.00 30.00 1" in table
    assert "35.0 to 45.0 10.0 to 20.0" in table
    # 20 of 100 images more are hit, all of them by the second alone: the paired interval is far from zero.
    assert "alexnet_gap hide_and_seek + cam 20.00 20.00 -20.00* 2" in table
    assert "vgg_gap cam 35.00 34.00 3" in table
    assert any(line.startswith("2: ") and line.endswith("compared with run 1") for line in table)
    top1 = table[table.index("tiny_imagenet, 100 test images: top-1 localization error, %") :]
    assert "alexnet_gap cam 50.00 50.00 1" in top1  # half of the images have the right class, whatever the threshold
    assert "alexnet_gap hide_and_seek + cam 50.00 50.00 +0.00 2" in top1
    classified = top1[top1.index("tiny_imagenet, 100 test images: top-1 classification error, %") :]
    assert "network method no threshold vs cam run" in classified


def test_without_a_single_view_plain_cam_is_that_of_the_same_views(write_run: WritesRun, printed: Printed) -> None:
    crops = {"_target_": "camloc.attribution.ten_crop.TenCrop"}
    write_run("a", (50, 60, 70), views=crops)
    runs = write_run("b", (50, 80, 70), objective="cutmix.CutMix", views=crops).parent
    assert "alexnet_gap cutmix + cam, ten_crop 20.00 20.00 -20.00* 2" in printed(runs)
    write_run("c", (50, 70, 70))
    lines = printed(runs)
    assert "alexnet_gap cutmix + cam, ten_crop 20.00 20.00 -10.00* 2" in lines
    assert "alexnet_gap cam, ten_crop 40.00 30.00 +10.00* 1" in lines


def test_thresholds_from_val_and_from_pseudo_boxes_stand_side_by_side(write_run: WritesRun, printed: Printed) -> None:
    training = write_run("a", (50, 60, 70))
    write_run("b", (50, 55, 70), checkpoint=str(training), source="pseudo")
    lines = printed(training.parent)
    assert "network method val pseudo oracle vs cam run" in lines
    assert "alexnet_gap cam 40.00 45.00 30.00 1, 2" in lines


def test_an_evaluation_with_another_attribution_is_a_row_with_its_trainings_objective_and_cost(
    write_run: WritesRun, printed: Printed
) -> None:
    took = {"trained_parameters": 2_500_000, "images": 6000, "seconds": 180, "training_seconds": 120, "parameters": 1}
    training = write_run("a", (50, 60, 70), objective="cutmix.CutMix", cost=took)
    write_run(
        "b", (50, 66, 70), attribution="grad_cam.grad_cam", checkpoint=str(training / "checkpoints" / "best.ckpt")
    )
    lines = printed(training.parent)
    assert "alexnet_gap cutmix + cam 40.00 30.00 1" in lines
    assert "alexnet_gap cutmix + grad_cam 34.00 30.00 2" in lines
    costs = lines[lines.index("tiny_imagenet, 100 test images: what the trainings took") :]
    assert "alexnet_gap cutmix + cam 50 2.50 M 3.0 1" in costs
    assert "alexnet_gap cutmix + grad_cam 50 2.50 M 3.0 2" in costs


def test_networks_of_a_name_are_told_apart_by_their_options(write_run: WritesRun, printed: Printed) -> None:
    fine = {"_target_": "camloc.backbones.alexnet.alexnet_gap", "weights": None, "output_stride": 8}
    runs = [write_run("a", (50, 60, 70)), write_run("b", (50, 70, 75), backbone_config=fine)]
    values = yaml.safe_load((runs[1] / "config.yaml").read_text())
    values["backbone"] = values.pop("backbone_config")
    (runs[1] / "config.yaml").write_text(yaml.safe_dump(values))
    lines = printed(*runs)
    assert "alexnet_gap, output_stride=null cam 40.00 30.00 1" in lines
    assert "alexnet_gap, output_stride=8 cam 30.00 25.00 2" in lines


def test_other_images_are_another_table(write_run: WritesRun, printed: Printed) -> None:
    write_run("a", (50, 60, 70))
    runs = write_run("b", (50, 70, 75), objective="cutmix.CutMix", prefix="other").parent
    lines = printed(runs)
    assert lines.count("tiny_imagenet, 100 test images: GT-known localization error, %") == 2
    assert "alexnet_gap cutmix + cam 30.00 25.00 2" in lines


def objects_of(run: Path, share: float) -> None:
    """Write what a run says of its objects."""
    rows = (f"{place}.jpg,{place % 5},{share + place / 1000:.6f}" for place in range(NUM_TEST))
    (run / "predictions.csv").write_text("\n".join(("image_id,true_class,object_share", *rows)) + "\n")


def test_images_of_one_name_with_other_objects_have_a_board_of_their_own(
    write_run: WritesRun, printed: Printed
) -> None:
    objects_of(write_run("a", (50, 60, 70)), 0.25)
    objects_of(write_run("b", (50, 80, 70), objective="cutmix.CutMix"), 0.5)
    objects_of(write_run("c", (50, 70, 75), objective="hide_and_seek.HideAndSeek"), 0.25)
    runs = write_run("d", (50, 65, 70), objective="adl.ADL").parent  # which kept no list of its objects
    lines = printed(runs)
    title = "tiny_imagenet, 100 test images: GT-known localization error, %"
    assert lines.count(title) == 2
    assert "alexnet_gap cutmix + cam 20.00 20.00 2" in lines  # without a difference to plain CAM
    assert "alexnet_gap hide_and_seek + cam 30.00 25.00 -10.00* 3" in lines
    assert any(line.startswith("alexnet_gap adl + cam 35.00 30.00 ") for line in lines)
    said = "images share names with those of run 1, but not their objects"
    assert [line[0] for line in lines if line.endswith(said)] == ["2"]


def test_an_evaluation_at_its_checkpoints_threshold_has_its_numbers_and_no_difference(
    write_run: WritesRun, printed: Printed
) -> None:
    training = write_run("a", (50, 60, 70))
    evaluation = write_run("b", (50, 80, 70), checkpoint=str(training), attribution="grad_cam.grad_cam")
    assert "alexnet_gap grad_cam 20.00 20.00 -20.00* 2" in printed(training.parent)
    (evaluation / "per_image" / "val.npz").unlink()  # threshold_from=checkpoint
    lines = printed(training.parent)
    assert "alexnet_gap grad_cam 20.00 20.00 2" in lines
    assert not any(line.startswith("left out") for line in lines)
    (said,) = (line for line in lines if line.startswith("2: "))
    assert said.endswith("not compared: it has not measured val, evaluate it with threshold_from=val")


def test_a_directory_without_runs_is_named_and_left_out(write_run: WritesRun, printed: Printed, tmp_path: Path) -> None:
    run, empty = write_run("a", (50, 60, 70)), tmp_path / "empty"
    empty.mkdir()
    lines = printed(empty, run, tmp_path / "gone")
    assert "alexnet_gap cam 40.00 30.00 1" in lines
    help_ = "give run directories, or one that holds them"
    assert f"left out: {empty}: holds no run directory; {help_}" in lines
    assert f"left out: {tmp_path / 'gone'}: is no directory; {help_}" in lines
    assert printed(empty, code=1) == [f"no leaderboard: {empty} holds no run directory; {help_}"]


def test_failed_and_wrong_runs_are_named_and_left_out(write_run: WritesRun, printed: Printed, tmp_path: Path) -> None:
    runs = write_run("a", (50, 60, 70)).parent
    write_run("b", (50, 60, 70), status="failed")
    damaged = write_run("c", (50, 60, 70))
    metrics = json.loads((damaged / "metrics.json").read_text())
    (damaged / "metrics.json").write_text(json.dumps(metrics | {GT_KNOWN: 0.1}))
    sources = write_run("d", (50, 60, 70))
    (sources / "rows.json").write_text((sources / "rows.json").read_text().replace('"val"', '"a guess"'))
    submission = write_run("e", (50, 60, 70))
    values = yaml.safe_load((submission / "config.yaml").read_text())
    (submission / "config.yaml").write_text(yaml.safe_dump(values | {"backbone": {}, "submission": "x.txt"}))
    (tmp_path / "runs" / "f").mkdir()
    (tmp_path / "runs" / "f" / "status.json").write_text('{"status": "completed"}')
    left_out = [line for line in printed(runs) if line.startswith("left out: ")]
    assert len(left_out) == 5
    assert f"left out: {runs / 'b'}: its status is failed: no GPU" in left_out
    assert any("but per_image/ gives 0.4 at IoU 0.5; evaluate the run again" in line for line in left_out)
    assert any("has a threshold from 'a guess'" in line for line in left_out)
    assert any(line.endswith("no network is known of them") for line in left_out)
    assert f"left out: {runs / 'f'}: it has no config.yaml" in left_out


def test_a_training_that_is_gone_is_said(write_run: WritesRun, printed: Printed, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    lines = printed(write_run("a", (50, 60, 70), checkpoint=str(gone)))
    assert any(line.endswith(f"how it was trained is not known, for {gone} cannot be read") for line in lines)
    assert "alexnet_gap unknown training + cam 40.00 30.00 1" in lines


def test_a_training_is_found_from_anywhere_and_after_a_move(
    write_run: WritesRun, printed: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run("training", (50, 60, 70), objective="adl.AttentionDropout")
    write_run("evaluation", (50, 80, 70), attribution="grad_cam.grad_cam", checkpoint="runs/training")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "runs").rename(elsewhere / "runs")
    monkeypatch.chdir(tmp_path.root)
    lines = printed(elsewhere / "runs")
    assert "alexnet_gap adl + cam 40.00 30.00 2" in lines
    assert "alexnet_gap adl + grad_cam 20.00 20.00 1" in lines


def test_the_method_is_read_in_a_narrow_terminal(
    write_run: WritesRun, printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("alexnet.alexnet_gap", "vgg.vgg_gap", "googlenet.googlenet_gap", "resnet.resnet50_gap", "nin.nin"):
        runs = write_run(name, (50, 60, 70), backbone=name).parent
    monkeypatch.setenv("COLUMNS", "60")
    lines = printed(runs)
    assert "cam 40.00 40.00 40.00 40.00 40.00" in lines
    assert not any("…" in line for line in lines)


def test_a_checkpoint_that_was_chosen_on_pseudo_boxes_is_said(write_run: WritesRun, printed: Printed) -> None:
    data = {"_target_": "camloc.data.datasets.tiny_imagenet.TinyImageNet", "pseudo_boxes": "border_contrast"}
    lines = printed(write_run("a", (50, 60, 70), source="pseudo", datamodule=data))
    assert any(line.startswith("1: ") and line.endswith("its checkpoint was chosen on pseudo boxes") for line in lines)


def test_published_numbers_stand_beside_runs_of_the_same_data_and_network(
    write_run: WritesRun, printed: Printed
) -> None:
    run = write_run("a", (50, 60, 70), backbone="vgg.vgg_gap", datamodule={"_target_": "camloc.data.datasets.cub.Cub"})
    lines = printed(run)
    assert not any("published (" in line for line in lines)  # of 100 images, not of CUB's 5,794
    metrics = json.loads((run / "metrics.json").read_text())
    whole = {"test/num_images": 5794, "test/num_images_in_split": 5794}
    (run / "metrics.json").write_text(json.dumps(metrics | whole))
    lines = printed(run)
    assert "network method val oracle not stated vs cam run" in lines
    assert "vgg_gap CAM, published (gyguo's list of WSOL papers) 44.00" in lines


def test_the_whole_list_of_published_numbers(printed: Printed) -> None:
    lines = printed("--published")
    assert "data network method metric % threshold source" in lines
    assert "imagenet vgg_gap CAM GT-known localization accuracy 59 not stated gyguo's list of WSOL papers" in lines
    assert "voc07 vit_small_patch16_224 TokenCut CorLoc 68.8 none Wang et al., README of TokenCut" in lines


def test_files(write_run: WritesRun, printed: Printed, tmp_path: Path) -> None:
    took = {"trained_parameters": 2_500_000, "images": 6000, "seconds": 180, "training_seconds": 120}
    write_run("a|<b>", (50, 60, 70), cost=took)
    runs = write_run("b", (50, 80, 70), objective="cutmix.CutMix").parent
    printed(runs, "--markdown", tmp_path / "board.md", "--csv", tmp_path / "board.csv", "--html", tmp_path / "page")
    text = (tmp_path / "board.md").read_text()
    assert "| alexnet\\_gap | cam | 40.00 (35.0 to 45.0) | 30.00 (10.0 to 20.0) |  | 1 |" in text
    assert "a\\|\\<b\\>" in text
    with (tmp_path / "board.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["method"], row["metric"], row["threshold_source"]): row for row in rows}
    ours = found["cutmix + cam", GT_KNOWN, "val"]
    assert (float(ours["value"]), float(ours["low"]), float(ours["high"])) == pytest.approx((0.2, 0.15, 0.25))
    assert float(ours["minus_cam"]) == pytest.approx(-0.2)
    assert -0.3 < float(ours["minus_cam_low"]) < -0.2 < float(ours["minus_cam_high"]) < -0.1
    assert found["cutmix + cam", GT_KNOWN, "oracle"]["minus_cam"] == ""
    plain = found["cam", GT_KNOWN, "val"]
    assert (plain["images_per_second"], plain["trained_parameters"], plain["minutes"]) == ("50.0", "2500000", "3.0")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "a|&lt;b&gt;" in page
    assert "a|<b>" not in page
    assert Image.open(tmp_path / "page" / "images" / "board0.png").width == 1280


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give run directories, or --published; usage: camloc leaderboard RUN..."),
        (["--published", "x"], "--published takes no run"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_wrong_arguments_are_said_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    assert said in capsys.readouterr().err


def test_without_a_run_there_is_no_leaderboard(write_run: WritesRun, printed: Printed, tmp_path: Path) -> None:
    failed = write_run("a", (50, 60, 70), status="failed")
    assert printed(failed, code=1) == [
        f"no leaderboard: none of 1 run directories can be compared: {failed}: its status is failed: no GPU"
    ]
    assert printed(tmp_path / "none", code=1)[0].startswith(f"no leaderboard: {tmp_path / 'none'} is no directory")


def test_the_command_line_knows_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["camloc", "leaderboard", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "--published" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("rows.json", "[1]", "rows.json has an entry that is no number with its title and direction"),
        ("rows.json", '[{"key": 5, "title": "x", "direction": "min"}]', "rows.json has an entry that is no number"),
        (
            "rows.json",
            '[{"key": "k", "title": "x", "direction": "min", "new": ""}]',
            "rows.json has an entry that is no",
        ),
        ("metrics.json", '{"a":' + "[" * 100_000, "its metrics.json is missing or cannot be read"),
        ("metrics.json", {GT_KNOWN: 10**400}, "metrics.json has "),
        ("metrics.json", {GT_KNOWN: float("nan")}, "its metrics.json has nan under "),
        ("metrics.json", {GT_KNOWN: True}, "metrics.json has True under "),
        ("metrics.json", {GT_KNOWN: -5}, "metrics.json has -5 under "),
        ("metrics.json", {f"{GT_KNOWN}_low": float("inf")}, "its metrics.json has inf under "),
        ("metrics.json", {"test/num_images": True}, "its metrics.json has True under test/num_images"),
        (
            "cost.json",
            {"images": 10**400, "trained_parameters": 1, "seconds": 1, "training_seconds": 1},
            "its cost.json",
        ),
        ("config.yaml", {"views": "abc"}, "its config.yaml has 'abc' under views, which is no part"),
        ("config.yaml", {"score_map": [1]}, "its config.yaml has [1] under score_map"),
        ("config.yaml", {"objective": "abc"}, "the config.yaml of its training has 'abc' under objective"),
        ("status.json", "", "its status is not known, its status.json is missing or damaged"),
        ("status.json", '{"status": "\\u001b[31mRED"}', r"its status is '\x1b[31mRED'"),
    ],
)
@pytest.mark.parametrize("outcomes", [False, True])
def test_a_damaged_file_costs_its_run_alone(
    write_run: WritesRun, printed: Printed, file: str, content: str | dict[str, Any], said: str, outcomes: bool
) -> None:
    runs = write_run("a", (50, 60, 70)).parent
    damaged = write_run("b", (50, 60, 70))
    if not outcomes:
        (damaged / "per_image" / "test.npz").unlink()
    before = yaml.safe_load((damaged / file).read_text()) if isinstance(content, dict) and file != "cost.json" else {}
    (damaged / file).write_text(content if isinstance(content, str) else json.dumps(before | content))
    lines = printed(runs)
    assert "alexnet_gap cam 40.00 30.00 1" in lines
    (left_out,) = (line for line in lines if line.startswith("left out: "))
    assert left_out.startswith(f"left out: {damaged}: ")
    if outcomes is False or file != "metrics.json":
        assert said in left_out


def test_what_cannot_be_written_is_said_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, link = tmp_path / "file.md", tmp_path / "link.md"
    file.touch()
    link.symlink_to(file)
    os.mkfifo(tmp_path / "fifo")

    def refused(*options: object) -> str:
        with pytest.raises(SystemExit) as exited:
            main([*map(str, options)])
        assert exited.value.code == 1
        return capsys.readouterr().err.partition(";")[0]

    for name in ("fifo", "link.md", "."):
        assert refused("RUN", "--csv", tmp_path / name).endswith("is no regular file")
    assert "--csv . is no regular file" in refused("RUN", "--csv", "")
    assert "lies in a folder that does not exist" in refused("RUN", "--markdown", tmp_path / "gone" / "x.md")
    assert "file.md is no folder" in refused("RUN", "--html", file)
    assert "name the same file" in refused("RUN", "--markdown", file, "--csv", file)
    assert "--published takes no --markdown, --csv or --html" in refused("--published", "--csv", file)
    assert link.is_symlink()
    assert (tmp_path / "fifo").is_fifo()


def test_names_are_no_orders_to_the_terminal_and_no_formulas(
    write_run: WritesRun, printed: Printed, tmp_path: Path
) -> None:
    run = write_run("a\x1b[31m", (50, 60, 70))
    values = yaml.safe_load((run / "config.yaml").read_text())
    values["backbone"]["name"] = r"$\foo$"
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    lines = printed(run, "--html", tmp_path / "page")
    assert not any("\x1b" in line for line in lines)
    assert r"$\foo$" in (tmp_path / "page" / "index.html").read_text()
