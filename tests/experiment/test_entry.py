import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from camloc.experiment import entry
from camloc.experiment.entry import ENTRIES, Entry, offer_run, prepare
from camloc.experiment.run_directory import RunDirectory


class Toy(Protocol):
    folder: Path
    conf: Path

    def entry(self) -> Entry: ...
    def run(self, *arguments: str) -> None: ...


def fails(toy: Toy, *arguments: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        toy.run(*arguments)
    assert stopped.value.code == 1


def status(run: Path) -> str | None:
    return RunDirectory(run).read_status().status


def test_a_run_writes_its_directory_and_knows_how_it_was_started(toy: Toy) -> None:
    toy.run("error=0.25", "hydra.run.dir=run")
    assert status(Path("run")) == "completed"
    assert OmegaConf.load("run/config.yaml").error == 0.25
    # Lightning starts the other processes of a run with these arguments, without those that Hydra adds.
    assert sys.modules["toy_job"].started_by == [["/somewhere/camloc", "toy", "error=0.25", "hydra.run.dir=run"]]


def test_the_job_is_named_after_the_command_and_its_directory_after_the_process(toy: Toy) -> None:
    toy.run()
    runs = list((toy.folder / "runs" / "toy").iterdir())
    assert {run.name[-7:] for run in runs} == {f"_{entry._RUN_TOKEN}"}
    assert all(status(run) == "completed" for run in runs)


def test_modules_of_the_working_directory_are_found_but_hide_nothing(toy: Toy) -> None:
    (toy.folder / "json.py").write_text("raise SystemExit('the wrong json')")
    toy.run("hydra.run.dir=run")
    assert status(Path("run")) == "completed"
    assert sys.path.count(str(toy.folder)) == 1
    assert sys.path[-1] == str(toy.folder)


def test_own_options_come_from_the_config_directory(toy: Toy) -> None:
    (toy.folder / "mine" / "part").mkdir(parents=True)
    (toy.folder / "mine" / "part" / "special.yaml").write_text("value: 3\n")
    toy.run("--config-dir", "mine", "+part=special", "hydra.run.dir=run")
    assert OmegaConf.load("run/config.yaml").part.value == 3


def test_a_completed_run_is_not_replaced_unasked(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.run("error=0.25", "hydra.run.dir=run")
    before = {file: file.read_bytes() for file in Path("run").rglob("*") if file.is_file()}
    fails(toy, "error=0.5", "hydra.run.dir=run")
    assert capsys.readouterr().err.splitlines() == [
        "error: run holds a completed run; choose another hydra.run.dir=, or overwrite=true to replace it"
    ]
    assert {file: file.read_bytes() for file in Path("run").rglob("*") if file.is_file()} == before
    Path("run/predictions.csv").touch()
    Path("run/notes.txt").touch()
    toy.run("error=0.5", "hydra.run.dir=run", "overwrite=true")
    config = OmegaConf.load("run/config.yaml")
    assert (config.error, config.overwrite) == (0.5, False)
    assert not Path("run/predictions.csv").exists()
    assert Path("run/notes.txt").exists()


def test_a_directory_that_a_file_names_is_refused_too(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    (toy.conf / "place").mkdir()
    (toy.conf / "place" / "same.yaml").write_text("# @package _global_\nhydra: {run: {dir: run}}\n")
    toy.run("+place=same")
    fails(toy, "+place=same")
    assert "run holds a completed run" in capsys.readouterr().err
    assert status(Path("run")) == "completed"


@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["--info", "config"], ["--hydra-help"]])
def test_looking_at_the_configuration_needs_no_free_directory(
    arguments: list[str], toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.run("hydra.run.dir=run")
    with contextlib.suppress(SystemExit):
        toy.run("hydra.run.dir=run", *arguments)
    assert "holds a completed run" not in capsys.readouterr().err


def test_an_evaluation_does_not_remove_the_checkpoint_that_it_is_of(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Path("run/checkpoints")
    checkpoints.mkdir(parents=True)
    (checkpoints / "best.ckpt").touch()
    for given in ("run", "run/checkpoints/best.ckpt", "run/checkpoints"):
        fails(toy, f"+checkpoint={given}", "hydra.run.dir=run", "overwrite=true")
        assert f"checkpoint={given} lies in the run directory" in capsys.readouterr().err
    assert (checkpoints / "best.ckpt").exists()
    toy.run("+checkpoint=elsewhere", "+list=[a,run/of_others.txt]", "hydra.run.dir=run")
    assert not (checkpoints / "best.ckpt").exists()  # a run that was interrupted left it


@pytest.mark.parametrize("argument", ["cam=cam", "datamodule.picture_size=64"])
def test_options_of_an_earlier_version_are_refused_in_one_line(
    argument: str, toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(toy, argument)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.count(" since 0.2") == 1


def test_a_configuration_of_an_earlier_version_is_refused(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    (toy.conf / "old.yaml").write_text((toy.conf / "toy.yaml").read_text() + "cam: {}\n")
    fails(toy, "--config-name", "old", "hydra.run.dir=run")
    assert "the configuration was written by camloc 0.1" in capsys.readouterr().err
    assert status(Path("run")) is None


def test_resolvers() -> None:
    prepare()
    config = OmegaConf.create({"a": None, "b": "${either:${a},0.2}", "c": "${either:${b},1}", "d": "${either:${a}}"})
    assert (config.b, config.c, config.d) == (0.2, 0.2, None)
    unique = OmegaConf.create({"a": "${unique:}", "b": "${unique:}"})
    assert unique.a == unique.b
    assert len(unique.a) == 6


def completed(toy: Toy, capsys: pytest.CaptureFixture[str], *words: str, line: str) -> list[str]:
    toy.entry().complete(words, line)
    return capsys.readouterr().out.split()


def test_a_shell_gets_what_may_follow(
    toy: Toy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", "")
    assert completed(toy, capsys, line="toy hydra/launcher=pro") == ["hydra/launcher=processes"]
    assert completed(toy, capsys, line="toy swe") == ["sweep."]
    assert completed(toy, capsys, "do=a", line="toy do=a sweep.fail") == ["sweep.fail_fast="]
    (toy.folder / "mine" / "part").mkdir(parents=True)
    (toy.folder / "mine" / "part" / "special.yaml").touch()
    own = ("--config-dir", "mine")
    assert completed(toy, capsys, *own, line="toy --config-dir mine +part=") == ["+part=special"]


def test_a_checkpoint_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        ENTRIES["evaluate"].run(["camloc", "evaluate"], ["trainer.devices=1", "checkpoint=/no/such/run"])
    assert stopped.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: checkpoint=/no/such/run: there is no /no/such/run")


def test_a_sweep_over_runs_does_not_begin_where_one_cannot_be_evaluated(tmp_path: Path) -> None:
    run = tmp_path / "a, b=c"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "best.ckpt").touch()
    (run / "config.yaml").write_text("backbone: {_target_: mine}\n")
    assert offer_run(["-m", f"checkpoint='{run}'"]) == ["-m", f"checkpoint='{run}'"]
    assert ConfigStore.instance().load("backbone/of_run.yaml").node == {"_target_": "mine"}
    with pytest.raises(FileNotFoundError, match="checkpoint=/no/such/run: there is no"):
        offer_run(["-m", f"checkpoint='{run}',/no/such/run"])
    with pytest.raises(ValueError, match="hydra/launcher=slurm evaluates one run at a time"):
        offer_run(["-m", f"checkpoint='{run}','{run}'", "hydra/launcher=slurm"])


def test_without_a_checkpoint_the_parts_are_empty() -> None:
    for arguments in (["--help"], ["checkpoint=null"], ["checkpoint=["]):  # Hydra says what is wrong with the last
        offer_run(arguments)
        assert ConfigStore.instance().load("attribution/of_run.yaml").node == {}


def test_a_run_of_an_earlier_version_is_refused_by_one_line(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    (tmp_path / "config.yaml").write_text("backbone: {_target_: mine}\ncam: {_target_: mine}\n")
    with pytest.raises(ValueError, match=r"^\S+ was written by camloc 0\.1; only that version reads it$"):
        offer_run([f"checkpoint={tmp_path}"])


@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
def test_a_checkouts_scripts_are_the_same_commands(script: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    root = Path(__file__).parents[2]
    name = script.removesuffix(".py")
    printed = [
        subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, text=True, capture_output=True, check=False
        )
        for command in (
            (str(root / script), "--cfg", "hydra"),
            ("-c", "from camloc.experiment.cli import main; main()", name, "--cfg", "hydra"),
        )
    ]
    assert [run.returncode for run in printed] == [0, 0], [run.stderr for run in printed]
    assert f"    name: {name}\n" in printed[0].stdout
    assert _without_run(printed[0].stdout) == _without_run(printed[1].stdout)


def _without_run(text: str) -> list[str]:
    return [line for line in text.splitlines() if "dir: " not in line]


def test_a_runs_annotation_reader_can_be_replaced_alone() -> None:
    def part(name: str) -> object:
        return ConfigStore.instance().load(f"{name}.yaml").node

    reader = {"_target_": "mine"}
    entry._offer("datamodule", OmegaConf.create({"root": "DIR", "annotations": reader}))
    assert part("datamodule/of_run") == {"defaults": [{"annotations": "of_run"}, "_self_"], "root": "DIR"}
    assert part("datamodule/annotations/of_run") == reader
    entry._offer("datamodule", OmegaConf.create({"root": "DIR", "annotations": None}))
    assert part("datamodule/of_run") == {"defaults": [{"annotations": "none"}, "_self_"], "root": "DIR"}
    entry._offer("datamodule", OmegaConf.create({"annotations": "FOLDER"}))  # of ImageNet, a folder
    assert part("datamodule/of_run") == {"annotations": "FOLDER"}
    offer_run([])


@pytest.mark.usefixtures("toy")
def test_the_help_lists_the_options_of_each_group(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine/backbone").mkdir(parents=True)
    Path("mine/backbone/mine.yaml").touch()
    ENTRIES["train"].run(["camloc", "train"], ["--config-dir", "mine", "--help"])
    printed = capsys.readouterr().out
    assert "  backbone=        network: alexnet, alexnet_gap, " in printed
    assert ", mine, " in printed
    assert "  datamodule/annotations=\n                   boxes or masks of datamodule=folder: coco, csv," in printed
    assert "  optimizer=       how weights are updated: adamw, sgd\n" in printed
    assert ": base," not in printed  # a file that the options of its group include
    assert max(map(len, printed.splitlines())) <= 120
