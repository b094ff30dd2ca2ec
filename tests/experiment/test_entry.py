import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import MissingMandatoryValue, OmegaConf

from camloc.experiment.entry import message, offer_run, run_job
from camloc.experiment.run_directory import RunDirectory


def test_hydras_wrapping_is_taken_off() -> None:
    cause = ValueError("datamodule.classes: n7 not in wnids.txt")
    wrapped = InstantiationException("Error in call to target ...\nfull_key: datamodule")
    wrapped.__cause__ = cause
    assert message(wrapped) == "datamodule.classes: n7 not in wnids.txt"


def test_a_loader_workers_traceback_is_taken_off() -> None:
    error = ValueError(
        "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\nValueError: cannot read the image a.jpg: it is empty\n'
    )
    assert message(error) == "cannot read the image a.jpg: it is empty"


def test_several_lines_become_one_and_none_becomes_the_type() -> None:
    assert message(RuntimeError("first\n  second\n")) == "first second"
    assert message(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_a_full_disk_does_not_hide_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    output = SimpleNamespace(runtime=SimpleNamespace(output_dir=str(tmp_path)))
    monkeypatch.setattr(HydraConfig, "get", lambda: output)
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: None)
    monkeypatch.setattr(RunDirectory, "write_status", lambda _, status, **__: nowhere() if status == "failed" else None)
    with pytest.raises(SystemExit) as stopped:
        run_job("camloc.experiment.nothing:job", OmegaConf.create())
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("error: No module named 'camloc.experiment.nothing'")


def test_a_checkpoint_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        offer_run(["trainer.devices=1", "checkpoint=/no/such/run"])
    assert stopped.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: checkpoint=/no/such/run: there is no /no/such/run")


def test_a_sweep_over_runs_does_not_begin_where_one_cannot_be_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "a, b=c"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "best.ckpt").touch()
    (run / "config.yaml").write_text("backbone: {_target_: mine}\n")
    offer_run(["-m", f"checkpoint='{run}'"])
    assert ConfigStore.instance().load("backbone/of_run.yaml").node == {"_target_": "mine"}
    for arguments, told in (
        ([f"checkpoint='{run}',/no/such/run"], "checkpoint=/no/such/run: there is no"),
        ([f"checkpoint='{run}','{run}'", "hydra/launcher=slurm"], "hydra/launcher=slurm evaluates one run at a time"),
    ):
        with pytest.raises(SystemExit):
            offer_run(["-m", *arguments])
        assert f"error: {told}" in capsys.readouterr().err


def test_an_option_that_must_be_given_is_named_without_the_jargon() -> None:
    config = OmegaConf.create({"datamodule": {"root": "???"}})
    with pytest.raises(MissingMandatoryValue) as missing:
        _ = config.datamodule.root
    assert message(missing.value) == "datamodule.root must be given: datamodule.root=..., see its file in conf/"


def test_without_a_checkpoint_the_parts_are_empty() -> None:
    offer_run(["--help"])
    assert ConfigStore.instance().load("backbone/of_run.yaml").node == {}
