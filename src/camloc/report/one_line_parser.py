"""Arguments of commands that take no configuration."""

import argparse
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
