"""Arguments of commands that take no configuration."""

import argparse
from pathlib import Path
from typing import Any, NoReturn


class OneLineParser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, and exits with 1.

    Args:
        failure: What the line begins with, such as ``no tables``.
        usage_line: How the command is called.
        options: Those of every parser.
    """

    def __init__(self, failure: str, usage_line: str, **options: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(**options)
        self.failure, self.usage_line = failure, usage_line

    def error(self, message: str) -> NoReturn:
        """Exit with the line."""
        self.exit(1, f"{self.failure}: {message}; usage: {self.usage_line}\n")

    def check_outputs(self, options: argparse.Namespace) -> None:
        """Exit with a line if a file ``--markdown`` or ``--csv``, or a folder ``--html``, cannot be written.

        A device or a link is no place for a file: it would be replaced.
        """
        for name in ("markdown", "csv", "html"):
            path: Path | None = getattr(options, name, None)
            if path is None:
                continue
            if name == "html":
                why = "is no folder; give one" if path.exists() and not path.is_dir() else ""
            elif path.is_symlink() or (path.exists() and not path.is_file()) or not path.name:
                why = "is no regular file; give the name of one"
            else:
                why = "" if path.parent.is_dir() else "lies in a folder that does not exist; make it first"
            if why:
                self.error(f"--{name} {path} {why}")
