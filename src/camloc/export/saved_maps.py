"""Predictions with their raw maps in one ``.npz``, see :mod:`camloc.predictors.saved_maps`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camloc.export.replaced import replaced


def write_saved_maps(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write arrays by name, one after the other; memory maps are not read into memory at once.

    Args:
        path: The file; it appears when it is whole.
        arrays: By the names that :mod:`camloc.predictors.saved_maps` lists.
    """
    with replaced(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type] # no array of ours is called allow_pickle
