"""A network's numbers on batches of images, and what is kept of every pair."""

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch.utils.data import DataLoader

from camloc.data.loading.sample import EvalBatch, TrainBatch
from camloc.experiment.measuring.module import EvaluationModule
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.functional.breakdown import Cause
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.records import Prediction, Ranked

SQUARES = run_path(str(Path(__file__).parent.parent / "squares.py"))
batch: Callable[..., EvalBatch] = SQUARES["batch"]
module: Callable[..., EvaluationModule] = SQUARES["module"]
measures = SQUARES["measures"]


def on(fn: TrainerFn, module: EvaluationModule, world_size: int = 1) -> dict[str, float]:
    """Attach a trainer that does nothing; what is logged comes back."""
    logged: dict[str, float] = {}
    module._trainer = SimpleNamespace(state=SimpleNamespace(fn=fn), world_size=world_size)  # type: ignore[assignment] # a stub
    module.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign] # the same
    return logged


def test_the_map_of_the_true_class_is_measured_and_padding_is_not() -> None:
    measured = module()
    trainer: Trainer = SQUARES["trainer"]()
    batches = [batch([0, 1], 0.45), batch([1, 0], 0.45, first=2, num_images=3)]  # the last image repeats the first
    trainer.test(measured, DataLoader(batches, batch_size=None), verbose=False)  # type: ignore[arg-type] # a list is a data set
    result = measured.results["test"]
    assert result.numbers["localization/num_images"].item() == 3
    assert result.numbers["localization/gt_known_error"].item() == 0
    assert result.numbers["localization/top1_error"].item() == 0
    assert result.chosen == 0.7
    assert result.unmet == {}
    assert result.pairs.positions.tolist() == [0, 1, 2]
    assert result.pairs.classes.tolist() == [0, 1, 1]
    assert result.pairs.values["predicted"].tolist() == [[0, 1], [1, 0], [1, 0]]
    assert result.pairs.values["rank"].tolist() == [0, 0, 0]
    assert result.pairs.values["boxes"].tolist() == [[0, 1, 8, 7]] * 3  # at 0.2, as nothing was chosen yet
    assert result.pairs.values["causes"].tolist() == [Cause.CONTEXT] * 3
    assert result.pairs.values["object_shares"].tolist() == [16 / 96] * 3
    assert result.outcomes["classification"].values["rank"].tolist() == [0, 0, 0]
    assert result.outcomes["val_threshold"].values["iou"][:, [4, 5]].tolist() == [[1 / 3, 1]] * 3
    assert trainer.logged_metrics["test/localization/gt_known_error"] == 0
    # Ready for the next evaluation, which knows nothing of this one.
    trainer.test(measured, DataLoader([batch([1], 0.65)], batch_size=None), verbose=False)  # type: ignore[arg-type] # the same
    assert measured.results["test"].numbers["localization/num_images"].item() == 1
    assert measured.results["test"].pairs.positions.tolist() == [0]
    assert measured.results["test"].chosen == 0.8


def test_what_is_measured_on_the_cpu_stays_there() -> None:
    given = batch([0, 1], 0.45)
    moved = module().transfer_batch_to_device(given, torch.device("meta"), 0)
    assert moved.images.is_meta
    assert moved.truth.target.is_meta
    assert moved.truth.gt_boxes is given.truth.gt_boxes
    assert moved.truth.image_boxes is given.truth.image_boxes
    assert moved.truth.image_sizes is given.truth.image_sizes
    trained = module().transfer_batch_to_device(TrainBatch(given.images, given.truth.target), torch.device("meta"), 0)
    assert trained.images.is_meta


