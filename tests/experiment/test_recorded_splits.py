"""``splits.csv``: where images were dealt."""

from pathlib import Path

import numpy as np
import pytest

from camloc.data.loading.dealing import Dealt
from camloc.experiment.recorded_splits import moved_since, record_splits
from camloc.experiment.run_directory import RunDirectory

DEALT = Dealt(['cat/1,"é.jpg', "cat/2.jpg", "dog/3.jpg"], np.array([0, 2, 1], np.int8), ["p1", "", "p2"])


def test_the_file_has_a_line_for_each_image(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    record_splits(DEALT, run)
    lines = run.splits.read_text(encoding="utf-8").splitlines()
    assert lines == ["image,split,group", '"cat/1,""é.jpg",train,p1', "cat/2.jpg,test,", "dog/3.jpg,val,p2"]
    assert run.splits in list(run.own_files())


def test_nothing_is_recorded_where_nothing_was_dealt_or_by_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_splits(None, RunDirectory(tmp_path))
    monkeypatch.setenv("RANK", "1")
    record_splits(DEALT, RunDirectory(tmp_path))
    assert not (tmp_path / "splits.csv").exists()


def test_images_that_are_measured_in_another_split_than_before_are_said(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    record_splits(DEALT, run)
    assert moved_since(run.splits, DEALT, ("val", "test")) == []
    more = Dealt([*DEALT.image_ids, "new.jpg"], np.array([0, 2, 1, 2], np.int8), ["", "", "", ""])
    assert moved_since(run.splits, more, ("val", "test")) == []
    other = Dealt(DEALT.image_ids, np.array([0, 1, 2], np.int8), DEALT.groups)
    (note,) = moved_since(run.splits, other, ("test",))
    assert note.startswith(
        "1 images were in another split when the network was trained, first dog/3.jpg from val to tes"
    )
    (note,) = moved_since(run.splits, other, ("val", "test"))
    assert note.startswith(
        "2 images were in another split when the network was trained, first cat/2.jpg from test to va"
    )
    assert moved_since(run.splits, None, ("test",)) == []
    assert moved_since(tmp_path / "nowhere.csv", other, ("test",)) == []


@pytest.mark.parametrize("text", ["", "image,split\n", "image,split,group\na,b\n"])
def test_a_file_that_no_run_wrote_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(ValueError, match=r"splits\.csv does not have the columns image,split,group that a run wrote"):
        moved_since(tmp_path / "splits.csv", DEALT, ("test",))
