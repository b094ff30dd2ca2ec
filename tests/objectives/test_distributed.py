"""Training methods under DDP: every parameter has a gradient, and all processes keep the same weights."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration
WHOLE_BATCH = ("acol",)
"""Methods without random draws and without batch norm, whose steps do not depend on how a batch is divided."""


def run(processes: int, folder: Path) -> list[dict[str, Any]]:
    script = Path(__file__).parent / "steps_in_processes.py"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    stem = folder / str(processes)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(script), str(stem)], timeout=240, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(Path(f"{stem}.{rank}").read_text(encoding="utf-8")) for rank in range(processes)]


def test_every_method_takes_the_same_steps_in_all_processes(tmp_path: Path) -> None:
    (alone,) = run(1, tmp_path)
    first, second = run(2, tmp_path)
    assert first == second
    for name, found in first.items():
        assert found["without_gradient"] == [], name
        assert found["weights"].keys() == alone[name]["weights"].keys()
    for name in WHOLE_BATCH:
        for key, weights in first[name]["weights"].items():
            assert weights == pytest.approx(alone[name]["weights"][key], abs=1e-6), (name, key)
