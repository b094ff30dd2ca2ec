"""The numbers that a run has written, compared."""

import json
from pathlib import Path
from typing import Any

import pytest


def metrics(run: Path) -> dict[str, Any]:
    """Read ``metrics.json``."""
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return found


def assert_equal_but_for_the_loss(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare all numbers to the last digit, but for losses."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # The loss is a mean of float32 numbers, here in batches of another size.
        assert found[name] == (pytest.approx(value, rel=1e-5) if name.endswith("/loss") else value), name
