"""What a protocol found of every pair, as ``per_image/<split>[_<protocol>].npz``, from which its numbers follow."""

from pathlib import Path

import numpy as np

from camloc.export.replaced import replaced
from camloc.records import SplitOutcome


def write_outcomes(path: Path, outcome: SplitOutcome) -> None:
    """Write a ``.npz`` without pickled objects: ``image_ids``, ``target`` and the outcome's values by name.

    Bools are packed, eight in a byte, with the length of their last axis as ``<name>_length``.

    Args:
        path: The file; it appears when it is whole.
        outcome: Of a split.
    """
    arrays = {"image_ids": np.array(list(outcome.image_ids)), "target": outcome.classes.numpy()}
    for name, value in outcome.values.items():
        array = value.numpy()
        if array.dtype == bool:
            arrays[f"{name}_length"] = np.array(array.shape[-1])
            array = np.packbits(array, axis=-1)
        arrays[name] = array
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type] # no array of ours is called allow_pickle
