"""What ``logger=wandb`` leaves on disk, read back from the run's own file; nothing here needs a network."""

import csv
import json
import math
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from runpy import run_path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined] # generated while it is imported
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from camloc.boxes import iou
from camloc.data.datasets.textures import Textures
from camloc.data.loading.dataset import EvalDataset
from camloc.data.loading.sample import EvalSample
from camloc.experiment.entry import prepare
from camloc.metrics.functional.per_image import PerImage
from camloc.metrics.functional.threshold_choice import middle_of_best

Entry = Callable[..., CompletedProcess[str]]
SharedOnce = Callable[[str, Callable[[Path], None]], Path]

ROOT = Path(__file__).parent.parent
TREE = run_path(str(Path(__file__).with_name("several_labels_tree.py")))
COUNT = 5
IMAGES, HEATMAPS, CURVE = "val_images/boxes", "val_images/heatmaps", "val_curve/gt_known_error_table"
OFFLINE = ("logger=wandb", "logger.wandb.mode=offline", f"callbacks.wandb_panels.count={COUNT}")


class OfflineRun:
    """The only W&B run of a run directory."""

    def __init__(self, directory: Path) -> None:
        (self.folder,) = (directory / "wandb").glob("offline-run-*")
        (file,) = self.folder.glob("*.wandb")
        records = [(record.WhichOneof("record_type"), record) for record in _records(file.read_bytes())]
        (self.run,) = [record.run for kind, record in records if kind == "run"]
        self.exit_codes = [record.exit.exit_code for kind, record in records if kind == "exit"]
        self.history = [_nested({}, record.history.item) for kind, record in records if kind == "history"]
        self.config: dict[str, Any] = _nested({}, self.run.config.update)
        self.summary: dict[str, Any] = {}
        for kind, record in records:
            if kind == "config":
                _nested(self.config, record.config.update)
            if kind == "summary":
                _nested(self.summary, record.summary.update)

    def epoch(self, epoch: int) -> dict[str, Any]:
        """All that was logged of an epoch, which stands in several rows."""
        rows = [row for row in self.history if row["epoch"] == epoch]
        assert len({row["trainer/global_step"] for row in rows}) == 1
        return {key: value for row in rows for key, value in row.items() if not key.startswith("_")}

    def image(self, name: str) -> np.ndarray:
        return np.array(Image.open(self.folder / "files" / name))

    def json(self, name: str) -> Any:  # noqa: ANN401 - whatever is in it
        return json.loads((self.folder / "files" / name).read_text())

    def layers(self, logged: Mapping[str, Any], index: int) -> dict[str, list[dict[str, Any]]]:
        found = {name: self.json(file["path"]) for name, file in logged["all_boxes"][index].items()}
        return {name: content["box_data"] for name, content in found.items()}


def _records(data: bytes) -> Iterator[Record]:
    # LevelDB's log format: blocks of 32 KiB, a record in one piece (1) or several (2, 3 and at last 4).
    assert data[:4] == b":W&B"
    position, content = 7, b""
    while position + 7 <= len(data):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        content += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(content)
            content = b""
            yield record


def _nested(into: dict[str, Any], items: Any) -> dict[str, Any]:  # noqa: ANN401 - three kinds of items
    for item in items:
        *parents, last = item.nested_key or [item.key]
        folder = into
        for parent in parents:
            folder = folder.setdefault(parent, {})
        _merge(folder, last, json.loads(item.value_json))
    return into


def _merge(folder: dict[str, Any], name: str, value: Any) -> None:  # noqa: ANN401 - anything of JSON's
    # As W&B's own reader does: an object adds to one that is there.
    if isinstance(value, dict):
        inside = folder.setdefault(name, {})
        for key, inner in value.items():
            _merge(inside, key, inner)
    else:
        folder[name] = value


