"""The arrays of a file of saved predictions, which anyone may have made: checked against the file and each other.

Nothing is unpacked, because nothing is compressed: an array takes as much memory as it takes of the file.
"""

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = dict[str, NDArray[Any]]
Shape: TypeAlias = tuple[int | str, ...]
MAX_SIDE = 4096
"""Of a score map, pixels."""

# By name: the kind of numbers, and the shape, where a letter stands for the same number wherever it is.
_GENERAL: Mapping[str, tuple[str, Shape]] = {
    "class_names": ("U", ("C",)),
    "devkit_ids": ("i", ("D",)),
    "map_size": ("i", (2,)),
    "objectless": ("i", ("O",)),
    "config": ("U", ()),
}
_SPLIT: Mapping[str, tuple[str, Shape]] = {
    "logits": ("f", ("N", "C")),
    "cam": ("f", ("N", "h", "w")),
    "ranked_classes": ("i", ("N", "G")),
    "ranked_cams": ("f", ("N", "G", "h", "w")),
    "target": ("i", ("N",)),
    "image_ids": ("S", ("N",)),
    "image_sizes": ("i", ("N", 2)),
    "windows": ("i", ("N", 4)),
    "box_ends": ("i", ("N",)),
    "image_boxes": ("f", ("M", 4)),
    "masks": ("u", ("N", 2, "B")),
}
# Of images with several labels, where there are P pairs of an image and a class.
_SEVERAL: Mapping[str, tuple[str, Shape]] = {
    **_SPLIT,
    "cam": ("f", ("P", "h", "w")),
    "target": ("b", ("N", "C")),
    "box_ends": ("i", ("P",)),
    "masks": ("u", ("P", 2, "B")),
}
_MAY_BE_ABSENT, _MAY_BE_EMPTY = ("masks", "objectless"), ("M", "D", "O", "P")  # files of 0.1 name no objectless classes
_DTYPES = {"f": ("float32", "float16", "float64"), "i": ("int64",), "u": ("uint8",)}


class SavedArrays:
    """A file of saved predictions, see :mod:`camloc.predictors.saved_maps` for what is in it.

    Args:
        path: The ``.npz``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is cut off or something else, or its arrays contradict each other; the message names the file
            and the array. The same holds for the methods.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"score_maps={path} is not there; save_score_maps=true writes such a file")
        self.path = path
        with self._naming_the_file():
            self.general = self._read(_GENERAL, "", {})
            _check_general(self.general)

    def has(self, name: str) -> bool:
        """Tell whether there is an array of a split."""
        with self._naming_the_file(), zipfile.ZipFile(self.path) as archive:
            return any(member.startswith(f"{name}/") for member in archive.namelist())

    def split(self, name: str) -> Arrays:
        """Read the arrays of a split, by name."""
        known = {"C": (len(self.general["class_names"]), "class_names")}
        height, width = self.general["map_size"].tolist()
        with self._naming_the_file():
            arrays = self._read(self._layout(f"{name}/target"), f"{name}/", known)
            _check_split(arrays, f"{name}/", height * width)
        return arrays

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        # By the place of the damage, zipfile and NumPy raise nearly anything.
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"score_maps={self.path} holds no saved score maps: {reason}; write it again with "
                "evaluate.py checkpoint=RUN save_score_maps=true"
            ) from error

    def _layout(self, target: str) -> Mapping[str, tuple[str, Shape]]:
        """Return a split's layout, which its labels tell; what is wrong with their array is found when it is read."""
        with zipfile.ZipFile(self.path) as archive:
            if f"{target}.npy" not in archive.namelist():
                return _SPLIT
            with archive.open(f"{target}.npy") as stream:
                _, dtype = _read_header(stream)
        return _SEVERAL if dtype.kind == "b" else _SPLIT

    def _read(
        self, layout: Mapping[str, tuple[str, Shape]], prefix: str, known: Mapping[str, tuple[int, str]]
    ) -> Arrays:
        with self.path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            present = [name for name in layout if name not in _MAY_BE_ABSENT or prefix + name in members]
            if lacking := [prefix + name for name in present if prefix + name not in members]:
                raise ValueError(f"{', '.join(lacking)} is missing")
            sizes = dict(known)
            for name in present:  # all of them, before one is read
                _check_header(archive, members[prefix + name], prefix + name, layout[name], sizes)
            arrays = {}
            for name in present:
                with archive.open(members[prefix + name]) as stream:
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
                    stream.read()  # the checksum is compared at the end
            return arrays


