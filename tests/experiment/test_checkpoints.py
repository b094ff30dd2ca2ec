"""Which epoch is the best: the number that is monitored, and its direction."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from torchmetrics import Metric

from camloc.experiment.checkpoints import (
    LOSS,
    MASKS,
    OF_BOXES,
    BestCheckpoint,
    MovableCheckpoint,
    best_and_last_checkpoint,
    monitored_directions,
)
from camloc.experiment.measuring.split_protocols import SplitProtocols
from camloc.experiment.run_directory import RunDirectory
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.contract import NEEDS
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.metrics.pxap import PxAP

SQUARES = run_path(str(Path(__file__).parent / "squares.py"))


def protocols(**more: Metric) -> SplitProtocols:
    given: Mapping[str, Metric] = {
        "classification": ClassificationError(),
        "val_threshold": LocalizationError(),
        **more,
    }
    return SplitProtocols(SQUARES["measures"](given))


def split(*, boxes: bool = True, masks: bool = False) -> Any:  # noqa: ANN401 - Squares
    return SQUARES["Squares"]("val", [0], 0.5, has_boxes=boxes, has_masks=masks)


@pytest.mark.parametrize(
    ("monitor", "boxes", "chosen", "mode"),
    [
        (None, True, "val/localization/top1_error", "min"),
        (None, False, "val/classification/top1_error", "min"),
        ("val/localization/max_box_acc_v2", True, "val/localization/max_box_acc_v2", "max"),
        ("val/localization/gt_known_error", True, "val/localization/gt_known_error", "min"),
        ("val/loss", False, "val/loss", "min"),
    ],
)
def test_the_best_is_the_least_error_or_the_greatest_accuracy(
    monitor: str | None, boxes: bool, chosen: str, mode: str, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path)
    measured = protocols(max_box_acc=MaxBoxAcc(0.1))
    best, last = best_and_last_checkpoint(monitor, measured, split(boxes=boxes), run)
    assert (best.monitor, best.mode, last.monitor) == (chosen, mode, None)
    assert Path(str(best.dirpath), f"{best.filename}.ckpt") == run.best_checkpoint
    assert Path(str(last.dirpath), f"{last.filename}.ckpt") == run.last_checkpoint


def test_without_any_protocol_of_the_defaults_the_loss_decides(tmp_path: Path) -> None:
    measured = SplitProtocols(SQUARES["measures"]({"pxap": PxAP(0.1)}))
    best, _ = best_and_last_checkpoint(None, measured, split(boxes=False), RunDirectory(tmp_path))
    assert best.monitor == LOSS


def test_an_unknown_number_is_refused_with_those_that_are_measured(tmp_path: Path) -> None:
    measured = protocols(pxap=PxAP(0.1), max_box_acc=MaxBoxAcc(0.5, v2=True))
    with pytest.raises(ValueError, match=r"monitor=val/f1 is no error, accuracy or loss measured on val") as found:
        best_and_last_checkpoint("val/f1", measured, split(), RunDirectory(tmp_path))
    offered = str(found.value).partition("choose from ")[2].split(", ")
    assert offered == [
        "val/loss (min)",
        "val/classification/top1_error (min)",
        "val/classification/top5_error (min)",
        "val/localization/top1_error (min)",
        "val/localization/top5_error (min)",
        "val/localization/gt_known_error (min)",
        "val/localization/gt_known_error_at_best (min)",
        "val/localization/max_box_acc_v2 (max)",
    ]  # PxAP needs masks, and there are none


@pytest.mark.parametrize("name", ["num_images", "gt_known_hits", "cam_threshold", "num_degenerate"])
def test_a_count_or_a_threshold_is_refused_though_it_is_logged(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"monitor=val/localization/{name} is no error, accuracy or loss"):
        best_and_last_checkpoint(f"val/localization/{name}", protocols(), split(), RunDirectory(tmp_path))


class Says(LightningModule):
    """Validates with the values that it is given, one an epoch; its weight is the number of its steps."""

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        self.values = values
        self.weight = nn.Parameter(torch.zeros(1))

    def configure_optimizers(self) -> Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def training_step(self, batch: Tensor) -> Tensor:
        return -self.weight.sum() + 0 * batch.sum()

    def validation_step(self, batch: Tensor) -> None:  # noqa: ARG002 - Lightning's signature
        self.log("val/loss", torch.tensor(self.values[self.current_epoch]))


@pytest.mark.parametrize(
    ("mode", "values", "every", "best"),
    [
        ("min", [0.5, 0.25, 0.25, 0.75], 1, 2),
        ("min", [1.0, 1.0, 1.0, 1.0], 1, 3),
        ("max", [0.25, 0.5, 0.5, 0.25], 1, 2),
        ("min", [0.5, 0.25, 0.75, 0.25], 1, 3),
        # Epochs 0, 2 and 4 have no validation, and none has its number.
        ("min", [9.0, 0.25, 9.0, 0.5, 9.0], 2, 1),
    ],
)
def test_of_equally_good_epochs_the_later_is_kept(
    mode: str, values: list[float], every: int, best: int, tmp_path: Path
) -> None:
    checkpoint = BestCheckpoint(
        tmp_path,
        filename="best",
        monitor="val/loss",
        mode=mode,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=len(values),
        check_val_every_n_epoch=every,
        num_sanity_val_steps=1,
        logger=False,
        callbacks=[checkpoint],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: DataLoader[Any] = DataLoader([torch.zeros(1)])  # type: ignore[arg-type] # a list is a data set
    trainer.fit(Says(values), loader, loader)
    assert [file.name for file in tmp_path.iterdir()] == ["best.ckpt"]
    kept = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert (kept["epoch"], kept["state_dict"]["weight"].item()) == (best, best + 1)
    assert checkpoint.best_model_score == values[best]


def test_what_val_cannot_give_is_not_offered(tmp_path: Path) -> None:
    measured = protocols(pxap=PxAP(0.1))
    assert monitored_directions(measured, split(masks=True))["val/localization/pxap"] == "max"
    with pytest.raises(ValueError, match="monitor=val/localization/top1_error is no error"):
        best_and_last_checkpoint("val/localization/top1_error", measured, split(boxes=False), RunDirectory(tmp_path))


def test_what_waits_for_a_threshold_is_not_offered() -> None:
    measured = protocols(ilsvrc=IlsvrcError())
    assert "val/localization/ilsvrc_top1_error" not in monitored_directions(measured, split())
    fixed = protocols(ilsvrc=IlsvrcError(cam_threshold=0.2))
    assert monitored_directions(fixed, split())["val/localization/ilsvrc_top1_error"] == "min"
    assert "val/localization/ilsvrc_top1_error" not in monitored_directions(fixed, split(boxes=False))


def test_all_needs_of_true_boxes_and_masks_are_known() -> None:
    assert {*OF_BOXES, *MASKS} <= NEEDS.keys()


def written(file: Path, best: MovableCheckpoint, score: float | None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    state = {best.state_key: {"best_model_score": None if score is None else torch.tensor(score)}}
    torch.save({"state_dict": {}, "callbacks": state}, file)


def test_a_run_that_was_moved_knows_its_best(tmp_path: Path) -> None:
    def checkpoints(run: RunDirectory) -> tuple[MovableCheckpoint, MovableCheckpoint]:
        return best_and_last_checkpoint("val/loss", protocols(), split(), run)

    run = RunDirectory(tmp_path / "run")
    best, _ = checkpoints(run)
    best.best_model_score, best.best_model_path = torch.tensor(0.25), str(run.best_checkpoint)
    assert str(tmp_path) not in str(best.state_dict())
    written(run.best_checkpoint, best, 0.25)
    run.path.rename(tmp_path / "moved")
    moved = RunDirectory(tmp_path / "moved")
    best, last = checkpoints(moved)
    for checkpoint in (best, last):
        checkpoint.load_state_dict({"best_model_score": torch.tensor(0.5)})  # copied before last.ckpt was written
    assert (best.best_model_path, best.best_model_score) == (str(moved.best_checkpoint), torch.tensor(0.25))
    assert last.best_model_path == ""
    trainer = SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=bool))
    assert best.check_monitor_top_k(trainer, torch.tensor(0.24))  # type: ignore[arg-type] # all that is looked at
    assert not best.check_monitor_top_k(trainer, torch.tensor(0.26))  # type: ignore[arg-type] # the same


def test_a_best_that_is_not_there_or_not_the_runs_is_none(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    best, last = best_and_last_checkpoint("val/loss", protocols(), split(), run)
    best.load_state_dict({"best_model_score": torch.tensor(0.5)})
    assert best.best_model_path == ""
    written(run.best_checkpoint, last, None)
    with pytest.raises(ValueError, match=r"best\.ckpt does not say its val/loss: it is no best checkpoint of this run"):
        best.load_state_dict({"best_model_score": torch.tensor(0.5)})
