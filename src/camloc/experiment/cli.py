"""The command line: ``camloc COMMAND ...``; ``train.py``, ``evaluate.py`` and ``predict.py`` are the same commands."""

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps

from camloc import __version__
from camloc.experiment.completion import SHELLS, script

HELP = """\
camloc: train classifiers on image labels, read boxes out of class activation maps, measure them.

Commands:
  train       train a network, choose the best epoch, measure it on val and test, write a report
  evaluate    measure a checkpoint, saved or ready-made score maps, or a submission file
  predict     localize classes in images without labels: files, folders, videos, cameras
  export      write a trained network as ONNX or as torch's exported program
  demo        try a network on your own images, on a page that this machine serves
  compare     say whether two runs differ by more than chance
  svm         classify CAM crops by a linear SVM on a network's features
  leaderboard lay methods and networks side by side, with published numbers
  tables      lay runs of the paper's rows next to its tables
  completion  print a script for tab completion of commands and options (bash, zsh, fish)

Examples:
  camloc train                                        # a small data set that comes with camloc
  camloc train backbone=vgg_gap datamodule=folder datamodule.root=DIR
  camloc evaluate checkpoint=runs/train/DATE_TIME_ID localization.cam_threshold=0.2
  camloc predict checkpoint=RUN source=IMAGES
  camloc compare RUN_A RUN_B
  camloc leaderboard runs/train
  camloc tables paper runs/train
  eval "$(camloc completion bash)"

camloc COMMAND --help explains the options of a command, camloc --version prints the version.
"""
COMMANDS = (
    *("train", "evaluate", "predict", "export", "demo", "compare", "svm", "leaderboard", "tables"),
    "completion",
)


def _interruptible(command: Callable[[], None]) -> Callable[[], None]:
    """End with one line on Ctrl-C before a job has begun, or between the jobs of a sweep."""

    @wraps(command)
    def run() -> None:
        try:
            command()
        except KeyboardInterrupt:
            sys.stderr.write("error: interrupted by SIGINT\n")
            sys.exit(128 + signal.SIGINT)

    return run


@_interruptible
def main() -> None:
    """Run the command that the command line names.

    Raises:
        SystemExit: With the command's exit code.
    """
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("--help", "-h"):
        sys.stdout.write(HELP)
    elif command == "--version":
        sys.stdout.write(f"camloc {__version__}\n")
    elif command == "compare":
        from camloc.report.compare import main as compare  # noqa: PLC0415 - imports torch

        sys.exit(compare(sys.argv[2:]))
    elif command == "leaderboard":
        from camloc.experiment.leaderboard.command import main as leaderboard  # noqa: PLC0415 - imports OmegaConf

        sys.exit(leaderboard(sys.argv[2:]))
    elif command == "tables":
        from camloc.experiment.paper.command import main as tables  # noqa: PLC0415 - imports Hydra

        sys.exit(tables(sys.argv[2:]))
    elif command == "completion":
        _completion(sys.argv[2:])
    elif command in COMMANDS:
        _run(command, sys.argv[:2], sys.argv[2:])
    else:
        from difflib import get_close_matches  # noqa: PLC0415 - a twentieth of the start-up

        near = get_close_matches(command, COMMANDS, 1)
        _fail(f"camloc has no command {command!r}{f'; did you mean {near[0]}?' if near else '.'} See camloc --help")


@_interruptible
def train() -> None:
    """Run ``train.py`` of a checkout."""
    _run("train", sys.argv[:1], sys.argv[1:])


@_interruptible
def evaluate() -> None:
    """Run ``evaluate.py`` of a checkout."""
    _run("evaluate", sys.argv[:1], sys.argv[1:])


@_interruptible
def predict() -> None:
    """Run ``predict.py`` of a checkout."""
    _run("predict", sys.argv[:1], sys.argv[1:])


def _run(command: str, program: list[str], arguments: list[str]) -> None:
    from camloc.experiment.entry import ENTRIES  # noqa: PLC0415 - imports Hydra, which `camloc --help` does not need

    ENTRIES[command].run(program, arguments)


def _completion(arguments: list[str]) -> None:
    if arguments in (["--help"], ["-h"]):
        sys.stdout.write(HELP)
    elif len(arguments) != 1 or arguments[0] not in (*SHELLS, "query"):
        _fail(f"name the shell: camloc completion {'|'.join(SHELLS)}")
    elif arguments[0] == "query":
        _complete(os.environ["COMP_LINE"])
    else:
        sys.stdout.write(script(arguments[0]))


def _complete(line: str) -> None:
    """Print what may follow a command line that ends where the cursor is."""
    _, *words = line.split()
    before, word = (words, "") if line.endswith(" ") else (words[:-1], "".join(words[-1:]))
    if not before:
        found = [command for command in COMMANDS if command.startswith(word)]
        sys.stdout.write("".join(f"{command}\n" for command in found))
    elif before[0] == "completion":
        sys.stdout.write("".join(f"{shell}\n" for shell in SHELLS if shell.startswith(word)))
    elif before[0] in COMMANDS and before[0] not in (
        "compare",
        "leaderboard",
        "tables",
    ):  # these take directories: the shell's to know
        from camloc.experiment.entry import ENTRIES  # noqa: PLC0415 - imports Hydra

        ENTRIES[before[0]].complete(before[1:], line.lstrip().partition(" ")[2].lstrip())


def _fail(message: str) -> None:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(1)
