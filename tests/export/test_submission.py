from pathlib import Path

import pytest
import torch

from camloc.export.submission import write_submission


def test_a_box_without_area_keeps_its_label_and_one_pixel(tmp_path: Path) -> None:
    write_submission(
        tmp_path / "s.txt", [[3, 900], []], [torch.tensor([[0, 0, 0, 0], [1, 2, 4, 6]]), torch.zeros(0, 4)]
    )
    assert (tmp_path / "s.txt").read_text() == "3 0 0 0 0 900 1 2 3 5\n\n"


def test_a_write_that_fails_leaves_the_file_before(tmp_path: Path) -> None:
    file = tmp_path / "predictions.txt"
    write_submission(file, [[7]], [torch.tensor([[0, 0, 10, 5]])])
    with pytest.raises(ValueError, match="shorter"):
        write_submission(file, [[1, 2]], [torch.tensor([[0, 0, 10, 5]])])
    assert file.read_text() == "7 0 0 9 4\n"
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.txt"]
