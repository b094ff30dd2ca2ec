"""An entry of a few lines, which needs no torch and whose jobs last no time."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from camloc.experiment.configuration import configuration_directory
from camloc.experiment.entry import Entry

CONFIG = """
defaults: [{hydra: default}, {paths: default}, _self_]
do: nothing
error: 0.5
monitor: null
resume: null
overwrite: false
sweep: {fail_fast: false, skip_completed: false, metric: null}
"""
JOB = """
import sys
from camloc.experiment.run_directory import ReportedRow

started_by = []

def job(config, run):
    started_by.append(list(sys.argv))
    run.write_config(config)
    if config.do == "raise":
        raise ValueError("the toy is broken")
    if config.do == "interrupt":
        raise KeyboardInterrupt
    if config.do == "terminate":
        raise type("SIGTERMException", (SystemExit,), {})()
    keys = [f"{split}/localization/gt_known_error" for split in ("val", "test")]
    accuracy = "val/localization/accuracy"
    run.write_metrics({**{key: config.error for key in keys}, accuracy: 1 - config.error})
    run.write_rows([*(ReportedRow(key, "GT-known error", "min", "val") for key in keys),
                    ReportedRow(accuracy, "accuracy", "max")])
"""


class Toy:
    """An entry named ``toy`` with its own configuration and job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "conf"
        for group in ("hydra", "paths"):
            shutil.copytree(configuration_directory() / group, self.conf / group)
        (self.conf / "toy.yaml").write_text(CONFIG)
        (folder / "toy_job.py").write_text(JOB)

    def entry(self, offer: Callable[[Sequence[str]], list[str]] = list) -> Entry:
        return Entry("toy", "toy_job:job", offer, self.conf)

    def run(self, *arguments: str) -> None:
        self.entry().run(["/somewhere/camloc", "toy"], arguments)

    def metrics(self, run: Path) -> Mapping[str, float]:
        found: Mapping[str, float] = json.loads((run / "metrics.json").read_text())
        return found


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    """Run in a folder of its own, as a command does; nothing of it is left in this process."""
    folder = tmp_path / "toy"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(folder))])
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    # Under a tracer, as one that measures coverage, Hydra would raise instead of exiting with one line.
    monkeypatch.setattr("hydra._internal.utils.is_under_debugger", lambda: False)
    yield Toy(folder)
    sys.modules.pop("toy_job", None)
