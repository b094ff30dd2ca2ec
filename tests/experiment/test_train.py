"""What a training hands to its parts; a stub stands in for the loop."""

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback

from camloc.callbacks.repeatable import Repeatable
from camloc.experiment import train as training
from camloc.experiment.checkpoint import CONFIG_KEY
from camloc.experiment.checkpoints import BestCheckpoint, MovableCheckpoint
from camloc.experiment.resumed_values import ApplyChanged
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.run_record import RunInCheckpoint
from camloc.experiment.train import train

HERE = Path(__file__).parent
SQUARES = run_path(str(HERE / "squares.py"))
config: Callable[..., DictConfig] = SQUARES["config"]


class Loop:
    """Records what a trainer is given; ``best`` is what it finds."""

    def __init__(self) -> None:
        self.fitted: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.measured: list[Any] = []
        self.compiled: list[str] = []
        self.callbacks: list[Callback] = []
        self.best: Path | None = None
        self.score: float | None = None
        self.current_epoch = 3
        self.world_size, self.limit_train_batches = 1, 1.0

    def of_kind(self, kind: type[Callback]) -> list[Any]:
        return [callback for callback in self.callbacks if type(callback) is kind]

    def fit(self, module: Any, datamodule: Any, **options: Any) -> None:  # noqa: ANN401 - Lightning's
        self.fitted.append({"module": module, "datamodule": datamodule, **options})
        with torch.no_grad():
            module.predictor.backbone.head.linear.weight.fill_(7)  # the last epoch's
        (best,) = self.of_kind(BestCheckpoint)
        if self.best is not None:
            best.best_model_path = str(self.best)
            best.best_model_score = None if self.score is None else torch.tensor(self.score)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    stub = Loop()

    def build_trainer(_: DictConfig, __: RunDirectory, callbacks: list[Callback]) -> Loop:
        stub.callbacks = callbacks
        return stub

    def measure(_: Loop, module: Any, datamodule: Any) -> dict[str, str]:  # noqa: ANN401 - ours
        stub.measured = [module.predictor.backbone.head.linear.weight[0, 0].item(), datamodule]
        return {"test": "measured"}

    def conclude(*arguments: Any, trained_with_boxes: bool) -> None:  # noqa: ANN401 - ours
        assert not trained_with_boxes
        assert arguments[2] is stub
        assert arguments[3] == {"test": "measured"}
        stub.notes = arguments[4]

    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setattr(training, "build_trainer", build_trainer)
    monkeypatch.setattr(training, "measure", measure)
    monkeypatch.setattr(training, "conclude", conclude)
    monkeypatch.setattr(training, "compile_backbone", lambda *given: stub.compiled.append(given[1]))
    return stub


def test_the_loop_is_given_all_that_a_run_needs(loop: Loop, tmp_path: Path) -> None:
    train(config(), RunDirectory(tmp_path))
    (fitted,) = loop.fitted
    assert (fitted["ckpt_path"], fitted["weights_only"]) == (None, True)
    (best,), (last,) = loop.of_kind(BestCheckpoint), loop.of_kind(MovableCheckpoint)
    assert (best.monitor, best.mode, last.monitor) == ("val/localization/top1_error", "min", None)
    (record,) = loop.of_kind(RunInCheckpoint)
    assert record.record._asdict() == {
        "class_names": ["red", "green"],
        "input_size": 8,
        "cam_threshold": None,
        "threshold_source": None,
        "fingerprint": None,  # images in memory
        "trained_with_boxes": False,
        "intensity": None,
        "several_labels": False,
        "extended": False,
        "objectless": (),
    }
    assert record.config["localization"]["iou_threshold"] == 0.5
    assert len(loop.of_kind(Repeatable)) == 1
    # Without a best epoch the weights stay those of the last one.
    assert loop.measured == [7, fitted["datamodule"]]
    assert loop.notes == ["The last epoch's weights (3 epochs)."]
    assert loop.compiled == []
    assert OmegaConf.load(tmp_path / "config.yaml").seed == 0


@pytest.mark.parametrize(
    ("monitor", "score", "note"),
    [
        (None, 0.25, "Best checkpoint: least val/localization/top1_error = 0.2500."),
        ("val/localization/max_box_acc", 0.75, "Best checkpoint: greatest val/localization/max_box_acc = 0.7500."),
        (None, None, "Best checkpoint: least val/localization/top1_error = nan."),
    ],
)
def test_the_best_epoch_is_measured(
    monitor: str | None, score: float | None, note: str, loop: Loop, tmp_path: Path
) -> None:
    given = config(monitor=monitor)
    given.localization.protocols.max_box_acc = {
        "_target_": "camloc.metrics.max_box_acc.MaxBoxAcc",
        "cam_curve_interval": 0.1,
    }
    loop.best, loop.score = SQUARES["write_checkpoint"](tmp_path / "checkpoints" / "best.ckpt"), score
    train(given, RunDirectory(tmp_path))
    assert loop.measured[0] == 1
    assert loop.notes == [note]