def _check_header(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    key: str,
    expected: tuple[str, Shape],
    sizes: dict[str, tuple[int, str]],
) -> None:
    """Compare an array's header with the size of its member, its layout and the arrays before it.

    Args:
        archive: Holds it.
        member: The array.
        key: Its name.
        expected: Kind of numbers, and shape.
        sizes: What each letter stands for and which array said so; added to.
    """
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{key} is compressed")
    with archive.open(member) as stream:
        shape, dtype = _read_header(stream)
        length = stream.tell() + math.prod(shape) * dtype.itemsize
    kind, layout = expected
    dtypes = [np.dtype(name) for name in _DTYPES.get(kind, ())]
    if dtype.kind != kind or (dtypes and dtype not in dtypes):
        raise ValueError(f"{key} is {dtype}, not {dtypes[0] if dtypes else np.dtype(kind).type.__name__}")
    if member.file_size != length:
        raise ValueError(f"{key} has {member.file_size} bytes, and its header says {length}")
    if len(shape) != len(layout):
        raise ValueError(f"{key} has shape {shape}, not ({', '.join(map(str, layout))})")
    for found, wanted in zip(shape, layout, strict=True):
        size, origin = (wanted, key) if isinstance(wanted, int) else sizes.setdefault(wanted, (found, key))
        if found != size or (found == 0 and wanted not in _MAY_BE_EMPTY):
            where = f"where {wanted} is {size} by {origin}" if origin != key else "which is empty"
            where = f"not ({', '.join(map(str, layout))})" if isinstance(wanted, int) else where
            raise ValueError(f"{key} has shape {shape}, {where}")


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _check_general(arrays: Arrays) -> None:
    if not all(1 <= side <= MAX_SIDE for side in arrays["map_size"].tolist()):
        raise ValueError(f"map_size is {arrays['map_size'].tolist()}, not two sides of 1 to {MAX_SIDE} pixels")
    if len(arrays["devkit_ids"]) not in (0, len(arrays["class_names"])):
        raise ValueError(f"devkit_ids has {len(arrays['devkit_ids'])} entries for {len(arrays['class_names'])} classes")
    _refuse_other_classes(arrays.get("objectless", np.zeros(0, np.int64)), "objectless", len(arrays["class_names"]))


def _check_split(arrays: Arrays, prefix: str, num_pixels: int) -> None:
    """Compare the values of a split's arrays with each other."""
    logits, ranked, boxes, ends = (arrays[name] for name in ("logits", "ranked_classes", "image_boxes", "box_ends"))
    num_classes, num_ranked = logits.shape[1], ranked.shape[1]
    for name in ("target", "ranked_classes"):
        if arrays[name].dtype != bool:
            _refuse_other_classes(arrays[name], f"{prefix}{name}", num_classes)
    num_pairs = int(arrays["target"].sum()) if arrays["target"].dtype == bool else len(logits)
    if len(ends) != num_pairs:
        raise ValueError(f"{prefix}cam has {len(ends)} maps, and {prefix}target has {num_pairs} pairs")
    of_ranked = np.take_along_axis(logits, ranked, axis=1)
    ascending = (np.diff(of_ranked, axis=1) > 0).any(axis=1)
    repeated = (np.diff(np.sort(ranked, axis=1), axis=1) == 0).any(axis=1)
    left_out = (logits > of_ranked[:, -1:]).sum(axis=1) >= num_ranked
    unranked = ascending | repeated | left_out
    _refuse(unranked, f"{prefix}ranked_classes", f"are not the {num_ranked} highest logits in order")
    # Compared and not subtracted, which could overflow.
    _refuse(ends < np.append(0, ends[:-1]), f"{prefix}box_ends", "go back")
    last = ends[-1] if len(ends) else 0
    if last != len(boxes):
        raise ValueError(f"{prefix}box_ends ends at {last}, and image_boxes has {len(boxes)} boxes")
    flat = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    _refuse(~np.isfinite(boxes).all(axis=1) | flat, f"{prefix}image_boxes", "are no box x0 y0 x1 y1")
    windows = arrays["windows"]
    _refuse((windows[:, 2:] <= windows[:, :2]).any(axis=1), f"{prefix}windows", "are no window x0 y0 x1 y1")
    _refuse((arrays["image_sizes"] < 1).any(axis=1), f"{prefix}image_sizes", "are no height and width")
    _, first = np.unique(arrays["image_ids"], return_index=True)
    _refuse(~np.isin(np.arange(len(logits)), first), f"{prefix}image_ids", "are another image's as well")
    if "masks" in arrays and arrays["masks"].shape[2] != math.ceil(num_pixels / 8):
        raise ValueError(f"{prefix}masks has {arrays['masks'].shape[2]} bytes for {num_pixels} pixels of map_size")


def _refuse_other_classes(classes: NDArray[np.int64], key: str, num_classes: int) -> None:
    if outside := classes[(classes < 0) | (classes >= num_classes)].tolist():
        raise ValueError(f"{key} has class {outside[0]}, and there are {num_classes}")


def _refuse(wrong: Any, key: str, what: str) -> None:  # noqa: ANN401 - (N,) bool, which NumPy's types do not say
    if wrong.any():
        raise ValueError(f"the values of {key} at {int(wrong.argmax())} {what}")
