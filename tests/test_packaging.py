"""An installation without the checkout has the configuration, the command and the plugins."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import camloc

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    built = subprocess.run(command, text=True, capture_output=True, check=False)
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    assert file.name == f"camloc-{camloc.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(file)


@pytest.mark.integration
def test_the_wheel_holds_the_package_and_its_configuration(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src").rglob("*")
        if path.suffix in (".py", ".html", ".css", ".js", ".csv", ".typed") and path.is_file()
    }
    conf = {f"camloc/conf/{path.relative_to(ROOT / 'conf').as_posix()}" for path in (ROOT / "conf").rglob("*.*")}
    assert held == source | conf
    assert wheel.read(f"camloc-{camloc.__version__}.dist-info/entry_points.txt").split() == [
        *(b"[console_scripts]", b"camloc", b"=", b"camloc.experiment.cli:main"),
    ]


@pytest.mark.integration
def test_what_the_wheel_holds_composes_anywhere(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    wheel.extractall(installed)
    (elsewhere / "my_conf" / "backbone").mkdir(parents=True)
    (elsewhere / "my_conf" / "backbone" / "mine.yaml").write_text("_target_: my_net.my_net\n")
    start = "import sys; sys.argv[0] = 'camloc'; from camloc.experiment.cli import main; main()"

    def camloc_prints(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", start, *arguments],
            cwd=elsewhere,
            env={**os.environ, "PYTHONPATH": str(installed)},
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"file://{installed}/camloc/conf" in camloc_prints("train", "--info", "searchpath")
    assert "my_net.my_net" in camloc_prints("train", "--config-dir", "my_conf", "backbone=mine", "--cfg", "job")
    assert "  backbone=        network: alexnet, alexnet_gap" in camloc_prints("train", "--help")
    assert "ProcessLauncher" in camloc_prints("evaluate", "--info", "plugins")


def test_releases_by_an_attacker_are_neither_allowed_nor_pinned() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert '"pytorch-lightning>=2.6,!=2.6.2,!=2.6.3"' in text
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "lightning==" in line]
    assert pinned
    assert not {"pytorch-lightning==2.6.2", "pytorch-lightning==2.6.3"} & set(pinned)
