from pathlib import Path

import numpy as np
import pytest
import torch

from camloc.export.score_map_files import ScoreMapFolder


def test_a_map_is_a_float32_file_named_by_the_whole_id(tmp_path: Path) -> None:
    ScoreMapFolder(str(tmp_path / "maps")).write("val/1.jpg", torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64))
    found = np.load(tmp_path / "maps" / "val" / "1.jpg.npy", allow_pickle=False)
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 0.5, 1]]


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.txt").touch()
    with pytest.raises(FileExistsError, match=r"export_score_maps=.* is not empty; name a new folder"):
        ScoreMapFolder(str(tmp_path))


@pytest.mark.parametrize("image_id", ["../1", "a/../../1", "/1"])
def test_an_id_never_leads_out_of_the_folder(tmp_path: Path, image_id: str) -> None:
    folder = ScoreMapFolder(str(tmp_path / "maps"))
    with pytest.raises(ValueError, match=r"leads out of export_score_maps="):
        folder.write(image_id, torch.zeros(2, 2))
