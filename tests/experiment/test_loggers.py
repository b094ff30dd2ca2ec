import os
from pathlib import Path

import pytest

from camloc.experiment.loggers import wandb_logger


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_without_an_account_a_run_is_kept_offline(tmp_path: Path) -> None:
    logger = wandb_logger(str(tmp_path), project="camloc")
    assert logger._wandb_init["mode"] == "offline"
    assert "WANDB_MODE" not in os.environ


def test_an_account_is_found_where_wandb_login_puts_it(tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine api.wandb.ai login user password key\n")
    netrc.chmod(0o600)
    assert wandb_logger(str(tmp_path), project="camloc")._wandb_init["mode"] == "online"


def test_an_explicit_mode_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_logger(str(tmp_path), project="camloc")._wandb_init["mode"] == "disabled"
    assert wandb_logger(str(tmp_path), project="camloc", mode="offline")._wandb_init["mode"] == "offline"
