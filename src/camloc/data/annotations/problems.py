"""Everything that is wrong in files of annotation, collected before any of it is reported."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

SHOWN = 10
"""Problems that a message shows."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


class DataProblems(ValueError):  # noqa: N818 - it holds problems, of which none is the error
    """Everything that is wrong in a data set's files.

    Args:
        problems: Rows ``(where, message)``, at least one.

    Attributes:
        problems: As given; a run writes them to ``data_problems.csv``.

    Example:
        >>> print(DataProblems([("a.xml", "it has no <object>"), ("b.xml", "this is not XML")]))
        2 problems in the data's files: (1) a.xml: it has no <object>; (2) b.xml: this is not XML
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = list(problems)
        shown_first = [f"{where}: {message}" if where else message for where, message in self.problems[:SHOWN]]
        lines = [_CONTROLS.sub(" ", line) for line in shown_first]  # a field of a broken table may hold lines
        count = len(self.problems)
        if count == 1:
            super().__init__(lines[0])
            return
        more = f"; and {count - SHOWN} more" if count > SHOWN else ""
        shown = "; ".join(f"({number}) {line}" for number, line in enumerate(lines, start=1))
        super().__init__(f"{count} problems in the data's files: {shown}{more}")


@contextmanager
def collecting(problems: list[tuple[str, str]]) -> Iterator[None]:
    """Add what is raised to a list of problems, so that the next file or object is read too.

    Example:
        >>> problems = []
        >>> with collecting(problems):
        ...     raise ValueError("a.xml: this is not XML")
        >>> problems
        [('', 'a.xml: this is not XML')]
    """
    try:
        yield
    except DataProblems as error:
        problems += error.problems
    except (OSError, ValueError) as error:
        problems.append(("", str(error)))