def test_checking_trains_nothing(loop: Loop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(config(check_only=True), RunDirectory(tmp_path))
    assert loop.fitted == []
    assert (tmp_path / "unreadable.json").exists()  # all images were opened
    printed = capsys.readouterr().out
    assert "train" in printed
    assert printed.endswith("check_only=true: every image was opened, no error was found, and nothing was trained.\n")


def test_compiling_knows_the_accelerator(loop: Loop, tmp_path: Path) -> None:
    train(config(compile=True), RunDirectory(tmp_path))
    assert loop.compiled == ["cpu"]


def resumable(folder: Path, class_names: tuple[str, ...] = ("red", "green")) -> Path:
    """A checkpoint after three epochs and two batches of the next."""
    fit = {
        "epoch_progress": {"current": {"ready": 4, "processed": 3}},
        "epoch_loop.batch_progress": {"current": {"completed": 2}},
    }
    file: Path = SQUARES["write_checkpoint"](
        folder / "checkpoints" / "last.ckpt", class_names=class_names, loops={"fit_loop": fit}
    )
    return file


def test_a_resumed_training_goes_on_where_it_stood(loop: Loop, tmp_path: Path) -> None:
    file = resumable(tmp_path)
    train(config(resume=str(tmp_path)), RunDirectory(tmp_path))
    assert loop.fitted[0]["ckpt_path"] == str(file)
    assert loop.fitted[0]["datamodule"]._resume_at == (3, 2)
    assert OmegaConf.load(tmp_path / "config.yaml").resume is None  # it can be run again


def test_no_epoch_is_taken_back(loop: Loop, tmp_path: Path) -> None:
    resumable(tmp_path)
    given = config(resume=str(tmp_path))
    given.trainer.max_epochs = 3
    with pytest.raises(ValueError, match=r"trainer\.max_epochs=3: .*last\.ckpt is of epoch 4 already"):
        train(given, RunDirectory(tmp_path))
    assert loop.fitted == []
    given.resume, given.trainer.max_epochs = str(tmp_path), 4
    train(given, RunDirectory(tmp_path))
    assert len(loop.fitted) == 1


def test_other_values_are_named_before_and_after(
    loop: Loop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resumable(tmp_path)
    before = OmegaConf.to_container(config(), resolve=True)
    file = tmp_path / "checkpoints" / "last.ckpt"
    torch.save({**torch.load(file, weights_only=True), CONFIG_KEY: before}, file)
    given = config(resume=str(tmp_path))
    given.optimizer.lr = 5.0
    train(given, RunDirectory(tmp_path))
    resumed = "Resumed after 3 epochs and 2 batches of the next with optimizer.lr=5.0 (was 0.1)"
    note = f"{resumed}: the result is not that of one run."
    assert note in loop.notes
    assert note in capsys.readouterr().out.splitlines()
    assert len(loop.of_kind(ApplyChanged)) == 1
    given.localization.iou_threshold = 0.3
    given.resume = str(tmp_path)
    (tmp_path / "config.yaml").write_text("untouched")
    with pytest.raises(
        ValueError, match=r"resume= cannot apply localization\.iou_threshold=0\.3 \(was 0\.5\): the best"
    ):
        train(given, RunDirectory(tmp_path))
    assert (tmp_path / "config.yaml").read_text() == "untouched"


def test_a_training_of_other_classes_is_not_resumed(loop: Loop, tmp_path: Path) -> None:
    resumable(tmp_path, ("green", "red"))
    (tmp_path / "config.yaml").write_text("untouched")
    with pytest.raises(ValueError, match=r"last\.ckpt .* was trained as green and is red in the data"):
        train(config(resume=str(tmp_path)), RunDirectory(tmp_path))
    assert loop.fitted == []
    # Else the next `resume=` would fail for the same reason, whatever it is given.
    assert (tmp_path / "config.yaml").read_text() == "untouched"


def test_an_unknown_monitor_is_refused_before_anything_is_trained(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"monitor=val/accuracy is no error, .*; choose from val/loss \(min\), "):
        train(config(monitor="val/accuracy"), RunDirectory(tmp_path))
    assert loop.fitted == []
