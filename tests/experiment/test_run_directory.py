import json
from pathlib import Path

import pytest

from camloc.experiment.run_directory import RunDirectory, is_first_process


def test_numbers_that_are_not_finite_are_left_out_rather_than_invented(tmp_path: Path) -> None:
    RunDirectory(tmp_path).write_metrics({"a": 0.25, "b": float("nan"), "c": 3, "d": "val", "e": float("inf")})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": 0.25, "c": 3, "d": "val"}


def test_status_says_what_went_wrong(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.write_status("running")
    run.write_status("failed", error="no such class")
    assert json.loads((tmp_path / "status.json").read_text()) == {"status": "failed", "error": "no such class"}
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize(
    ("variables", "first"),
    [({}, True), ({"LOCAL_RANK": "0"}, True), ({"LOCAL_RANK": "2"}, False), ({"RANK": "8", "LOCAL_RANK": "0"}, False)],
)
def test_only_the_first_process_writes(
    variables: dict[str, str], first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first
    RunDirectory(tmp_path).write_status("running")
    assert (tmp_path / "status.json").exists() is first
