"""The summary of a data set before a run starts, and pictures that cannot be read."""

import json
from collections.abc import Iterable
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track as rich_track
from rich.table import Table
from rich.text import Text

from camloc.data.datamodule import LocalizationDataModule
from camloc.data.preflight import NUM_SHOWN, Preflight, check_splits, open_pictures
from camloc.data.split import SplitName
from camloc.experiment.run_directory import RunDirectory, is_first_process

OnUnreadable = Literal["error", "skip"]
SHOW_PROGRESS_FROM = 20_000
"""Pictures from which a look at all labels takes longer than two seconds."""


def preflight(
    datamodule: LocalizationDataModule,
    names: tuple[SplitName, ...],
    run: RunDirectory,
    on_unreadable: OnUnreadable = "error",
    *,
    open_all: bool = False,
) -> None:
    """Check splits, print one summary, and refuse what would make the result wrong.

    Under DDP the first process does this; the others only leave out what it left out.

    Args:
        datamodule: Its splits.
        names: Which of them.
        run: Keeps ``unreadable.json`` where pictures are left out.
        on_unreadable: ``skip`` opens every picture and leaves out those that cannot be read.
        open_all: Whether to open every picture and list those that cannot be read.

    Raises:
        ValueError: If anything is wrong; the message says what, and how to mend it.
    """
    if on_unreadable not in ("error", "skip"):
        raise ValueError(f"on_unreadable must be error or skip, found {on_unreadable!r}")
    record = run.path / "unreadable.json"
    if not is_first_process():
        if on_unreadable == "skip" and record.is_file():
            _leave_out(datamodule, json.loads(record.read_text(encoding="utf-8")))
        return
    splits = {name: datamodule.split(name) for name in names}
    found = check_splits(splits, datamodule.class_names, _track)
    if open_all or on_unreadable == "skip":
        for summary in found.splits:
            open_pictures(datamodule.split(summary.name), summary, _track)  # type: ignore[arg-type] # a split's name
    unreadable = {summary.name: summary.unreadable for summary in found.splits}
    if on_unreadable == "skip":
        record.write_text(json.dumps(unreadable), encoding="utf-8")
        _leave_out(datamodule, unreadable)
    else:
        for name, pictures in unreadable.items():
            shown = "; ".join(reason for _, reason in pictures[:NUM_SHOWN])
            if pictures:
                found.errors.append(f"{name}: {len(pictures)} pictures cannot be read: {shown}")
    _show(found, len(datamodule.class_names), dict.fromkeys(datamodule.notes), skipped=on_unreadable == "skip")
    if found.errors:
        raise ValueError("the data set is not ready: " + " | ".join(found.errors))


def _leave_out(datamodule: LocalizationDataModule, unreadable: dict[str, Any]) -> None:
    for name, pictures in unreadable.items():
        if pictures:
            datamodule.leave_out(name, [index for index, _ in pictures])  # type: ignore[arg-type] # a split's name


def _track(items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    quick = total < SHOW_PROGRESS_FROM and "opening" not in what
    return items if quick else rich_track(items, what, total, transient=True)


def _show(found: Preflight, num_classes: int, notes: Iterable[str], *, skipped: bool) -> None:
    console = Console()
    table = Table(box=SIMPLE_HEAD)
    for heading in ("split", "pictures", "classes", "per class", "true boxes", "without box"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for summary in found.splits:
        present = summary.per_class[summary.per_class > 0]
        spread = f"{present.min()} to {present.max()}" if len(present) else "0"
        measured = summary.name != "train"
        table.add_row(
            Text(summary.name),
            f"{summary.num_pictures:,}",
            f"{len(present):,} of {num_classes:,}",
            spread,
            f"{summary.num_boxes:,}" if measured else "not read",
            f"{summary.num_without_boxes:,}" if measured else "",
        )
    console.print(table)
    for summary in found.splits:
        if summary.num_clipped:
            console.print(f"{summary.name}: {summary.num_clipped:,} true boxes reach beyond their pictures.")
        if summary.unreadable and skipped:
            shown = "; ".join(reason for _, reason in summary.unreadable[:NUM_SHOWN])
            console.print(f"{summary.name}: {len(summary.unreadable):,} unreadable pictures left out: {shown}")
    for warning in [*found.warnings, *notes]:
        console.print(f"note: {warning}", highlight=False, soft_wrap=True)
