"""Who may import whom: the table of CONTRIBUTING.md, read off the source."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "camloc"
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))

LEAVES = ("boxes", "records", "localized")
# What the files of a room may import from camloc, as prefixes below it; a room may always import itself.
ALLOWED: dict[str, tuple[str, ...]] = {
    "__init__.py": ("experiment.load",),  # when it is asked for, or for types
    "boxes.py": (),
    "records.py": (),
    "localized.py": ("records",),
    "optimization.py": (),
    "backbones": (),
    "attribution": ("records", "backbones.contract"),
    "objectives": ("records", "backbones.contract"),
    "localization": LEAVES,
    "metrics": (*LEAVES, "localization"),
    "data": LEAVES,
    "predictors": (*LEAVES, "backbones", "attribution", "localization", "data"),
    "report": (*LEAVES, "metrics.functional", "export.replaced"),
    "export": (*LEAVES, "metrics.functional"),
    "callbacks": (*LEAVES, "report", "export", "data.loading.sample"),
    "experiment": ("",),
}
ONLY_IN = {
    "pytorch_lightning": ("callbacks/", "data/loading/datamodule.py", "experiment/"),
    "lightning": (),
    "hydra": ("experiment/",),
    "omegaconf": ("experiment/",),
    "wandb": ("callbacks/", "experiment/"),
    "matplotlib": ("report/",),
    "timm": ("backbones/",),
    "train": (),
    "evaluate": (),
    "predict": (),
    "tests": (),
}


def imported(file: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((SOURCE / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide which room they reach into"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", FILES)
def test_a_room_imports_only_what_it_may(file: str) -> None:
    room = file.split("/", maxsplit=1)[0]
    for name in imported(file):
        if name.startswith("camloc."):
            target = name.removeprefix("camloc.")
            within = target.startswith(room.removesuffix(".py") + ".")
            assert within or target.startswith(ALLOWED[room]), f"{file} imports {name}"


@pytest.mark.parametrize("file", FILES)
def test_frameworks_stay_in_their_rooms(file: str) -> None:
    for name in imported(file):
        package = name.split(".")[0]
        if package in ONLY_IN:
            assert file.startswith(ONLY_IN[package]), f"{file} imports {package}"


@pytest.mark.parametrize("file", ["cli", "entry", "run_directory", "saved_config", "run_job"])
def test_entries_answer_without_torch(file: str) -> None:
    top_level = ast.parse((SOURCE / "experiment" / f"{file}.py").read_text(encoding="utf-8")).body
    for node in top_level:
        if isinstance(node, ast.Import | ast.ImportFrom):
            text = ast.unparse(node)
            assert "torch" not in text
            assert "lightning" not in text


def test_the_package_is_imported_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    asked = subprocess.run([sys.executable, "-c", "import camloc; camloc.load"], capture_output=True, check=False)
    assert b"torch was imported" in asked.stderr  # when it is asked for
    imported = subprocess.run([sys.executable, "-c", "import camloc"], capture_output=True, check=False)
    assert imported.returncode == 0, imported.stderr


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["--cfg", "job"], 0), (["backbone=vgg_gapp"], 1), (["seeed=1"], 1)]
)
def test_answers_come_without_torch(
    arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    command = [sys.executable, str(Path(__file__).parent.parent / "train.py"), *arguments]
    answered = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert answered.returncode == code, answered.stderr
    assert "torch was imported" not in answered.stderr
