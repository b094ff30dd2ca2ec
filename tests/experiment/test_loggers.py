import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytorch_lightning.loggers import WandbLogger

from camloc.experiment.loggers import summarize, wandb_logger


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


def test_another_service_needs_its_own_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert wandb_logger(str(tmp_path), project="camloc")._wandb_init["mode"] == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "key")
    assert wandb_logger(str(tmp_path), project="camloc")._wandb_init["mode"] == "online"


def test_what_is_resumed_continues_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = wandb_logger(str(tmp_path), project="camloc")
    assert (tmp_path / "wandb_run_id.txt").read_text() == f"{first._wandb_init['id']}\n"
    monkeypatch.setenv("WANDB_RUN_ID", "of_an_agent")
    assert wandb_logger(str(tmp_path), project="camloc")._wandb_init["id"] == first._wandb_init["id"]
    (tmp_path / "wandb_run_id.txt").unlink()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert wandb_logger(str(tmp_path), project="camloc")._wandb_init["id"] == "of_an_agent"
    assert not (tmp_path / "wandb_run_id.txt").exists()


def test_a_team_a_group_and_a_job_type_are_handed_to_wandb(tmp_path: Path) -> None:
    logger = wandb_logger(str(tmp_path), project="camloc", entity="team", group="g", job_type="train", log_model=False)
    given = {name: logger._wandb_init[name] for name in ("entity", "group", "job_type", "project", "resume")}
    assert given == {"entity": "team", "group": "g", "job_type": "train", "project": "camloc", "resume": "allow"}


@pytest.mark.parametrize("name", ["entiy", "id", "resume", "dir"])
def test_what_wandb_does_not_take_or_is_set_here_is_refused(name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {name: "x"}
    with pytest.raises(ValueError, match=rf"logger\.wandb\.{name} is no option; choose from .*entity, .*group, "):
        wandb_logger(str(tmp_path), project="camloc", **options)


def test_the_final_numbers_go_into_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary: dict[str, float] = {}
    monkeypatch.setattr(WandbLogger, "experiment", SimpleNamespace(summary=summary))
    trainer = SimpleNamespace(loggers=[object(), wandb_logger(str(tmp_path), project="camloc")])
    summarize(trainer, {"test/loss": 0.5})  # type: ignore[arg-type] # only its loggers are asked for
    assert summary == {"test/loss": 0.5}
