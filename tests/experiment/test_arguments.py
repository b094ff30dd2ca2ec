from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import given, settings
from hypothesis import strategies as st

from camloc.experiment.arguments import hydra_arguments, quoted
from camloc.experiment.configuration import configuration_directory

CONF = [configuration_directory()]


def value(argument: str) -> object:
    found = OverridesParser.create().parse_override(argument).value()
    return found.text if isinstance(found, QuotedString) else found


@pytest.mark.parametrize(
    "path",
    [
        "/x/my data (1)",
        "/x/数据",
        "/x/[a] {b}",
        "/x/it's",
        '/x/"quoted"',
        "/x/a=b",
        "/x/a&b #1",
        "C:\\data (1)\\",
        "/é",
    ],
)
def test_paths_are_taken_as_they_are(path: str) -> None:
    (read,) = hydra_arguments([f"datamodule.root={path}"])
    assert value(read) == path
    assert hydra_arguments([read]) == [read]  # as a run starts its other processes with it


def test_what_hydra_can_read_stays_as_it_was_given() -> None:
    arguments = [
        *("-m", "--config-dir", "my conf (1)", "backbone=vgg_gap,alexnet_gap", "localization=[paper,pxap]", "+x='a b'"),
        *("optimizer.lr=choice(0.1,0.2)", "~seed", "hydra.run.dir=${paths.runs}/x", "name=a b"),
    ]
    assert hydra_arguments(arguments, CONF) == arguments


def test_flags_may_stand_anywhere() -> None:
    given = ["seed=1", "--config-dir", "mine", "x=2", "-m"]
    assert hydra_arguments(given) == ["--config-dir", "mine", "-m", "seed=1", "x=2"]


def test_a_comma_belongs_to_the_name_of_what_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a,b").mkdir()
    Path("ä,b").mkdir()
    assert hydra_arguments(["datamodule.root=a,b", "seed=1,2"]) == ["datamodule.root='a,b'", "seed=1,2"]
    assert hydra_arguments(["-m", "datamodule.root=a,b"])[1] == "datamodule.root=a,b"
    assert hydra_arguments(["-m", "datamodule.root=ä,b"])[1] == "datamodule.root='ä,b'"
    assert hydra_arguments(["-m", "datamodule.root=ö,b (1)"])[1] == "datamodule.root='ö','b (1)'"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed=3"], "--seed=3 is no flag of this command; options are given as key=value, without dashes"),
        (["-monitor=x"], "-monitor=x is no flag of this command; options are given as key=value, without dashes"),
        (["--config-dir"], "argument --config-dir/-cd: expected one argument"),
        (["seed"], "seed is no option; options are given as key=value, without spaces around the ="),
        (["se ed=1"], "se ed=1 is no option; options are given as key=value, without spaces around the ="),
        (["=1"], "=1 is no option; options are given as key=value, without spaces around the ="),
        (
            ["a=[1"],
            """a=[1 cannot be read: a bracket or a quote is missing; text is quoted: "a='[1'\"""",
        ),
        (
            ["x='$a"],
            "x='$a cannot be read: a bracket or a quote is missing; text is quoted: 'x='\"'\"'\\'\"'\"'$a'\"'\"''",
        ),
        (["localization=[paper,pxap,paper]"], "localization=[paper,pxap,paper] names paper twice"),
        (["optimizer=null"], "optimizer=null: optimizer is chosen by name, optimizer=adamw|sgd"),
        (["+optimizer=3"], "+optimizer=3: optimizer is chosen by name, optimizer=adamw|sgd"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_fix(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        hydra_arguments(arguments, CONF)
    assert str(refused.value) == message


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
@settings(max_examples=300, derandomize=True)
def test_any_text_is_read_back_from_its_quotes(text: str) -> None:
    assert value(f"key={quoted(text)}") == text