def test_validation_counts_apart_from_test() -> None:
    measured = module()
    logged = on(TrainerFn.VALIDATING, measured)
    measured.validation_step(batch([0, 1], 0.45))
    measured.on_validation_epoch_end()
    assert logged["val/localization/cam_threshold"] == pytest.approx(0.7)  # logged in float32
    assert "val/localization/gt_known_curve" not in logged  # scalars alone
    assert measured.results.keys() == {"val"}
    assert measured.shown_threshold() == 0.7
    curve = measured.shown_curve()
    assert curve is not None
    assert curve[0] == (0.3, 0.5, 0.7)
    assert curve[1].tolist() == [[0.0] * 10, [1.0] * 5 + [0.0] * 5, [1.0] * 5 + [0.0] * 5]


def test_nothing_is_kept_of_pairs_while_a_training_is_watched() -> None:
    measured = module(num_ranked=2)
    on(TrainerFn.FITTING, measured)
    counted = measured.validation_step(batch([0, 1], 0.45))
    assert counted.prediction.ranked is None
    measured.on_validation_epoch_end()
    assert measured.results["val"].chosen == 0.7
    assert measured.results["val"].outcomes == {}
    assert measured.results["val"].pairs.values == {}


def test_prediction_alone_counts_nothing() -> None:
    measured = module()
    found = measured.predict(batch([0, 1], 0.45), measured.val_protocols)
    assert found.boxes is not None
    assert found.boxes[:, 5].tolist() == [[1, 2, 5, 6]] * 2
    assert measured.val_protocols.compute() == {}


def test_a_split_without_boxes_has_no_threshold_and_no_curve() -> None:
    measured = module()
    on(TrainerFn.VALIDATING, measured)
    images = batch([0, 1], 0.45)
    nothing = [torch.zeros(0, 4)] * 2
    measured.validation_step(images._replace(truth=images.truth._replace(gt_boxes=nothing, image_boxes=nothing)))
    measured.on_validation_epoch_end()
    result = measured.results["val"]
    assert (result.chosen, measured.shown_threshold(), measured.shown_curve()) == (None, 0.2, None)
    assert result.unmet == {"val_threshold": {"gt_boxes"}}
    assert result.pairs.values.keys() == {"predicted", "rank", "boxes", "causes", "object_shares"}
    assert result.outcomes["val_threshold"].values == {}


@pytest.mark.parametrize("protocol", [MaxBoxAcc(0.1), IlsvrcError(cam_threshold=0.5)])
def test_only_a_localization_error_has_a_curve(protocol: Any) -> None:  # noqa: ANN401 - a protocol
    measured = module(measures({"other": protocol}))
    on(TrainerFn.VALIDATING, measured)
    measured.validation_step(batch([0, 1], 0.45))
    measured.on_validation_epoch_end()
    assert measured.shown_curve() is None
    assert measured.shown_threshold() == 0.2


def test_predictions_of_all_named_classes_are_boxed_for_a_submission() -> None:
    fixed = {"paper": LocalizationError(cam_threshold=0.5, num_thresholds=10)}
    measured = module(measures(fixed), num_ranked=2, box_ranked=True)
    on(TrainerFn.TESTING, measured)
    images = batch([0, 1], 0.45)
    # The map shows the middle half of a 8x24 image: columns 6 to 18.
    window = images.truth._replace(windows=[(6, 0, 18, 8)] * 2, image_sizes=[(8, 24)] * 2)
    counted = measured.test_step(images._replace(truth=window))
    assert counted.prediction.ranked is not None
    measured.on_test_epoch_end()
    stored = measured.results["test"].pairs.values
    assert stored["ranked_classes"].tolist() == [[0, 1], [1, 0]]
    # The other class's map is flat and gives no box, which is no box in the image either.
    assert stored["ranked_boxes"].tolist() == [[[7, 2, 11, 6], [0, 0, 0, 0]]] * 2
    assert stored["boxes"].tolist() == [[7, 2, 11, 6]] * 2


