"""What the README says is there."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from camloc.experiment.configuration import configuration_directory
from camloc.experiment.entry import offer_run, prepare

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.replace("`", "").partition("#")[0].strip().rstrip(".")
    for line in README.splitlines()
    if re.match(r"\s*`?camloc (train|evaluate) \S", line) and "--help" not in line
]


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_file_that_is_linked_to_is_there(file: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / file).read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target


def test_the_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes(command: str) -> None:
    _, name, *overrides = shlex.split(command)
    prepare()
    values = [override for override in overrides if override != "-m"]
    single = [re.sub(r"=(\w+),.*", r"=\1", override) for override in values]  # of a sweep, the first job
    offer_run([override for override in single if not override.startswith("checkpoint=")])
    with initialize_config_dir(str(configuration_directory()), version_base="1.3"):
        config = compose(name, single)
    assert config.seed == 0


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 5
