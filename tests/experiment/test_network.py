"""A network with parts that its objective brings is rebuilt wherever it is used."""

import importlib
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from camloc.experiment.build import build_datamodule, build_predictor, build_training
from camloc.experiment.checkpoint import CONFIG_KEY, write_checkpoint
from camloc.experiment.load import load
from camloc.experiment.network import build_backbone, extends_network, objective_of_run
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.run_record import RUN_KEY, RunRecord, run_record
from camloc.experiment.sources import build_source
from camloc.experiment.svm import svm
from camloc.experiment.train import train

HERE = Path(__file__).parent
SQUARES = run_path(str(HERE / "squares.py"))
config: Callable[..., DictConfig] = SQUARES["config"]
OBJECTIVE = {"_target_": "squares.Gain", "_partial_": True, "gain": 3.0, "label_smoothing": 0.1}


@pytest.fixture(autouse=True)
def _squares_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


def given(**changed: Any) -> DictConfig:  # noqa: ANN401 - values of a configuration
    return config(objective=OBJECTIVE, **changed)


def trained(file: Path, *, extended: bool = True, **changed: Any) -> Path:  # noqa: ANN401 - of a configuration
    """Write what a training with the objective leaves behind, its part having learned 5."""
    part = importlib.import_module("squares").Gained(SQUARES["gap"](), 5.0)
    weights = {f"predictor.backbone.{name}": value for name, value in part.state_dict().items()}
    record = RunRecord(["red", "green"], 8, 0.8, "val", None, extended=extended)
    saved = OmegaConf.to_container(given(**changed))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint({"state_dict": weights, RUN_KEY: record._asdict(), CONFIG_KEY: saved}, file)
    return file


def test_an_objective_without_parts_leaves_the_network_as_it_is() -> None:
    assert not extends_network(config().objective)
    assert type(build_backbone(config().backbone, 2, config().objective)).__name__ == "GapBackbone"
    assert type(build_backbone(given().backbone, 2)).__name__ == "GapBackbone"


def test_the_part_is_given_those_options_that_it_names_and_learns_as_a_new_layer() -> None:
    assert extends_network(given().objective)
    data = build_datamodule(given(), ("train",))
    predictor = build_predictor(given(), data, given().objective)
    backbone: Any = predictor.backbone
    assert backbone.gain.item() == 3
    assert backbone.backbone.trunk.weight[0, 0].item() == 1  # as it came
    of_run = given()
    of_run.classifier.head_lr_multiplier = 7.0
    groups: Any = build_training(of_run, predictor, data).new_optimizer().param_groups
    assert {group["lr_multiplier"]: backbone.gain in set(group["params"]) for group in groups} == {
        1.0: False,
        7.0: True,
    }


def test_what_is_no_backbone_any_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("squares").Gain, "extend", classmethod(lambda *_: torch.nn.Identity()))
    with pytest.raises(TypeError, match="backbone=Identity lacks class_weights"):
        build_backbone(given().backbone, 2, given().objective)


def test_a_training_writes_that_its_network_has_such_parts(tmp_path: Path) -> None:
    of_run = given()
    of_run.trainer.max_epochs = 1
    train(of_run, RunDirectory(tmp_path))
    best = RunDirectory(tmp_path).best_checkpoint
    assert run_record(best).extended
    assert "predictor.backbone.gain" in torch.load(best, weights_only=True)["state_dict"]
    found: Any = build_source(
        config(checkpoint=str(tmp_path), trust=True, threshold_from="checkpoint"), RunDirectory(tmp_path)
    )
    assert found.predictor.backbone.gain.item() != 3


def test_an_evaluation_rebuilds_the_part(tmp_path: Path) -> None:
    file = trained(tmp_path / "moved.ckpt")
    # The evaluation's own configuration has no objective that matters.
    found: Any = build_source(config(checkpoint=str(file), trust=True), RunDirectory(tmp_path))
    assert found.predictor.backbone.gain.item() == 5


def test_a_loaded_network_has_the_part(tmp_path: Path) -> None:
    file = trained(tmp_path / "moved.ckpt")
    localizer: Any = load(file, device="cpu", trust=True)
    assert localizer._copies[0].backbone.gain.item() == 5


def test_an_objective_that_nobody_named_is_not_called(tmp_path: Path) -> None:
    file = trained(tmp_path / "moved.ckpt", backbone=OmegaConf.create({"_target_": "camloc.backbones.nin.nin"}))
    refused = r"objective\._target_=squares\.Gain, which brings parts of the network, is not called.*, or trust=true"
    for use in (
        lambda: build_source(config(checkpoint=str(file)), RunDirectory(tmp_path)),
        lambda: objective_of_run(file, run_record(file), trust=False),
        lambda: svm(config(checkpoint=str(file), true_box=False, fit_on=["train"]), RunDirectory(tmp_path)),
    ):
        with pytest.raises(ValueError, match=refused):
            use()
    unused = trained(tmp_path / "unused.ckpt", extended=False)
    assert objective_of_run(unused, run_record(unused), trust=False) is None


def test_a_configuration_without_the_objective_is_told(tmp_path: Path) -> None:
    file = trained(tmp_path / "moved.ckpt")
    content = torch.load(file, weights_only=True)
    del content[CONFIG_KEY]["objective"]
    write_checkpoint(content, file)
    with pytest.raises(
        ValueError, match="has parts that its objective brought, and its configuration has no objective"
    ):
        objective_of_run(file, run_record(file), trust=True)
