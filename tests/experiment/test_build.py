"""Configuration to objects."""

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning
import torch
from hydra.errors import InstantiationException
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch import Tensor

from camloc.attribution.views import Flip
from camloc.callbacks.epoch_csv import EpochCsv
from camloc.callbacks.gallery import Gallery
from camloc.data.annotations.problems import DataProblems
from camloc.data.loading.split import Split
from camloc.experiment.build import (
    build_callbacks,
    build_datamodule,
    build_measures,
    build_predictor,
    build_trainer,
    build_training,
    check_trainer,
    instantiate_all,
    load_splits,
    refuse_other_labels,
)
from camloc.experiment.checkpoint import WholeCheckpoints
from camloc.experiment.interruption import SIGNALS
from camloc.experiment.run_directory import RunDirectory
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.objectives.classification import CrossEntropy

HERE = Path(__file__).parent
SQUARES = run_path(str(HERE / "squares.py"))
config: Callable[..., DictConfig] = SQUARES["config"]
SCORE_MAP = "camloc.attribution.score_map.score_map"
CAM = torch.tensor([[[-1.0, 0.0, 3.0]]])


@pytest.fixture(autouse=True)
def _squares_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


def test_entries_that_are_null_are_left_out() -> None:
    group = OmegaConf.create({"a": {"_target_": "builtins.dict", "x": 1}, "b": None})
    assert instantiate_all(group) == {"a": {"x": 1}}
    assert instantiate_all(None) == {}


def test_the_splits_are_loaded_at_once() -> None:
    datamodule = build_datamodule(config(), ("val", "test"))
    assert datamodule._splits.keys() == {"val", "test"}
    with pytest.raises(InstantiationException, match="batch_size must be at least 1"):
        build_datamodule(config(datamodule={"_target_": "squares.SquaresData", "batch_size": 0}), ("val",))


def test_labels_that_an_objective_is_not_for_are_refused_with_what_helps() -> None:
    data = SQUARES["data"]()
    refuse_other_labels(config(), data)
    data.several_labels = True
    with pytest.raises(ValueError, match=r"CrossEntropy trains on one label per image; use objective=multi_label$"):
        refuse_other_labels(config(), data)
    data.one_label_hint = "several_labels=false does it"
    with pytest.raises(ValueError, match=r"image; several_labels=false does it, or use objective=multi_label$"):
        refuse_other_labels(config(), data)


def test_one_class_teaches_a_cross_entropy_nothing() -> None:
    one = SQUARES["data"](class_names=["red"])
    with pytest.raises(ValueError, match=r"^red is the only class, .*CrossEntropy learns nothing .*objective=multi_l"):
        refuse_other_labels(config(), one)
    boxes = {"_target_": "camloc.objectives.box_regression.BoxRegression", "_partial_": True}
    refuse_other_labels(config(objective=boxes), one)
    one.several_labels = True  # the others are negative
    refuse_other_labels(config(objective={"_target_": "camloc.objectives.multi_label.MultiLabel"}), one)


def test_what_is_wrong_in_the_annotation_of_all_splits_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object, name: str) -> Split:
        raise DataProblems([("all.csv, line 1", "no header"), (f"{name}.csv, line 2", "no box")])

    datamodule = build_datamodule(config(), ())
    monkeypatch.setattr(type(datamodule), "load_split", broken)
    with pytest.raises(DataProblems) as refused:
        load_splits(datamodule, config(), ("val", "test"))
    assert refused.value.problems == [
        ("all.csv, line 1", "no header"),
        ("val.csv, line 2", "no box"),
        ("test.csv, line 2", "no box"),
    ]


def test_measures_are_the_configured_ones() -> None:
    largest = "camloc.localization.threshold_sweep.largest_component_boxes"
    given = config(box_rule={"_target_": largest, "_partial_": True})
    given.localization.score_maps = {
        "val_threshold": {"_target_": SCORE_MAP, "_partial_": True, "normalization": "max"}
    }
    measures = build_measures(given)
    assert list(measures.protocols) == ["classification", "val_threshold"]
    assert measures.score_map(CAM, (1, 3)).tolist() == [[[0, 0.25, 1]]]
    assert measures.own_score_maps["val_threshold"](CAM, (1, 3)).tolist() == [[[0, 0, 1]]]
    assert measures.iou_threshold == 0.5
    assert isinstance(measures.box_rule, partial)


def test_without_a_box_rule_the_largest_component_is_boxed() -> None:
    assert build_measures(config()).box_rule is largest_component_boxes


def test_a_source_may_bring_its_own_score_map() -> None:
    def own(cam: Tensor, size: tuple[int, int]) -> Tensor:
        return cam.new_zeros(len(cam), *size)

    assert build_measures(config(score_map=None), own).score_map is own


def test_at_least_one_protocol_is_needed() -> None:
    given = config()
    given.localization.protocols = {"val_threshold": None}
    with pytest.raises(ValueError, match=r"localization\.protocols is empty; choose one or several"):
        build_measures(given)


