"""What is kept of every pair of a split while batches go by, and brought together from all processes at the end."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class Stored(NamedTuple):
    """P pairs in the split's order."""

    positions: NDArray[np.int64]
    """(P,) place of each pair's image in the split."""
    classes: NDArray[np.int64]
    """(P,) class of each pair."""
    values: Mapping[str, NDArray[Any]]
    """(P,...) by name."""

    @classmethod
    def nothing(cls) -> "Stored":
        """Return the record of no pair."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), {})


class PairStore:
    """Values of pairs by name, each in one array that doubles when it is full.

    Kept batch by batch instead, these long-lived small arrays would lie between the short-lived large ones and keep
    the allocator from giving memory back: gigabytes over 50,000 images. Eight bools share a byte.

    Example:
        >>> store = PairStore()
        >>> store.add([1], [7], {"hits": torch.tensor([[True, False, True]])})
        >>> store.add([0], [8], {"hits": torch.tensor([[False, False, True]])})
        >>> stored = store.gather(world_size=1)
        >>> stored.positions.tolist(), stored.classes.tolist(), stored.values["hits"].tolist()
        ([0, 1], [8, 7], [[False, False, True], [True, False, True]])
    """

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._classes: list[int] = []
        self._values: dict[str, NDArray[Any]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        """(...) of each pair's bools, by name."""

    def add(
        self, positions: Sequence[int], classes: Sequence[int], values: Mapping[str, torch.Tensor | NDArray[Any]]
    ) -> None:
        """Append a batch.

        Args:
            positions: P places of the pairs' images in the split.
            classes: P classes of the pairs.
            values: (P,...) by name, the same names in every batch.

        Raises:
            ValueError: If the names differ from those of an earlier batch.
        """
        if not positions:
            return
        if self._positions and values.keys() != self._values.keys():
            raise ValueError(
                f"pairs of one split have {', '.join(self._values)}, and then {', '.join(values)}; either all pairs "
                "of a split have logits and maps, or none has"
            )
        first, last = len(self._positions), len(self._positions) + len(positions)
        for name, given in values.items():
            rows = given.cpu().numpy() if isinstance(given, torch.Tensor) else given
            if rows.dtype == bool:
                self._shapes[name] = rows.shape[1:]
                rows = np.packbits(rows.reshape(*rows.shape[: max(rows.ndim - 1, 1)], -1), axis=-1)
            if name not in self._values:
                self._values[name] = np.empty((len(rows), *rows.shape[1:]), rows.dtype)
            while last > len(self._values[name]):
                self._values[name] = np.concatenate([self._values[name], np.empty_like(self._values[name])])
            self._values[name][first:last] = rows
        self._positions += positions
        self._classes += classes

    def gather(self, world_size: int) -> Stored:
        """Return the pairs of all processes in the split's order; every process must call it."""
        values_so_far = {name: array[: len(self._positions)] for name, array in self._values.items()}
        own = (self._positions, values_so_far, self._classes)
        gathered: list[Any] = [own]
        if world_size > 1:
            gathered = [None] * world_size
            torch.distributed.all_gather_object(gathered, (*own, self._shapes))
            self._shapes = {name: shape for part in gathered for name, shape in part[3].items()}
        filled = [part for part in gathered if part[0]]
        positions = np.array([position for part in filled for position in part[0]], dtype=np.int64)
        order = positions.argsort(kind="stable")  # pairs of one image keep their order
        values = {}
        for name in filled[0][1] if filled else ():
            rows = np.concatenate([part[1][name] for part in filled])[order]
            if (shape := self._shapes.get(name)) is not None:
                rows = np.unpackbits(rows, axis=-1, count=(1, *shape)[-1]).view(bool).reshape(-1, *shape)
            values[name] = rows
        classes = np.array([one for part in filled for one in part[2]], dtype=np.int64)
        return Stored(positions[order], classes[order], values)
