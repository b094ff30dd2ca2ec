"""Damaged files and options, signals and full disks, each with a verdict: ``python -m tests.harness --help``."""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from rich.console import Console
from rich.table import Table

from tests.harness.disk import become_private, disk_part
from tests.harness.files import files_part
from tests.harness.forks import ForkedError, become_the_command, import_once
from tests.harness.overrides import overrides_part
from tests.harness.signals import signals_part
from tests.harness.verdicts import GOOD, Tally

Part = Callable[[int, int, Path, Callable[[str], None]], list[Tally]]
PARTS: dict[str, tuple[Part, int]] = {
    "files": (files_part, 520),
    "overrides": (overrides_part, 400),
    "signals": (signals_part, 100),
    "disk": (disk_part, 40),
}
"""Each part with the number of its cases."""


def main() -> int:
    """Run the parts that the command line names, show one table, and return how many cases went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness", description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, help="of cases of each part")
    given = parser.parse_args()
    parts = given.part or list(PARTS)
    if "disk" in parts:
        become_private(sys.argv[1:])
    import_once()
    tallies: list[Tally] = []
    for name in parts:
        part, count = PARTS[name]
        tallies += _run(name, part, given.seed, count if given.count is None else given.count)
    _show(tallies)
    return sum(len(tally.wrong) for tally in tallies)


def _run(name: str, part: Part, seed: int, count: int) -> list[Tally]:
    folder = Path(mkdtemp(prefix="camloc-harness-"))  # a context manager would end in every forked process, too
    done = 0

    def step(what: str) -> None:
        nonlocal done
        done += 1
        print(f"{name} {done}/{count}: {what}", file=sys.stderr, flush=True)  # noqa: T201 - progress

    tallies = part(seed, count, folder, step)
    shutil.rmtree(folder)
    return tallies


def _show(tallies: list[Tally]) -> None:
    table = Table("kind", "seed", "cases", "verdicts", "wrong")
    for tally in tallies:
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(tally.verdicts.items()))
        table.add_row(tally.kind, str(tally.seed), str(tally.verdicts.total()), verdicts, str(len(tally.wrong)))
    cases = sum(tally.verdicts.total() for tally in tallies)
    table.add_row(
        "all", "", str(cases), f"right are: {', '.join(sorted(GOOD))}", str(sum(len(t.wrong) for t in tallies))
    )
    console = Console(soft_wrap=True)
    for tally in tallies:
        for line in tally.wrong:
            console.print(line, markup=False, highlight=False)
    console.print(table)


if __name__ == "__main__":  # doctest imports every file
    try:
        wrong = main()
    except ForkedError as forked:
        become_the_command(forked)
    else:
        sys.exit(wrong > 0)
