from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from camloc.experiment.checkpoint import CONFIG_KEY
from camloc.experiment.saved_config import checkpoint_file, saved_config


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
