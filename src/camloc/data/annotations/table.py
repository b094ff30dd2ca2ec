"""The contract of formats that describe a whole data set: images, their labels, boxes and splits in one table.

A new format is one file in this package with a subclass of :class:`SetReader`, which ``datamodule=annotated
datamodule.format=<name>`` then finds. It reads what the files say; that images exist, that boxes lie inside them and
that splits are whole is checked once for all formats. What is wrong in a file is collected in a :class:`TableBuilder`,
so that a person sees all of it at once.
"""

import unicodedata
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.objects import Objects
from camloc.data.annotations.problems import DataProblems

EMPTY = -1
"""Class of a mask file with nothing inside."""

Units = Literal["pixels", "fractions", "percent"]
"""Of coordinates: pixels of the image, or shares of its width and height in 0..1 or 0..100."""


class AnnotatedImages(NamedTuple):
    """N annotated images with L labels and M boxes of C classes."""

    class_names: tuple[str, ...]
    """(C,) sorted; every class has a label. Accents are composed."""
    names: list[str]
    """(N,) the images as the format names them: paths below the data set's root, or bare names."""
    splits: list[str]
    """(N,) ``train``, ``val`` or ``test``; empty where the format says none."""
    groups: list[str]
    """(N,) what belongs together, as a patient; empty where the format says none."""
    sources: list[str]
    """(N,) the file that annotates each image, for messages."""
    sizes: NDArray[np.int64]
    """(N,2) ``(height, width)`` that the format states, 0 where it does not."""
    labels: NDArray[np.int64]
    """(L,2) rows ``(image, class)``, sorted, each once; those of boxes are included."""
    boxes: NDArray[np.float64]
    """(M,4) half-open xyxy in ``units``, in the order of the images and then of the file."""
    box_image: NDArray[np.int64]
    """(M,) the image of each box, ascending."""
    box_class: NDArray[np.int64]
    """(M,) its class, 0-based."""
    masks: list[str]
    """(Q,) mask files below the root, whose pixels above the background outline objects of one class in one image."""
    mask_labels: NDArray[np.int64]
    """(Q,2) rows ``(image, class)`` of each mask file; class -1 where nothing is inside."""
    units: Units
    notes: list[str]
    """What was left out or decided, for the summary before a run."""