def test_the_network_decides_the_input_size_and_has_as_many_classes_as_the_data() -> None:
    given = config(datamodule={"_target_": "squares.SquaresData", "class_names": ["red", "green", "blue"]})
    datamodule = build_datamodule(given, ("val",))
    predictor = build_predictor(given, datamodule)
    assert datamodule.input_size == 8
    assert predictor.backbone.num_classes == 3
    assert predictor.memory_format is torch.contiguous_format
    found = predictor.predict(SQUARES["batch"]([0, 1], 0.45))
    assert found.cams is not None
    assert found.cams[0, 2, 1] == 1
    given.classifier.channels_last = True
    assert build_predictor(given, datamodule).memory_format is torch.channels_last


def test_views_go_around_the_attribution() -> None:
    given = config(views={"_target_": "camloc.attribution.views.Flip", "_partial_": True})
    predictor = build_predictor(given, build_datamodule(given, ("val",)))
    assert isinstance(predictor.attribution, Flip)
    assert isinstance(predictor.attribution.attribution, partial)


def test_the_objective_knows_how_many_images_each_class_has() -> None:
    given = config(optimizer={"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5})
    given.objective.class_weights = "balanced"
    given.classifier.head_lr_multiplier = 2.0
    datamodule = build_datamodule(given, ("train",))
    module = build_training(given, build_predictor(given, datamodule), datamodule)
    assert isinstance(module.objective, CrossEntropy)
    assert module.objective.class_weights is not None
    assert module.objective.class_weights.tolist() == [1, 1]
    optimizer: Any = module.configure_optimizers()
    assert {group["lr"] for group in optimizer.param_groups} == {0.5, 1.0}
    assert module.scheduler is None


def test_callbacks_are_completed_with_the_run(tmp_path: Path) -> None:
    given = config()
    given.callbacks.plain = {"_target_": "pytorch_lightning.Callback"}
    given.callbacks.off = None
    csv, gallery, plain = build_callbacks(given, RunDirectory(tmp_path))
    assert isinstance(csv, EpochCsv)
    assert csv.path == tmp_path / "metrics.csv"
    assert isinstance(gallery, Gallery)
    assert gallery.folder == tmp_path / "report" / "gallery"
    assert type(plain) is Callback


def test_the_trainer_and_its_loggers_write_below_the_run_directory(tmp_path: Path) -> None:
    given = config(logger={"csv": {"_target_": "pytorch_lightning.loggers.CSVLogger", "_partial_": True}, "off": None})
    callback = Callback()
    trainer = build_trainer(given, RunDirectory(tmp_path), [callback])
    assert trainer.default_root_dir == str(tmp_path)
    assert callback in trainer.callbacks  # type: ignore[attr-defined] # Lightning's
    (logger,) = trainer.loggers
    assert logger.save_dir == str(tmp_path)
    assert logger.experiment.hparams["localization"]["iou_threshold"] == 0.5  # type: ignore[attr-defined] # CSVLogger's
    assert isinstance(trainer.strategy.checkpoint_io, WholeCheckpoints)


def test_other_processes_start_with_signals_held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[set[int]] = []

    def start(_: _SubprocessScriptLauncher) -> None:
        held.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS))

    monkeypatch.setattr(_SubprocessScriptLauncher, "_call_children_scripts", start)
    given = config()
    given.trainer.devices = 2
    launcher: Any = build_trainer(given, RunDirectory(tmp_path), []).strategy.launcher
    launcher._call_children_scripts()
    assert held == [set(SIGNALS)]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS)


def test_slurm_does_not_requeue_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SLURMEnvironment, "detect", staticmethod(lambda: True))
    plugins: list[Any] = []

    def trainer(**given: Any) -> Any:  # noqa: ANN401 - of Lightning
        plugins.extend(given["plugins"])
        return SimpleNamespace(loggers=[], strategy=SimpleNamespace(launcher=None))

    monkeypatch.setattr(pytorch_lightning, "Trainer", trainer)
    build_trainer(config(), RunDirectory(tmp_path), [])
    _, slurm = plugins
    assert isinstance(slurm, SLURMEnvironment)
    assert not slurm.auto_requeue


def test_repeatable_kernels_come_without_filling_every_new_tensor(tmp_path: Path) -> None:
    given = config()
    given.trainer.deterministic = "warn"
    build_trainer(given, RunDirectory(tmp_path), [])
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined] # torch makes it at import
    torch.use_deterministic_algorithms(mode=False)


def test_what_a_device_cannot_do_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    given = config()
    given.trainer.accelerator, given.trainer.devices = "gpu", 2
    with pytest.raises(ValueError, match=r"trainer\.devices=2 asks for 2 GPUs and this machine has 1"):
        check_trainer(given)
    clipped = config()
    clipped.trainer.gradient_clip_val, clipped.trainer.precision = 1.0, "16-mixed"
    clipped.optimizer.fused = True
    with pytest.raises(ValueError, match=r"set optimizer\.fused=false"):
        check_trainer(clipped)


def test_crops_need_larger_images_in_evaluations_alone() -> None:
    ten_crop = {"_target_": "camloc.attribution.ten_crop.TenCrop", "_partial_": True, "crop_share": 0.8}
    given = config(views=ten_crop)
    data = build_datamodule(given, ("val",))
    for _ in range(2):  # whoever builds it again does not enlarge it again
        build_predictor(given, data)
        assert (data.input_size, data.train_transform.input_size, data.eval_transform.size) == (8, 8, (10, 10))
