"""Counts are exact under DDP: equal for every number of processes, on every rank."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration
SIZES = ("1", "7", "8", "9", "100")


def run(processes: int, folder: Path) -> list[dict[str, Any]]:
    script = Path(__file__).parent / "count_in_processes.py"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    stem = folder / str(processes)
    subprocess.run(
        [*launch, str(script), str(stem), *SIZES], check=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return [json.loads(Path(f"{stem}.{rank}").read_text(encoding="utf-8")) for rank in range(processes)]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    (only,) = run(1, tmp_path_factory.mktemp("single"))
    return only


def test_a_single_process_counts_every_image(single: dict[str, Any]) -> None:
    for size in SIZES:
        for name, (num_images, hits, _) in single[size].items():
            assert num_images == int(size) or name == "corloc"  # which counts pairs
            assert name == "pxap" or max(hits, default=0) <= int(size)
        assert sum(single[size]["pxap"][1]) == int(size) * 24 * 24
    assert 0 < max(single["100"]["localization"][1]) < 100
    ranked = single["100"]["multi_label"][2]
    assert ranked["num_classes_left_out"] == 2
    assert 0 < ranked["average_precision"] < 1
    assert ranked["auroc"] != 0.5
    assert single["100"]["corloc"][0] > 100
    assert 0 < single["100"]["corloc"][2]["corloc"] < 1


@pytest.mark.parametrize("processes", [2, 3])
def test_counts_do_not_depend_on_the_number_of_processes(
    processes: int, single: dict[str, Any], tmp_path: Path
) -> None:
    for rank, found in enumerate(run(processes, tmp_path)):
        assert found == single, f"rank {rank} of {processes}"
