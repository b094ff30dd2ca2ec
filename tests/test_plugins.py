"""Sweepers and launchers that come with the extras ``tune`` and ``slurm``."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from camloc.experiment.configuration import configuration_directory
from camloc.experiment.entry import prepare

Entry = Callable[..., CompletedProcess[str]]
CONF = configuration_directory()


@pytest.fixture
def tiny(small: tuple[str, ...]) -> list[str]:
    left_out = ("callbacks.gallery=null", "trainer.max_epochs=1")
    return [*(o for o in small if not o.startswith(("callbacks", "trainer.max_epochs"))), *left_out]


@pytest.mark.slow
@pytest.mark.integration
def test_optuna_is_told_each_trainings_error(entry: Entry, tiny: list[str], tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra tune")
    finished = entry(
        *("train.py", "-m", "experiment=tune", *tiny, "hydra.sweeper.n_trials=2"),
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )
    assert finished.returncode == 0, finished.stderr
    found = OmegaConf.load(tmp_path / "sweep" / "optimization_results.yaml")
    with (tmp_path / "sweep" / "sweep_summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["completed"] * 2
    errors = [float(row["val/localization/gt_known_error"]) for row in rows]
    best = rows[errors.index(min(errors))]
    assert found.best_value == min(errors)
    for name, value in found.best_params.items():
        assert float(best[name]) == value
    assert 0.002 <= found.best_params["optimizer.lr"] <= 0.1


@pytest.mark.slow
@pytest.mark.integration
def test_submitit_runs_each_job_in_its_own_directory(entry: Entry, tiny: list[str], tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    sweep = tmp_path / "sweep"
    finished = entry(
        *("train.py", "-m", "hydra/launcher=submitit_local", *tiny, "optimizer.lr=0.01,0.02"),
        f"hydra.sweep.dir={sweep}",
    )
    assert finished.returncode == 0, finished.stderr
    for job, learning_rate in (("0", 0.01), ("1", 0.02)):
        assert json.loads((sweep / job / "status.json").read_text())["status"] == "completed"
        assert OmegaConf.load(sweep / job / "config.yaml").optimizer.lr == learning_rate
        assert json.loads((sweep / job / "metrics.json").read_text())["test/localization/num_images"] == 20


def test_slurm_is_asked_for_a_process_per_gpu_and_to_announce_the_end() -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    prepare()
    overrides = ["hydra/launcher=slurm", "trainer=gpu", "trainer.devices=4", "trainer.num_nodes=2"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        launcher = compose("train", overrides=overrides, return_hydra_config=True).hydra.launcher
    assert (launcher.nodes, launcher.tasks_per_node, launcher.gpus_per_node) == (2, 4, 4)
    assert launcher.additional_parameters == {"signal": "TERM@120", "no-requeue": True}
