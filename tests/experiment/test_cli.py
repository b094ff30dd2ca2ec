import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from camloc import __version__
from camloc.experiment import cli, entry
from camloc.experiment.completion import SHELLS, script
from camloc.report import compare


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["/bin/camloc", *arguments])
    try:
        cli.main()
    except SystemExit as stopped:
        return stopped.code
    return 0


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    commands = printed.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in commands] == list(cli.COMMANDS)
    assert max(map(len, printed.splitlines())) <= 100


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"camloc {__version__}\n"


def test_an_unknown_command_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "trian") == 1
    assert run(monkeypatch, "backbone=vgg_gap") == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: camloc has no command 'trian'; did you mean train? See camloc --help",
        "error: camloc has no command 'backbone=vgg_gap'. See camloc --help",
    ]


def test_ctrl_c_outside_of_a_job_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry.Entry, "run", interrupt)
    assert run(monkeypatch, "train") == 130
    assert capsys.readouterr().err == "error: interrupted by SIGINT\n"


def test_a_command_runs_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, list[str], list[str]]] = []

    def record(self: entry.Entry, program: Sequence[str], arguments: Sequence[str]) -> None:
        started.append((self.name, list(program), list(arguments)))

    monkeypatch.setattr(entry.Entry, "run", record)
    run(monkeypatch, "train", "seed=1")
    run(monkeypatch, "evaluate", "--help")
    monkeypatch.setattr(sys, "argv", ["train.py", "seed=2"])
    cli.train()
    cli.evaluate()
    assert started == [
        ("train", ["/bin/camloc", "train"], ["seed=1"]),
        ("evaluate", ["/bin/camloc", "evaluate"], ["--help"]),
        ("train", ["train.py"], ["seed=2"]),
        ("evaluate", ["train.py"], ["seed=2"]),
    ]


def test_comparing_gets_the_arguments_and_gives_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "main", len)
    assert run(monkeypatch, "compare", "A", "B") == 2


def completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str) -> list[str]:
    monkeypatch.setenv("COMP_LINE", line)
    assert run(monkeypatch, "completion", "query") == 0
    return capsys.readouterr().out.split()


def test_a_shell_completes_commands_and_shells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completed(monkeypatch, capsys, "camloc ") == list(cli.COMMANDS)
    assert completed(monkeypatch, capsys, "/bin/camloc co") == ["compare", "completion"]
    assert completed(monkeypatch, capsys, "camloc completion f") == ["fish"]
    assert completed(monkeypatch, capsys, "camloc compare runs/") == []  # files: the shell completes them
    assert completed(monkeypatch, capsys, "camloc nothing x") == []


def test_a_shell_completes_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = completed(monkeypatch, capsys, "camloc train seed=1 backbone=")
    assert {"backbone=alexnet_gap", "backbone=googlenet_gap", "backbone=vgg_gap"} <= set(found)
    assert completed(monkeypatch, capsys, "camloc train backbone=vgg") == ["backbone=vgg16", "backbone=vgg_gap"]
    assert "backbone=of_run" in completed(monkeypatch, capsys, "camloc evaluate checkpoint=/nowhere backbone=")


def test_a_shell_must_be_known(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "completion", "tcsh") == 1
    assert run(monkeypatch, "completion") == 1
    assert capsys.readouterr().err.splitlines() == ["error: name the shell: camloc completion bash|zsh|fish"] * 2
    assert run(monkeypatch, "completion", "--help") == 0
    assert capsys.readouterr().out == cli.HELP
    for shell in SHELLS:
        assert run(monkeypatch, "completion", shell) == 0
        assert capsys.readouterr().out == script(shell)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("camloc tr", ["train"]),
        ("camloc train backbone=", ["alexnet_gap", "vgg $(touch x)"]),  # what follows the =, run by nobody
        ("camloc train backbone= more", ["train"]),  # the cursor stands before the end
    ],
)
def test_bash_replaces_the_word_at_the_cursor(line: str, replies: list[str], tmp_path: Path) -> None:
    fake = tmp_path / "camloc"
    fake.write_text(
        '#!/bin/bash\ncase "$COMP_LINE" in\n'
        "*=) printf '%s\\n' backbone=alexnet_gap 'backbone=vgg $(touch x)';;\n*) echo train;;\nesac\n"
    )
    fake.chmod(0o755)
    point = line.index("tr") + 2 if "more" in line else len(line)
    command = (
        f'{script("bash")}\nCOMP_LINE="{line}" COMP_POINT={point}\n'
        '_camloc_completion\nprintf "%s\\n" "${COMPREPLY[@]}"\ncomplete -p camloc'
    )
    bash = shutil.which("bash") or ""
    done = subprocess.run(
        [bash, "--norc", "-c", command],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        text=True,
        capture_output=True,
        check=True,
    )
    *found, registered = done.stdout.splitlines()
    assert found == replies
    assert registered.endswith("-F _camloc_completion camloc")
    assert not (tmp_path / "x").exists()
