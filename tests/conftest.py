"""One small training that many tests look at."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hypothesis import settings

from camloc.experiment.entry import ENTRIES

# Hydra looks for plugins once, and runs its own modules again for it; what was derived from them before would not fit.
Plugins.instance()

# No test is timed: a busy machine takes its time over an example.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parent.parent
_SMALL = (
    "datamodule.num_train=36",
    "datamodule.num_val=18",
    "datamodule.num_test=20",
    "datamodule.image_size=64",
    "datamodule.input_size=64",
    "datamodule.batch_size=12",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "callbacks.gallery.count=3",
)

Entry = Callable[..., subprocess.CompletedProcess[str]]
SharedOnce = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # More would only wait for each other on the small tensors of tests.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # Lists of images in temporary folders are nothing to keep in a user's home.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Real data, or a skip that says what is missing: ``shared_data("tiny-imagenet-200")``."""
    base = Path(os.environ.get("CAMLOC_SHARED_DATA", ROOT.parent / "shared" / "data"))

    def folder(name: str) -> Path:
        if not (base / name).is_dir():
            pytest.skip(f"{base / name} is absent; set CAMLOC_SHARED_DATA to the folder that holds {name}")
        return base / name

    return folder


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Overrides that make ``train.py`` end in seconds."""
    return _SMALL


@pytest.fixture(scope="session")
def entry(tmp_path_factory: pytest.TempPathFactory, _own_cache: None) -> Iterator[Entry]:
    """Run a script as a user would, in a process of its own: ``entry("train.py", *overrides)``."""
    own = {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    output = tmp_path_factory.mktemp("output")
    command = [sys.executable, str(Path(__file__).with_name("entry_server.py"))]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **own}, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        requests, answers = server.stdin, server.stdout
        assert requests is not None
        assert answers is not None

        def run(script: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
            files = {name: output / name for name in ("stdout", "stderr")}
            for file in files.values():
                file.write_bytes(b"")
            environment = {**os.environ, **own}
            environment.pop("HYDRA_FULL_ERROR", None)
            request = {"script": str(ROOT / script), "arguments": arguments, "cwd": str(cwd), "seconds": 300}
            request |= {"environment": environment, **{name: str(file) for name, file in files.items()}}
            requests.write(json.dumps(request) + "\n")
            requests.flush()
            code = int(answers.readline())
            printed = {name: file.read_text(encoding="utf-8") for name, file in files.items()}
            return subprocess.CompletedProcess([script, *arguments], code, **printed)

        yield run
        requests.close()


class Answer(NamedTuple):
    """What a command that ran in this process left."""

    returncode: int
    stdout: str
    stderr: str


Here = Callable[..., Answer]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    """Run an entry in this process, which has imported torch already: ``here("train", *overrides)``."""
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)

    def run(command: str, *arguments: str) -> Answer:
        capfd.readouterr()
        code = 0
        try:
            ENTRIES[command].run([str(ROOT / f"{command}.py")], arguments)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        return Answer(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def shared_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> SharedOnce:
    """Make a directory once for all workers: ``shared_once("name", make)`` returns it made."""
    base = tmp_path_factory.getbasetemp()
    common = base if worker_id == "master" else base.parent

    def once(name: str, make: Callable[[Path], None]) -> Path:
        directory = common / "shared" / name
        directory.parent.mkdir(exist_ok=True)
        with FileLock(f"{directory}.lock"):
            if not (done := directory.with_name(f"{name}.done")).exists():
                make(directory)
                done.touch()
        return directory

    return once


@pytest.fixture(scope="session")
def trained(entry: Entry, small: tuple[str, ...], shared_once: SharedOnce) -> tuple[Path, str]:
    """A finished run's directory, and what it printed."""

    def train(run: Path) -> None:
        finished = entry("train.py", *small, f"hydra.run.dir={run}")
        assert finished.returncode == 0, finished.stderr
        run.with_name("printed").write_text(finished.stdout)

    run = shared_once("trained", train)
    return run, run.with_name("printed").read_text()


class Printed:
    """What a command prints, by lines with single spaces; on stderr where its exit code is not 0."""

    def __init__(self, command: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> None:
        self.command, self.capsys = command, capsys

    def __call__(self, *arguments: object, code: int = 0) -> list[str]:
        assert self.command([*map(str, arguments)]) == code
        captured = self.capsys.readouterr()
        assert (captured.err == "") == (code == 0)
        return [" ".join(line.split()) for line in (captured.err if code else captured.out).splitlines()]


@pytest.fixture
def printed_by(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[list[str]], int]], Printed]:
    """Run a command in a terminal of 160 columns."""
    monkeypatch.setenv("COLUMNS", "160")
    return lambda command: Printed(command, capsys)
