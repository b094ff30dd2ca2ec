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


def test_a_list_instead_of_a_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    (tmp_path / "config.yaml").write_text("- backbone\n")
    with pytest.raises(ValueError, match=r"config\.yaml holds no configuration: a mapping is needed, got list"):
        saved_config(tmp_path / "checkpoints" / "last.ckpt")


def test_the_configuration_inside_a_checkpoint_is_data_too(tmp_path: Path) -> None:
    file = tmp_path / "stranger.ckpt"
    torch.save({"state_dict": {}, CONFIG_KEY: {"backbone": {"weights": "${oc.env:HOME}"}}}, file)
    with pytest.raises(ValueError, match=r"stranger\.ckpt: camloc_config: backbone\.weights is \$\{oc\.env"):
        saved_config(file)


def test_checkpoints_and_runs_of_version_0_1_are_refused_in_one_line(tmp_path: Path) -> None:
    config = {"backbone": {"_target_": "b"}, "cam": {"_target_": "c"}}
    file = tmp_path / "moved.ckpt"
    torch.save({"state_dict": {}, CONFIG_KEY: config}, file)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    OmegaConf.save(config, tmp_path / "config.yaml")
    for source in (file, tmp_path):
        with pytest.raises(ValueError, match="written by camloc") as refused:
            saved_config(source)
        assert str(refused.value) == f"{source} was written by camloc 0.1; only that version reads it"


def test_maps_that_are_not_there_are_called_by_their_own_option(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^score_maps=.*missing\.npz is not there"):
        saved_config(tmp_path / "missing.npz")
