"""Tables in Markdown, whose cells are shown as they are."""

from collections.abc import Collection, Sequence


def plain(text: str) -> str:
    r"""Escape what Markdown or the HTML in it would read as more than text.

    Example:
        >>> print(plain("a|b"))
        a\|b
    """
    one_line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#&" else letter for letter in one_line)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str]) -> str:
    """Return a table.

    Args:
        headings: Of its columns.
        rows: Their cells.
        numbers: Headings of the columns that are aligned to the right.

    Example:
        >>> print(table(["network", "error"], [["alexnet", "56.4"]], ["error"]))
        | network | error |
        | --- | ---: |
        | alexnet | 56.4 |
    """
    rule = ["---:" if heading in numbers else "---" for heading in headings]
    lines = [map(plain, headings), rule, *(map(plain, row) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
