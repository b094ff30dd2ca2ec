"""The summary of a data set before a run starts, and images that cannot be read."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track as rich_track
from rich.table import Table
from rich.text import Text

from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.preflight import (
    FEW_HEADERS,
    NUM_SHOWN,
    Preflight,
    check_splits,
    check_windows,
    open_images,
    unreadable_headers,
)
from camloc.data.loading.split import Split, SplitName
from camloc.experiment.recorded_splits import record_splits
from camloc.experiment.run_directory import RunDirectory, is_first_process, is_started_by_first_process
from camloc.export.replaced import replaced

OnUnreadable = Literal["error", "skip"]
Unreadable = Mapping[SplitName, Sequence[tuple[int, str]]]
CLASSES_SHOWN = 10
LEFT_OUT_BY = "on_unreadable=skip leaves them out"
SHOW_PROGRESS_FROM = 20_000
"""Images from which a look at all labels takes longer than two seconds."""


def preflight(
    datamodule: LocalizationDataModule,
    names: tuple[SplitName, ...],
    run: RunDirectory,
    on_unreadable: OnUnreadable = "error",
    *,
    open_all: bool = False,
) -> None:
    """Check splits, print one summary, and refuse anything that would invalidate the result.

    Under DDP the first process does this; the others only leave out what it left out.

    Args:
        datamodule: Whose splits are checked.
        names: Which of them.
        run: Keeps ``unreadable.json`` where images were opened, and ``splits.csv`` where images were dealt.
        on_unreadable: ``skip`` opens every image and leaves out those that cannot be read.
        open_all: Whether to open every image and list those that cannot be read.

    Raises:
        ValueError: If anything is wrong; the message says what, and how to fix it.
    """
    if on_unreadable not in ("error", "skip"):
        raise ValueError(f"on_unreadable must be error or skip, found {on_unreadable!r}")
    skip = on_unreadable == "skip"
    if not is_first_process():
        if skip:
            _leave_out_as_the_first_process_does(datamodule, names, run)
        return
    splits = {name: datamodule.split(name) for name in names}
    record_splits(datamodule.dealt, run)
    with_boxes = datamodule.trains_with_boxes
    check = partial(
        check_splits,
        class_names=datamodule.class_names,
        track=_track,
        trains_with_boxes=with_boxes,
        objectless=datamodule.objectless,
        on_copies=datamodule.on_copies,
    )
    found = check(splits, read_files=open_all)
    if open_all or (skip and not found.errors):
        unreadable = _open_all(splits, found, run.unreadable, skip=skip)
        if skip:
            _leave_out(datamodule, unreadable)
            splits = {name: datamodule.split(name) for name in names}
            found = _checked_again(found, check(splits))
    else:
        _look_at_headers(splits, found)
    if datamodule.eval_transform.kind == "centre_crop":
        for name, summary in found.splits.items():
            if summary.num_boxes and name != "train":
                check_windows(splits[name], summary, datamodule.eval_transform.window)
    is_pseudo = datamodule.pseudo_boxes is not None
    notes = dict.fromkeys(datamodule.notes)
    _show(found, datamodule.class_names, notes, trains_with_boxes=with_boxes, is_pseudo=is_pseudo)
    if found.errors:
        raise ValueError("the data set is not ready: " + " | ".join(found.errors))


def _open_all(splits: Mapping[SplitName, Split], found: Preflight, record: Path, *, skip: bool) -> Unreadable:
    unreadable = {}
    for name, summary in found.splits.items():
        images, summary.num_beyond = open_images(splits[name], name, _track)
        unreadable[name] = images
        if images:
            problem = _problem(name, images, f"; all are listed in {record}")
            if skip:
                found.warnings.append(f"{problem}; left out")
            else:
                found.errors.append(f"{problem}; {LEFT_OUT_BY}")
    with replaced(record) as partial:
        partial.write_text(json.dumps(unreadable, indent=2), encoding="utf-8")
    return unreadable


def _look_at_headers(splits: Mapping[SplitName, Split], found: Preflight) -> None:
    """Report what would end a run later, after a training perhaps."""
    for name, split in ({} if found.errors else splits).items():
        if len(split) <= FEW_HEADERS and (images := unreadable_headers(split, name, _track)):
            found.errors.append(f"{_problem(name, images, '; check_only=true lists all')}; {LEFT_OUT_BY}")


def _problem(name: SplitName, images: Sequence[tuple[int, str]], listed: str) -> str:
    shown = "; ".join(reason for _, reason in images[:NUM_SHOWN])
    return f"{name}: {len(images)} images cannot be read: {shown}{listed if len(images) > NUM_SHOWN else ''}"


def _checked_again(before: Preflight, found: Preflight) -> Preflight:
    """Complete a check of what is left of the splits: a class may have lost its last image."""
    for name, summary in found.splits.items():
        summary.num_beyond = before.splits[name].num_beyond
    found.warnings = list(dict.fromkeys(before.warnings + found.warnings))
    return found


def _leave_out_as_the_first_process_does(
    datamodule: LocalizationDataModule, names: tuple[SplitName, ...], run: RunDirectory
) -> None:
    if is_started_by_first_process():
        record = json.loads(run.unreadable.read_text(encoding="utf-8"))
        _leave_out(datamodule, {name: record[name] for name in names})
    else:  # torchrun and SLURM start all processes at once: the record may not be there yet
        found = {name: open_images(datamodule.split(name), name, lambda items, _what, _total: items) for name in names}
        _leave_out(datamodule, {name: opened.unreadable for name, opened in found.items()})


def _leave_out(datamodule: LocalizationDataModule, unreadable: Unreadable) -> None:
    for name, images in unreadable.items():
        if images:
            datamodule.leave_out(name, [index for index, _ in images])


def _track(items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    quick = total < SHOW_PROGRESS_FROM and "opening" not in what
    return items if quick else rich_track(items, what, total, console=Console(stderr=True), transient=True)


def _show(
    found: Preflight, class_names: Sequence[str], notes: Iterable[str], *, trains_with_boxes: bool, is_pseudo: bool
) -> None:
    console = Console()
    table = Table(box=SIMPLE_HEAD)
    for heading in ("split", "images", "classes", "per class", "true boxes", "without box"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for name, summary in found.splits.items():
        present = summary.per_class[summary.per_class > 0]
        fewest, most = (present.min(), present.max()) if len(present) else (0, 0)
        spread = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        is_read = name != "train" or trains_with_boxes
        kind = " pseudo" if name == "val" and is_pseudo else ""
        table.add_row(
            Text(name),
            f"{summary.num_images:,}",
            f"{len(present):,} of {len(class_names):,}",
            spread,
            f"{summary.num_boxes:,}{kind}" if is_read else "not read",
            f"{summary.num_without_boxes:,}" if is_read else "",
        )
    console.print(table)
    some = ", ".join(class_names[:CLASSES_SHOWN]) + (", ..." if len(class_names) > CLASSES_SHOWN else "")
    for line in (f"classes: {some}", *_boxes_notes(found), *(f"note: {note}" for note in [*found.warnings, *notes])):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _boxes_notes(found: Preflight) -> Iterator[str]:
    for name, summary in found.splits.items():
        if summary.num_beyond:
            yield f"{name}: {summary.num_beyond:,} true boxes reach beyond their images; measured as annotated."
        if summary.num_cut or summary.num_unseen:
            yield (
                f"{name}: the centre crop cuts {summary.num_cut:,} of {summary.num_boxes:,} true boxes and shows "
                f"nothing of {summary.num_unseen:,}; they are measured whole."
            )
