import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from camloc.experiment.run_directory import CONFIG_KEY, RunDirectory, checkpoint_file, is_first_process, saved_config


def test_numbers_that_are_not_finite_are_left_out_rather_than_invented(tmp_path: Path) -> None:
    RunDirectory(tmp_path).write_metrics({"a": 0.25, "b": float("nan"), "c": 3, "d": "val", "e": float("inf")})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": 0.25, "c": 3, "d": "val"}


def test_status_says_what_went_wrong(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.write_status("running")
    run.write_status("failed", error="no such class")
    assert json.loads((tmp_path / "status.json").read_text()) == {"status": "failed", "error": "no such class"}
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize(
    ("variables", "first"),
    [({}, True), ({"LOCAL_RANK": "0"}, True), ({"LOCAL_RANK": "2"}, False), ({"RANK": "8", "LOCAL_RANK": "0"}, False)],
)
def test_only_the_first_process_writes(
    variables: dict[str, str], first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first
    RunDirectory(tmp_path).write_status("running")
    assert (tmp_path / "status.json").exists() is first


def test_a_run_directory_means_its_best_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"best\.ckpt; give a run directory or a checkpoint file"):
        checkpoint_file(tmp_path)
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.parent.mkdir()
    best.touch()
    assert checkpoint_file(tmp_path) == checkpoint_file(best) == best


def test_a_checkpoint_alone_still_knows_its_run(tmp_path: Path) -> None:
    file = tmp_path / "moved.ckpt"
    torch.save({"state_dict": {}, CONFIG_KEY: {"backbone": {"_target_": "b"}}}, file)
    assert saved_config(file).backbone._target_ == "b"
    torch.save({"state_dict": {}}, file)
    with pytest.raises(ValueError, match=r"moved\.ckpt does not say which run it comes from"):
        saved_config(file)


def test_the_run_directorys_own_configuration_is_preferred(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"never opened")
    OmegaConf.save({"backbone": {"_target_": "a"}}, tmp_path / "config.yaml")
    assert saved_config(tmp_path).backbone._target_ == "a"