def test_a_source_without_maps_of_other_classes_writes_no_submission() -> None:
    images = batch([0, 1], 0.45)

    class Boxes:
        def predict(self, given: EvalBatch, *, num_ranked: int = 0) -> Prediction:
            ranked = Ranked(torch.zeros(2, num_ranked, dtype=torch.int64), None, None)
            return Prediction(given.truth.pairs, ranked=ranked)

    measured = EvaluationModule(Boxes(), measures(), num_ranked=5, box_ranked=True)
    on(TrainerFn.TESTING, measured)
    with pytest.raises(ValueError, match="this source of predictions has no maps of the most likely classes"):
        measured.test_step(images)


def test_images_with_several_labels_keep_a_record_of_each_pair() -> None:
    measured = module()
    on(TrainerFn.TESTING, measured)
    images = batch([0, 1], 0.45)
    target = torch.tensor([[True, True], [False, True]])
    measured.test_step(images._replace(truth=SQUARES["truth"](target)))
    measured.on_test_epoch_end()
    result = measured.results["test"]
    assert result.pairs.positions.tolist() == [0, 0, 1]
    assert result.pairs.classes.tolist() == [0, 1, 1]
    assert result.pairs.values["rank"].tolist() == [0, 0, 0]  # the image's other true class is not ranked among
    assert result.num_images == 2
    # Nothing of class 1 is in the first image.
    assert result.pairs.values["causes"].tolist() == [Cause.CONTEXT, Cause.NO_BOX, Cause.CONTEXT]
    assert result.numbers["localization/gt_known_error"].item() == pytest.approx(1 / 3)


def test_pairs_of_all_processes_come_together_in_the_splits_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images for four processes: the last of them has a repeat alone, and must still take part."""
    handed: list[list[Any]] = [[] for _ in range(4)]
    given = {"classification": ClassificationError(), "val_threshold": LocalizationError(num_thresholds=10)}
    modules = [module(measures(given), num_ranked=2, box_ranked=True) for _ in handed]

    def counted(rank: int) -> EvaluationModule:
        on(TrainerFn.TESTING, modules[rank], world_size=4)
        modules[rank].test_step(batch([rank % 2], 0.45, first=rank, num_images=3))
        return modules[rank]

    for rank, parts in enumerate(handed):  # what each process hands in

        def collect(gathered: list[Any], own: object, parts: list[Any] = parts) -> None:
            parts.append(own)
            gathered[:] = [own]

        monkeypatch.setattr(torch.distributed, "all_gather_object", collect)
        counted(rank).on_test_epoch_end()
    # As many exchanges on each, in one order: else some would wait for ever.
    assert [len(parts) for parts in handed] == [3, 3, 3, 3]
    for rank in range(4):
        exchanges = iter(zip(*handed, strict=True))

        def exchange(gathered: list[Any], _: object, exchanges: Any = exchanges) -> None:  # noqa: ANN401 - an iterator
            gathered[:] = next(exchanges)

        monkeypatch.setattr(torch.distributed, "all_gather_object", exchange)
        counted(rank).on_test_epoch_end()
        result = modules[rank].results["test"]
        assert result.pairs.positions.tolist() == [0, 1, 2]
        assert result.pairs.classes.tolist() == [0, 1, 0]
        assert result.pairs.values["ranked_classes"].tolist() == [[0, 1], [1, 0], [0, 1]]
        assert result.outcomes["val_threshold"].values["iou"].shape == (3, 10)
        assert result.outcomes["classification"].values["rank"].tolist() == [0, 0, 0]


def test_a_list_of_test_images_leaves_none_out_on_val(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("1\n")
    given = SQUARES["measures"]({"ilsvrc": IlsvrcError(tmp_path / "list.txt", cam_threshold=0.7)})
    measured = EvaluationModule(module().predictor, given)
    trainer: Trainer = SQUARES["trainer"]()
    for validates in (True, False):
        run = trainer.validate if validates else trainer.test
        run(measured, DataLoader([batch([0, 1], 0.45)], batch_size=None), verbose=False)  # type: ignore[arg-type] # a list is a data set
    counts = [measured.results[name].numbers["localization/ilsvrc_num_blacklisted"].item() for name in ("val", "test")]
    assert counts == [0, 1]
