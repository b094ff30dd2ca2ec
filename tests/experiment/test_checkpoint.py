from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import nn

from camloc.experiment.checkpoint import load_checkpoint, load_weights, refuse_other_classes


class Runs:
    """Unpickling this would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code from a checkpoint ran",)


def test_a_pickle_with_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "extra": Runs()}, file)
    with pytest.raises(ValueError, match=r"evil\.ckpt is cut off, no checkpoint, or holds code, which is not run"):
        load_checkpoint(file)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("kept", [0, 1, 300])
def test_a_checkpoint_that_is_cut_off_is_named(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "half.ckpt"
    torch.save({"state_dict": {"w": torch.zeros(100)}}, file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"half\.ckpt is cut off"):
        load_checkpoint(file)


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ValueError, match=r"list\.ckpt holds no state_dict"):
        load_checkpoint(tmp_path / "list.ckpt")


def test_weights_that_do_not_fit_name_the_first_difference(tmp_path: Path) -> None:
    module = LightningModule()
    module.layer = nn.Linear(2, 2)
    torch.save({"state_dict": {"layer.weight": torch.zeros(2, 2)}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other\.ckpt does not fit the network.*layer\.bias"):
        load_weights(module, tmp_path / "other.ckpt")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            ["cat", "fox", "owl"],
            "3 classes and the data set has 3; where they first differ, dog was trained and fox is",
        ),
        (["cat", "dog"], "3 classes and the data set has 2; where they first differ, fox was trained and none is"),
        (["cat", "dog", "fox", "owl"], "has 4; where they first differ, none was trained and owl is to be measured"),
    ],
)
def test_classes_that_were_not_trained_are_refused(classes: list[str], message: str, tmp_path: Path) -> None:
    file = tmp_path / "best.ckpt"
    torch.save({"state_dict": {}, "camloc_class_names": ["cat", "dog", "fox"]}, file)
    refuse_other_classes(("cat", "dog", "fox"), file)
    with pytest.raises(ValueError, match=message):
        refuse_other_classes(classes, file)