class TableBuilder:
    """Collects what a reader finds, and what is wrong with it.

    Args:
        units: Of the boxes.

    Example:
        >>> table = TableBuilder()
        >>> image = table.image("1.jpg", split="train", size=(60, 80))
        >>> table.box(image, "cat", (2, 3, 12, 8), "a.csv, line 2")
        >>> table.label(image, "asleep")
        >>> built = table.build()
        >>> built.class_names, built.labels.tolist(), built.boxes.tolist()
        (('asleep', 'cat'), [[0, 0], [0, 1]], [[2.0, 3.0, 12.0, 8.0]])
    """

    def __init__(self, units: Units = "pixels") -> None:
        self.units = units
        self.notes: list[str] = []
        """What was left out or decided; the reader adds to it."""
        self.problems: list[tuple[str, str]] = []
        """What is wrong: where and what, and the fix."""
        self._places: dict[str, int] = {}
        self._splits: list[str] = []
        self._groups: list[str] = []
        self._sources: list[str] = []
        self._sizes = array("q")
        self._classes: dict[str, int] = {}
        self._spelt: dict[str, int] = {}
        self._listed: dict[str, None] = {}
        # Flat numbers, since a million boxes as objects would take a gigabyte.
        self._labels, self._box_labels, self._mask_labels = array("q"), array("q"), array("q")
        self._boxes = array("d")
        self._masks: list[str] = []

    def image(
        self, name: str, split: str = "", size: tuple[int, int] | None = None, group: str = "", source: str = ""
    ) -> int:
        """Add an image, or find it again by its name.

        Args:
            name: As the format gives it; below the root where the file names paths relative to a split's folder.
            split: ``train``, ``val``, ``test`` or empty.
            size: ``(height, width)`` as the format states it.
            group: What must not be in two splits, as a patient.
            source: The file that says so.

        Returns:
            Its place, for :meth:`label` and :meth:`box`.
        """
        place = self._places.setdefault(name, len(self._places))
        if place == len(self._splits):
            self._splits.append(split)
            self._groups.append(group)
            self._sources.append(source)
            self._sizes.extend(size or (0, 0))
            return place
        for what, known, value in (("split", self._splits, split), ("group", self._groups, group)):
            if value and known[place] and known[place] != value:
                self.problem(source or name, f"{name} is of the {what} {known[place]} and of {value}; keep one")
            known[place] = known[place] or value
        if size and not self._sizes[2 * place]:
            self._sizes[2 * place : 2 * place + 2] = array("q", size)
        return place

    def categories(self, names: Iterable[str]) -> None:
        """Name what a format lists as classes; those that no image has are none, and a note counts them."""
        self._listed |= dict.fromkeys(map(_composed, names))

    def label(self, image: int, name: str) -> None:
        """Say that an image shows a class."""
        self._labels.extend((image, self._class(name)))

    def box(self, image: int, name: str, box: Sequence[float], where: str) -> None:
        """Add an object's box, and its class to the image's labels.

        Args:
            image: Its place.
            name: Of the class.
            box: Half-open xyxy in ``units``. One that is inverted, empty or not finite is a problem.
            where: The file and the line, for messages.
        """
        x0, y0, x1, y1 = box
        if not (-np.inf < x0 < x1 < np.inf and -np.inf < y0 < y1 < np.inf):
            self.problem(where, _no_box(box))
            return
        self._boxes.extend((x0, y0, x1, y1))
        self._box_labels.extend((image, self._class(name)))

    def boxes(
        self,
        images: Sequence[int],
        classes: Sequence[int],
        names: Sequence[str],
        boxes: Sequence[float],
        where: Callable[[int], str],
    ) -> None:
        """Add M boxes at once, as :meth:`box` does each.

        Args:
            images: (M,) the place of each one's image.
            classes: (M,) the place of each one's class in ``names``.
            names: Of classes.
            boxes: (4M,) half-open xyxy in ``units``.
            where: From 0 to M - 1 to the file and the line, for messages.
        """
        corners = np.asarray(boxes, np.float64).reshape(-1, 4)
        is_box = np.isfinite(corners).all(axis=1) & (corners[:, :2] < corners[:, 2:]).all(axis=1)
        for row in np.flatnonzero(~is_box).tolist():
            self.problem(where(row), _no_box(corners[row].tolist()))
        used = np.unique(np.asarray(classes, np.int64)).tolist()
        places = np.zeros(len(names), np.int64)
        places[used] = [self._class(names[number]) for number in used]
        rows = np.stack([np.asarray(images, np.int64), places[np.asarray(classes, np.int64)]], axis=1)
        self._boxes.frombytes(corners[is_box].tobytes())
        self._box_labels.frombytes(rows[is_box].tobytes())

    def mask(self, image: int, name: str | None, file: str) -> None:
        """Add a mask file, by its path below the root, that outlines objects of a class, and the class to the labels.

        The boxes around its pieces are added with :meth:`box`. A file with nothing inside has no class; it is named all
        the same, since it is no image.
        """
        self._masks.append(file)
        self._mask_labels.extend((image, EMPTY if name is None else self._class(name)))

    def problem(self, where: str, message: str) -> None:
        """Note what is wrong.

        Args:
            where: The file, and the line where it covers many images.
            message: What was found, and the fix.
        """
        self.problems.append((where, message))

    def build(self) -> AnnotatedImages:
        """Return the table.

        Raises:
            DataProblems: If there was any problem.
        """
        if self.problems:
            raise DataProblems(self.problems)
        class_names = sorted(self._classes)
        unused = [name for name in self._listed if name not in self._classes]
        if unused and class_names:
            shown = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")  # noqa: PLR2004 - enough to recognize
            what = "1 category has" if len(unused) == 1 else f"{len(unused)} categories have"
            self.notes.append(f"{what} no annotation, which makes a class only if datamodule.classes names it: {shown}")
        renumbered = np.full(len(class_names) + 1, EMPTY)  # the last place is -1, too
        for place, name in enumerate(class_names):
            renumbered[self._classes[name]] = place
        of_image, of_box, of_mask = (
            _renumbered(rows, renumbered) for rows in (self._labels, self._box_labels, self._mask_labels)
        )
        num_classes = max(len(class_names), 1)
        shown = of_mask[of_mask[:, 1] != EMPTY]
        keys = np.concatenate([rows[:, 0] * num_classes + rows[:, 1] for rows in (of_image, of_box, shown)])
        labels = np.stack(np.divmod(np.unique(keys), num_classes), axis=1)
        order = np.argsort(of_box[:, 0], kind="stable")
        return AnnotatedImages(
            tuple(class_names),
            list(self._places),
            self._splits,
            self._groups,
            self._sources,
            np.array(self._sizes, np.int64).reshape(-1, 2),
            labels,
            np.array(self._boxes, np.float64).reshape(-1, 4)[order],
            of_box[order, 0],
            of_box[order, 1],
            self._masks,
            of_mask,
            self.units,
            self.notes,
        )

    def _class(self, name: str) -> int:
        place = self._spelt.get(name)
        if place is None:
            place = self._spelt[name] = self._classes.setdefault(_composed(name), len(self._classes))
        return place


