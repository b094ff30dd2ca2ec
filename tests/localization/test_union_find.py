import numpy as np
import pytest
from numba.core import caching

from camloc.localization.union_find import EIGHT_NEIGHBOURS, FOUR_NEIGHBOURS, compiled, find, neighbour_groups


def test_finding_halves_the_path() -> None:
    parent = np.array([0, 0, 1, 2, 3], np.uint32)
    assert find(parent, 4) == 0
    assert parent.tolist() == [0, 0, 1, 1, 3]
    assert find(parent, 4) == find(parent, 0) == 0


def test_neighbours_that_touch_are_one_group() -> None:
    first, rest = neighbour_groups(EIGHT_NEIGHBOURS)
    top_left, top, bottom = 1 << 0, 1 << 1, 1 << 7
    assert (first[top_left | top], rest[top_left | top]) == (0, 0)
    assert (first[top | bottom], rest[top | bottom]) == (1, bottom)
    # Left and top touch at a corner: one group of eight neighbours, two of four.
    left = 1 << 3
    assert rest[top | left] == 0
    assert neighbour_groups(FOUR_NEIGHBOURS)[1][top | left] == left


def test_compiles_without_any_directory_to_keep_the_result_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def double(number: int) -> int:
        return 2 * number

    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    compiled_double = compiled(double)  # no file system here refuses root
    assert compiled_double(21) == 42
    assert compiled_double.py_func is double  # type: ignore[attr-defined]  # Numba's, not the function itself