def epochs(directory: Path) -> list[dict[str, float]]:
    with (directory / "metrics.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def corners(box: Mapping[str, Any]) -> list[float]:
    assert box["domain"] == "pixel"
    return [box["position"][name] for name in ("minX", "minY", "maxX", "maxY")]


@pytest.fixture(scope="session")
def logged(entry: Entry, small: tuple[str, ...], shared_once: SharedOnce) -> Path:
    def train(run: Path) -> None:
        finished = entry("train.py", *small, *OFFLINE, "logger.wandb.tags=[paper,small]", f"hydra.run.dir={run}")
        assert finished.returncode == 0, finished.stderr

    return shared_once("logged", train)


@pytest.fixture(scope="module")
def run(logged: Path) -> OfflineRun:
    return OfflineRun(logged)


@pytest.fixture(scope="module")
def chosen(logged: Path) -> list[EvalSample]:
    """The images that must be shown, as the network sees them."""
    options = OmegaConf.to_container(OmegaConf.load(logged / "config.yaml").datamodule)
    assert isinstance(options, dict)
    datamodule = Textures(**{str(name): value for name, value in options.items() if name != "_target_"})
    dataset = EvalDataset(datamodule.split("val"), datamodule.eval_transform)
    order = torch.randperm(18, generator=torch.Generator().manual_seed(0))
    return [dataset[position] for position in order[:COUNT].tolist()]


@pytest.mark.integration
def test_every_epoch_holds_the_numbers_of_metrics_csv(logged: Path, run: OfflineRun) -> None:
    rows = epochs(logged)
    assert len(rows) == 2
    for row in rows:
        found = run.epoch(int(row["epoch"]))
        # W&B counts steps from 0.
        assert found.pop("trainer/global_step") == row.pop("step") - 1
        numbers = {name: value for name, value in found.items() if not isinstance(value, dict)}
        assert numbers == pytest.approx(row, rel=1e-6)
        assert found.keys() - numbers.keys() == {IMAGES, HEATMAPS, CURVE}


@pytest.mark.integration
def test_the_curve_of_every_epoch_is_logged_and_lies_on_disk(logged: Path, run: OfflineRun) -> None:
    for row in epochs(logged):
        table = run.epoch(int(row["epoch"]))[CURVE]
        points = run.json(table["path"])["data"]
        assert table["nrows"] == len(points) == 300
        assert {name for _, name, _ in points} == {"IoU 0.3", "IoU 0.5", "IoU 0.7"}
        curve = {threshold: error for threshold, name, error in points if name == "IoU 0.5"}
        assert sorted(curve) == pytest.approx([index / 100 for index in range(100)])
        least = min(curve.values())
        assert least == pytest.approx(row["val/localization/gt_known_error_at_best"])
        at = int(middle_of_best(-np.array([curve[threshold] for threshold in sorted(curve)])))
        assert sorted(curve)[at] == pytest.approx(row["val/localization/best_cam_threshold"])
    assert "val_curve/gt_known_error" in run.config["_wandb"]["visualize"]


@pytest.mark.integration
def test_the_same_images_are_shown_in_every_epoch_as_the_network_sees_them(
    run: OfflineRun, chosen: list[EvalSample]
) -> None:
    for epoch in (0, 1):
        images, heatmaps = run.epoch(epoch)[IMAGES], run.epoch(epoch)[HEATMAPS]
        assert images["count"] == heatmaps["count"] == COUNT
        for index, sample in enumerate(chosen):
            shown = run.image(images["filenames"][index])
            assert (shown == sample.image.permute(1, 2, 0).numpy()).all()
            assert images["captions"][index].startswith(f"{sample.image_id}: true: ")
            assert images["captions"][index] == heatmaps["captions"][index]
            heatmap = run.image(heatmaps["filenames"][index])
            assert heatmap.shape == shown.shape
            assert (heatmap != shown).any()
    first, second = (run.epoch(epoch)[HEATMAPS]["filenames"] for epoch in (0, 1))
    assert any((run.image(a) != run.image(b)).any() for a, b in zip(first, second, strict=True))


@pytest.mark.integration
def test_true_boxes_are_those_of_the_images_with_their_class(run: OfflineRun, chosen: list[EvalSample]) -> None:
    names = {int(sample.target): Textures(36, 18, 20).class_names[int(sample.target)] for sample in chosen}
    for key in (IMAGES, HEATMAPS):
        found = run.epoch(1)[key]
        for index, sample in enumerate(chosen):
            boxes = run.layers(found, index)["ground_truth"]
            np.testing.assert_allclose([corners(box) for box in boxes], sample.gt_boxes[0].clamp(0, 64), atol=1e-4)
            assert {box["class_id"] for box in boxes} == {sample.target}
            assert {box["box_caption"] for box in boxes} == {names[int(sample.target)]}
        for layer in ("ground_truth", "prediction"):
            labels = run.config["_wandb"]["bounding_box/class_labels"][f"{key}_wandb_delimeter_{layer}"]["value"]
            assert labels == {str(target): name for target, name in names.items()}


@pytest.mark.integration
def test_predicted_boxes_have_the_iou_that_the_evaluation_found(
    logged: Path, run: OfflineRun, chosen: list[EvalSample]
) -> None:
    # Of the best epoch: per_image/val.npz was written by its checkpoint.
    best = run.summary["best/epoch"]
    outcome = PerImage.load(logged / "per_image" / "val.npz")
    at = int(np.abs(outcome.cam_thresholds - epochs(logged)[best]["val/localization/cam_threshold"]).argmin())
    for index, sample in enumerate(chosen):
        (box,) = run.layers(run.epoch(best)[IMAGES], index)["prediction"]
        expected = outcome.iou[outcome.image_ids == sample.image_id, at].item()
        found = iou(torch.tensor([corners(box)]), sample.gt_boxes[0]).max().item()
        assert found == pytest.approx(expected, abs=0.02)  # convolutions differ in the last digits by batch size
        assert box["scores"]["IoU"] == pytest.approx(found, abs=1e-6)
        assert f"IoU {math.floor(100 * found) / 100:.2f}" in run.epoch(best)[IMAGES]["captions"][index]


@pytest.mark.integration
def test_the_configuration_is_the_resolved_one(logged: Path, run: OfflineRun) -> None:
    config = {name: value for name, value in run.config.items() if name != "_wandb"}
    prepare()
    written = OmegaConf.to_container(OmegaConf.load(logged / "config.yaml"), resolve=True)
    assert isinstance(written, dict)
    assert written.pop("camloc_version")
    assert config == written


@pytest.mark.integration
def test_the_summary_holds_the_best_epoch_and_the_final_numbers(logged: Path, run: OfflineRun) -> None:
    errors = [row["val/localization/top1_error"] for row in epochs(logged)]
    assert run.summary["best/epoch"] == max(epoch for epoch, error in enumerate(errors) if error == min(errors))
    assert run.summary["best/val/localization/top1_error"] == pytest.approx(min(errors))
    final = json.loads((logged / "metrics.json").read_text())
    assert final["test/localization/threshold_source"] == "val"
    assert {name: run.summary.get(name) for name in final} == final


@pytest.mark.integration
def test_the_run_has_its_project_and_tags_and_has_ended_well(run: OfflineRun) -> None:
    assert run.run.project == "camloc"
    assert list(run.run.tags) == ["paper", "small"]
    assert run.exit_codes == [0]


@pytest.mark.integration
def test_showing_images_does_not_change_the_training(logged: Path, trained: tuple[Path, str]) -> None:
    with_panels, without = (
        torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True) for directory in (logged, trained[0])
    )
    assert all(torch.equal(value, with_panels["state_dict"][name]) for name, value in without["state_dict"].items())
    assert (logged / "metrics.json").read_text() == (trained[0] / "metrics.json").read_text()