def objects_by_image(table: AnnotatedImages, where: str) -> dict[str, Objects]:
    """Return the boxes of each image by its name, for readers of a file with the boxes of many images.

    Args:
        table: What a file says; a class without a name is none.
        where: The file, for messages.
    """
    first = np.searchsorted(table.box_image, np.arange(len(table.names) + 1))
    classes = [name or None for name in table.class_names]
    found = {}
    for place, name in enumerate(table.names):
        boxes = slice(first[place], first[place + 1])
        named = tuple(classes[number] for number in table.box_class[boxes].tolist())
        height, width = table.sizes[place].tolist()
        found[name] = Objects(table.boxes[boxes], named, f"{where}, {name}", (height, width) if height else None)
    return found


class SetReader(ABC):
    """Reads the data sets of one format."""

    name: str
    """Of the format, for ``datamodule.format``."""
    group_column: str | None = None
    """The column that says what belongs together, for formats that are tables; set before :meth:`read`."""
    wanted: str
    """What it looks for, in words, for the message where nothing is found: ``instances.json or annotations/*.json``."""

    @abstractmethod
    def recognise(self, root: Path) -> str | None:
        """Say in words what of this format lies in a folder, from names of files and the start of one; null if nothing.

        Called for every format with ``format=auto``; it must be quick, and raise nothing for strangers' files.
        """

    def missed(self, root: Path) -> str | None:  # noqa: ARG002 - most formats have nothing to tell
        """Say in words what lies in a folder and is nearly of this format, for the message where nothing is found."""
        return None

    @abstractmethod
    def read(self, root: Path) -> AnnotatedImages:
        """Read a data set.

        Raises:
            DataProblems: With everything that is wrong in its files.
            FileNotFoundError: If there is no file of the format.
        """


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _no_box(box: Sequence[float]) -> str:
    shown = " ".join(f"{value:g}" for value in box)
    return f"the box {shown} (half-open x0 y0 x1 y1) is inverted, empty or not finite"


def _renumbered(rows: "array[int]", renumbered: NDArray[np.int64]) -> NDArray[np.int64]:
    table = np.array(rows, np.int64).reshape(-1, 2)
    table[:, 1] = renumbered[table[:, 1]]
    return table