@pytest.mark.integration
def test_a_failed_training_ends_its_run_with_1(entry: Entry, small: tuple[str, ...], tmp_path: Path) -> None:
    failed = entry("train.py", *small, *OFFLINE, "optimizer.lr=1e30", f"hydra.run.dir={tmp_path / 'run'}")
    assert failed.returncode == 1
    assert "is not finite: the training has diverged" in failed.stderr
    assert OfflineRun(tmp_path / "run").exit_codes == [1]


@pytest.mark.integration
def test_two_processes_started_by_a_sweeps_agent_are_one_run_with_the_agents_id(
    entry: Entry, small: tuple[str, ...], run: OfflineRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("wandb_version: 1\noptimizer.lr:\n  value: 0.02\n")
    for name, value in {"SWEEP_ID": "s1", "RUN_ID": "chosen", "SWEEP_PARAM_PATH": str(values)}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    directory = tmp_path / "run"
    options = ("trainer.devices=2", "optimizer.lr=0.02", "callbacks.gallery=null")
    finished = entry("train.py", *small, *OFFLINE, *options, f"hydra.run.dir={directory}")
    assert finished.returncode == 0, finished.stderr
    shared = OfflineRun(directory)
    assert shared.run.run_id == (directory / "wandb_run_id.txt").read_text().strip() == "chosen"
    assert shared.run.sweep_id == "s1"
    assert shared.config["optimizer.lr"] == shared.config["optimizer"]["lr"] == 0.02
    assert shared.summary[SWEEP["metric"]["name"]] == pytest.approx(
        json.loads((directory / "metrics.json").read_text())[SWEEP["metric"]["name"]]
    )
    for epoch in (0, 1):  # images of both processes' shares
        one, two = (shown.epoch(epoch)[IMAGES]["filenames"] for shown in (run, shared))
        assert len(two) == COUNT
        for a, b in zip(one, two, strict=True):
            assert (run.image(a) == shared.image(b)).all()


@pytest.mark.integration
def test_images_without_true_boxes_are_shown_with_the_predicted_ones(
    entry: Entry, small: tuple[str, ...], tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in ("dull", "bright"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for index in range(3):
                pixels = generator.integers(0, 100, (70, 90, 3), dtype=np.uint8) + (100 if name == "bright" else 0)
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "data" / split / name / f"{index}.png")
    mine = ("datamodule=folder", f"datamodule.root={tmp_path / 'data'}", "datamodule.num_workers=0")
    general = [o for o in small if not o.startswith(("datamodule.num_", "datamodule.image_size"))]
    finished = entry("train.py", *general, *mine, *OFFLINE, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path / 'run'}")
    assert finished.returncode == 0, finished.stderr
    run = OfflineRun(tmp_path / "run")
    found = run.epoch(0)
    assert CURVE not in found
    assert found[IMAGES]["count"] == COUNT
    for index, caption in enumerate(found[IMAGES]["captions"]):
        assert "no true box is known" in caption
        layers = run.layers(found[IMAGES], index)
        assert layers["ground_truth"] == []
        assert [box["scores"] for box in layers["prediction"]] == [{}]
    assert run.summary["best/val/classification/top1_error"] == found["val/classification/top1_error"]


@pytest.mark.integration
def test_every_pair_of_an_image_with_several_labels_is_shown(
    entry: Entry, small: tuple[str, ...], tmp_path: Path
) -> None:
    root = TREE["write_tree"](tmp_path / "data")
    mine = ("datamodule=annotated", f"datamodule.root={root}", "datamodule.objectless_classes=[good]")
    general = [o for o in small if not o.startswith(("datamodule.num_", "datamodule.image_size", "trainer.max_epochs"))]
    options = (*mine, *general, *OFFLINE, "objective=multi_label", "trainer.max_epochs=1", "datamodule.num_workers=0")
    finished = entry("train.py", *options, f"hydra.run.dir={tmp_path / 'run'}")
    assert finished.returncode == 0, finished.stderr
    run = OfflineRun(tmp_path / "run")
    found = run.epoch(0)
    order = torch.randperm(TREE["COUNTS"]["val"], generator=torch.Generator().manual_seed(0))[:COUNT].tolist()
    shown: list[tuple[int, str]] = []
    for index in order:
        first_object = TREE["NUM_NEGATIVE"] + TREE["GOOD"]
        names = {name for name, _ in TREE["objects"](index)} if index >= first_object else {"good"}
        shown += [(index, name) for name in sorted(names) if index >= TREE["NUM_NEGATIVE"]]
    assert {"good"} < {name for _, name in shown}
    for key in (IMAGES, HEATMAPS):
        captions = found[key]["captions"]
        assert len(captions) == found[key]["count"] == len(shown) != COUNT
        for pair, (index, name) in enumerate(shown):
            assert captions[pair].startswith(f"images/val{index:02}.png: true: {name}")
            layers = run.layers(found[key], pair)
            assert {box["box_caption"] for box in layers["ground_truth"]} == ({name} - {"good"})
            assert len(layers["ground_truth"]) == sum(label == name for label, _ in TREE["objects"](index)) * (
                name != "good"
            )
            assert len(layers["prediction"]) <= (name != "good")
    assert "best/val/localization/top1_error" in run.summary


def test_wandb_is_imported_only_where_it_is_logged_to() -> None:
    code = "import sys, camloc.callbacks.wandb_panels, camloc.experiment.train; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


SWEEP: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(ROOT / "sweep.yaml"))  # type: ignore[assignment] # a dict


@pytest.mark.parametrize("end", [0, -1])
def test_the_command_of_the_sweep_composes(end: int) -> None:
    sample = {
        name: {"value": options["values"][end] if "values" in options else options[("min", "max")[end]]}
        for name, options in SWEEP["parameters"].items()
    }
    arguments = create_sweep_command_args({"args": sample})["args_no_hyphens"]
    assert SWEEP["command"] == ["${env}", "python", "train.py", "${args_no_hyphens}", "logger=wandb"]
    prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides=[*arguments, "logger=wandb"])
    assert config.logger.wandb.project == SWEEP["project"]
    for name, given in sample.items():
        found = OmegaConf.select(config, name)
        assert found == (json.loads(given["value"]) if isinstance(given["value"], str) else given["value"]), name
