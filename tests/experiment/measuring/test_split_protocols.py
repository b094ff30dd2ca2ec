"""All protocols of a split from one pass: what each is handed, what it is called, and what is left out."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassCalibrationError

from camloc.attribution.score_map import score_map
from camloc.experiment.measuring.measures import Measures, as_protocol
from camloc.experiment.measuring.split_protocols import SplitProtocols, counted_something
from camloc.localization.graph_cut import graph_cut_boxes
from camloc.localization.released_boxes import released_boxes
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.centred_box import CentredBoxError
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.contract import Protocol
from camloc.metrics.heuristic_error import HeuristicError
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.metrics.multi_label import MultiLabelRanking
from camloc.metrics.pxap import PxAP
from camloc.records import Outcome, Prediction, Row, Truth

SQUARES = run_path(str(Path(__file__).parent.parent / "squares.py"))
MAX = partial(score_map, normalization="max")


class Recorder(Protocol):
    """Keeps what it was handed."""

    def __init__(self) -> None:
        super().__init__()
        self.handed: list[dict[str, Any]] = []

    @property
    def rows(self) -> Sequence[Row]:
        return [Row("recorded", "recorded", "max")]

    def update(  # type: ignore[override] # torchmetrics returns nothing
        self, positions: list[int], reported_boxes: Tensor | None, predicted_classes: Tensor | str = "left out"
    ) -> Outcome:
        self.handed.append({"positions": positions, "boxes": reported_boxes, "classes": predicted_classes})
        return Outcome({"position": torch.tensor(positions)})

    def compute(self) -> dict[str, Tensor]:
        return {"recorded": torch.tensor(float(len(self.handed))), "num_images": torch.tensor(len(self.handed))}


class Swept(Recorder):
    """Is about boxes at CAM thresholds."""

    def update(self, boxes: Tensor) -> Outcome:  # type: ignore[override] # on purpose
        return Outcome({"x": boxes})


class Misspelt(Recorder):
    """Asks for what there is not."""

    def update(self, score_map: Tensor) -> Outcome:  # type: ignore[override] # on purpose
        return Outcome({"x": score_map})


def protocols(
    given: Mapping[str, Metric],
    own_score_maps: Mapping[str, Any] | None = None,
    **changed: Any,  # noqa: ANN401 - of Measures
) -> SplitProtocols:
    measured: Measures = SQUARES["measures"](given, own_score_maps)
    return SplitProtocols(measured._replace(**changed))


def truth(target: Sequence[int] = (0, 1), *, boxes: bool = True, masks: bool = False) -> Truth:
    found: Truth = SQUARES["truth"](torch.tensor(list(target)))
    if not boxes:
        found = found._replace(
            gt_boxes=[torch.zeros(0, 4)] * len(target), image_boxes=[torch.zeros(0, 4)] * len(target)
        )
    return found._replace(masks=torch.ones(len(target), 2, 8, 12, dtype=torch.bool) if masks else None)


def prediction(target: Sequence[int] = (0, 1), halo: float = 0.45, floor: float = 0.0) -> Prediction:
    """Maps with the object at 1, its halo at a level and the rest at another; logits that always say class 0."""
    cams = torch.full((len(target), 8, 12), floor)
    cams[:, 1:7, 0:8] = halo
    cams[:, 2:6, 1:5] = 1
    logits = torch.tensor([[2.0, 0.0]]).repeat(len(target), 1)
    return Prediction(truth(target).pairs, logits, cams)


def test_every_protocol_is_measured_from_one_pass() -> None:
    split = protocols(
        {
            "classification": ClassificationError(),
            "val_threshold": LocalizationError(num_thresholds=10),
            "max_box_acc": MaxBoxAcc(0.1),
            "pxap": PxAP(0.1),
            "centred_box": CentredBoxError(),
        }
    )
    counted = split.update(prediction(), truth(masks=True))
    found = split.compute()
    assert {key: found[f"localization/{key}"].item() for key in ("top1_error", "gt_known_error", "cam_threshold")} == {
        "top1_error": 0.5,
        "gt_known_error": 0.0,
        "cam_threshold": 0.7,
    }
    assert found["localization/max_box_acc"].item() == 1
    assert found["localization/pxap"].item() == 1  # every pixel is foreground
    assert found["localization/centred_box_num_images"].item() == 2
    assert found["classification/top1_error"].item() == 0.5
    assert found["loss"].item() == pytest.approx((torch.tensor([2.0, 0.0]).logsumexp(0) * 2 - 2).item() / 2)
    assert split.unmet == {}
    assert list(counted.outcomes) == ["classification", "val_threshold", "max_box_acc", "pxap", "centred_box"]
    assert counted.outcomes["val_threshold"].values["iou"][:, [4, 5]].tolist() == [[1 / 3, 1]] * 2


def test_what_people_are_shown_is_of_the_first_protocol_with_boxes() -> None:
    split = protocols({"max_box_acc": MaxBoxAcc(0.1), "paper": LocalizationError(cam_threshold=0.6, num_thresholds=10)})
    counted = split.update(prediction(), truth())
    assert (split.shown, split.fixed_threshold, split.shown_threshold) == ("paper", 0.6, 0.6)
    assert len(split.shown_thresholds) == 10
    assert counted.prediction.boxes is not None
    assert counted.prediction.boxes.shape == (2, 10, 4)
    assert counted.prediction.score_maps is not None
    assert counted.shown_boxes is not None
    assert counted.shown_boxes.tolist() == [[1, 2, 5, 6]] * 2


def test_before_a_threshold_is_chosen_boxes_are_shown_near_the_papers() -> None:
    split = protocols({"val_threshold": LocalizationError(num_thresholds=3)})
    assert split.fixed_threshold is None
    assert split.shown_threshold == 1 / 3  # of 0, 1/3 and 2/3 the nearest to 0.2
    counted = split.update(prediction(), truth())
    assert counted.shown_boxes is not None
    assert counted.shown_boxes.tolist() == [[0, 1, 8, 7]] * 2


def test_without_a_protocol_of_boxes_maps_are_boxed_at_the_papers_threshold() -> None:
    split = protocols({"max_box_acc": MaxBoxAcc(0.1)})
    counted = split.update(prediction(halo=0.15), truth())
    assert (split.shown, split.fixed_threshold, split.shown_threshold, split.shown_thresholds) == (
        None,
        None,
        0.2,
        (0.2,),
    )
    assert counted.shown_boxes is not None
    assert counted.shown_boxes.tolist() == [[1, 2, 5, 6]] * 2


def test_localizing_counts_nothing() -> None:
    split = protocols({"val_threshold": LocalizationError(num_thresholds=10)})
    found = split.localize(prediction(), truth())
    assert found.boxes is not None
    assert found.boxes[:, 5].tolist() == [[1, 2, 5, 6]] * 2
    assert found.score_maps is not None
    assert split.compute() == {}
    bare = split.localize(Prediction(truth().pairs), truth())
    assert (bare.boxes, bare.score_maps) == (None, None)


@pytest.mark.filterwarnings("error")
def test_a_protocol_that_lacks_what_it_needs_is_named_and_has_no_number() -> None:
    split = protocols(
        {
            "classification": ClassificationError(),
            "val_threshold": LocalizationError(num_thresholds=10),
            "max_box_acc": MaxBoxAcc(0.1),
            "pxap": PxAP(0.1),
        }
    )
    counted = split.update(prediction(), truth(boxes=False))
    assert split.unmet == {
        "val_threshold": {"gt_boxes"},
        "max_box_acc": {"resized_boxes"},
        "pxap": {"masks", "ignore"},
    }
    assert list(counted.outcomes) == ["classification"]
    assert split.compute().keys() == {"loss", "classification/top1_error", "classification/top5_error"}
    assert split.chosen_threshold() is None


def test_a_nullable_need_is_handed_none_and_an_optional_one_is_left_out() -> None:
    recorder = Recorder()
    split = protocols({"recorder": recorder})
    split.update(prediction(), truth())
    own = split.protocols["recorder"]
    assert isinstance(own, Recorder)
    assert own.handed == [{"positions": [0, 1], "boxes": None, "classes": "left out"}]
    assert recorder.handed == []  # each split has a copy of its own


def test_reported_boxes_are_pixels_of_the_image_at_the_protocols_own_threshold() -> None:
    recorder = Recorder()
    recorder.cam_threshold = 0.53  # on no other protocol's grid
    split = protocols({"val_threshold": LocalizationError(num_thresholds=10), "recorder": recorder})
    split.update(prediction(halo=0.52), truth()._replace(image_sizes=[(16, 48)] * 2, windows=[(0, 0, 48, 16)] * 2))
    own = split.protocols["recorder"]
    assert isinstance(own, Recorder)
    assert own.handed[0]["boxes"].tolist() == [[4, 4, 20, 12]] * 2
    assert split.protocols["val_threshold"].compute()["cam_threshold"] == 0.7  # which is measured on its own grid alone


def test_a_misspelt_need_is_refused_when_it_is_built() -> None:
    with pytest.raises(
        ValueError, match=r"Misspelt\.update asks for score_map, which no evaluation can give.*score_maps"
    ):
        protocols({"misspelt": Misspelt()})


@pytest.mark.parametrize("name", ["keys", "forward", "training", "a.b"])
def test_a_name_that_no_part_of_a_module_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"localization\.protocols has {name}, which cannot be a name here"):
        protocols({name: LocalizationError()})


def test_a_normalization_of_no_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match=r"localization\.score_maps has papr, which is no protocol"):
        protocols({"paper": LocalizationError()}, {"papr": MAX})


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(TypeError, match=r"localization\.protocols\.mine is a dict; name a torchmetrics Metric"):
        as_protocol("mine", {"top1": 1})  # type: ignore[arg-type] # on purpose


def test_a_stock_metric_is_measured_as_classification() -> None:
    split = protocols({"calibration": MulticlassCalibrationError(num_classes=2)})
    assert split.compute() == {}
    split.update(prediction(), truth())
    found = split.compute()
    confidence = torch.tensor([2.0, 0.0]).softmax(0)[0].item()
    assert found["classification/calibration"].item() == pytest.approx(confidence - 0.5)
    assert split.rows()["classification/calibration"][1].direction == "min"


def test_padding_is_never_counted() -> None:
    split = protocols(
        {
            "classification": ClassificationError(),
            "val_threshold": LocalizationError(num_thresholds=10),
            "max_box_acc": MaxBoxAcc(0.1),
            "pxap": PxAP(0.1),
            "centred_box": CentredBoxError(),
            "ilsvrc": IlsvrcError(cam_threshold=0.5),
            "stock": MulticlassCalibrationError(num_classes=2),
        }
    )
    padded = truth(masks=True)._replace(is_padding=torch.tensor([False, True]))
    counted = split.update(prediction(), padded)
    assert counted.truth.positions == [0]
    # Fewer images than processes: a whole batch of padding, on a process that has nothing else.
    empty = split.update(prediction(), padded._replace(is_padding=torch.tensor([True, True])))
    assert empty.truth.positions == []
    found = split.compute()
    assert {key: int(value) for key, value in found.items() if key.endswith("num_images")} == {
        "localization/num_images": 1,
        "localization/centred_box_num_images": 1,
        "localization/ilsvrc_num_images": 1,
        "classification/stock_num_images": 1,
    }
    assert found["classification/top1_error"].item() == 0  # the wrong one was padding
    alone = protocols({"classification": ClassificationError(), "val_threshold": LocalizationError()})
    alone.update(prediction(), padded._replace(is_padding=torch.tensor([True, True])))
    assert alone.compute() == {}


def test_several_protocols_have_their_own_thresholds_normalizations_and_keys() -> None:
    split = protocols(
        {
            "val_threshold": LocalizationError(num_thresholds=10),
            "paper": LocalizationError(cam_threshold=0.2, num_thresholds=5),
        },
        {"paper": MAX},
    )
    # The halo is 0 and all else -1: min-max lifts the halo to 1/2, and max leaves nothing of it.
    split.update(prediction(halo=0.0, floor=-1.0), truth())
    found = split.compute()
    assert found["localization/cam_threshold"].item() == 0.7
    assert found["localization/gt_known_curve"][1].tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert found["localization/paper/cam_threshold"].item() == 0.2
    assert found["localization/paper/gt_known_curve"][1].tolist() == [0, 0, 0, 0, 0]
    assert found["localization/paper/gt_known_error"].item() == 0
    assert found["localization/gt_known_error"].item() == 0
    assert split.shown == "val_threshold"
    assert split.fixed_threshold is None
    assert split.chosen_threshold() == 0.7


def test_the_first_of_several_has_the_plain_key() -> None:
    split = protocols(
        {
            "paper": LocalizationError(cam_threshold=0.2, num_thresholds=10),
            "val_threshold": LocalizationError(num_thresholds=10),
            "classification": ClassificationError(),
            "max_box_acc": MaxBoxAcc(0.1),
        }
    )
    split.update(prediction(), truth())
    found = split.compute()
    assert found["localization/gt_known_error"].item() == 1  # at 0.2 the halo's box
    assert found["localization/val_threshold/gt_known_error"].item() == 0
    assert "localization/max_box_acc" in found
    assert split.key("classification", "top1_error") == "classification/top1_error"


def test_counts_of_the_same_pairs_are_reported_once_by_the_first_protocol() -> None:
    # Under max nothing is left of a negative map; under min-max it localizes as any other.
    split = protocols({"val_threshold": LocalizationError(), "max_box_acc": MaxBoxAcc(0.1)}, {"max_box_acc": MAX})
    maps = prediction().cams
    assert maps is not None
    split.update(prediction()._replace(cams=maps - 2), truth())
    found = split.compute()
    assert found["localization/num_images"].item() == 2
    assert found["localization/num_degenerate"].item() == 0
    assert split.protocols["max_box_acc"].compute()["num_degenerate"].item() == 2


def test_protocols_of_one_normalization_share_maps_and_boxes() -> None:
    asked: list[list[float]] = []

    def counted(score_maps: Tensor, cam_thresholds: Sequence[float], /) -> Tensor:
        asked.append(list(cam_thresholds))
        return largest_component_boxes(score_maps, cam_thresholds)

    split = protocols(
        {
            "val_threshold": LocalizationError(num_thresholds=2),
            "fixed": LocalizationError(cam_threshold=0.3, num_thresholds=2),
            "paper": LocalizationError(cam_threshold=0.2, num_thresholds=2),
            "ilsvrc": IlsvrcError(cam_threshold=0.4),
        },
        {"fixed": partial(score_map, normalization="minmax"), "paper": MAX},  # the first is equal to the shared one
        box_rule=counted,
    )
    split.update(prediction(), truth())
    assert asked == [[0.0, 0.3, 0.4, 0.5], [0.0, 0.2, 0.5]]


def test_a_normalization_that_is_no_partial_is_told_apart_by_identity() -> None:
    def ones(cam: Tensor, size: tuple[int, int]) -> Tensor:
        return torch.ones(len(cam), *size)

    split = protocols({"a": LocalizationError(num_thresholds=2), "b": LocalizationError(num_thresholds=2)}, {"b": ones})
    outcomes = split.update(prediction(halo=0.0), truth()).outcomes
    assert outcomes["a"].values["iou"][0, 1] == 1
    assert outcomes["b"].values["iou"][0, 1] == 16 / 96


def test_rows_show_classification_first_and_then_what_chooses_its_threshold() -> None:
    split = protocols(
        {
            "centred_box": CentredBoxError(),
            "max_box_acc": MaxBoxAcc(0.1, v2=True),
            "val_threshold": LocalizationError(),
            "paper": LocalizationError(cam_threshold=0.2),
            "classification": ClassificationError(),
        }
    )
    rows = split.rows()
    assert [key for key in rows if not key.startswith("localization/paper/")] == [
        "classification/top1_error",
        "classification/top5_error",
        "localization/top1_error",
        "localization/top5_error",
        "localization/gt_known_error",
        "localization/gt_known_error_at_best",
        "localization/centred_box_gt_known_error",
        "localization/max_box_acc_v2",
    ]
    name, row = rows["localization/paper/gt_known_error"]
    assert (name, row.title) == ("paper", "GT-known localization error")


def test_the_first_protocol_that_chooses_a_threshold_has_chosen() -> None:
    given = {"fixed": LocalizationError(cam_threshold=0.2), "a": LocalizationError(num_thresholds=5)}
    split = protocols({**given, "b": LocalizationError(num_thresholds=10)})
    split.update(prediction(), truth())
    assert split.chosen_threshold() == 0.6  # of 0, 0.2, ..., 0.8 the first above the halo
    fixed = protocols({"fixed": LocalizationError(cam_threshold=0.2)})
    fixed.update(prediction(), truth())
    assert fixed.chosen_threshold() is None


def test_a_reset_forgets_counts_losses_and_what_was_missing() -> None:
    split = protocols({"classification": ClassificationError(), "pxap": PxAP(0.1)})
    split.update(prediction(), truth())
    assert split.unmet
    split.reset()
    assert split.compute() == {}
    assert split.unmet == {}


def test_images_with_several_labels_are_measured_pair_by_pair() -> None:
    target = torch.tensor([[True, True], [False, True]])
    of: Truth = SQUARES["truth"](target)
    cams = prediction((0, 0, 0)).cams
    split = protocols({"classification": ClassificationError(), "val_threshold": LocalizationError(num_thresholds=10)})
    counted = split.update(Prediction(of.pairs, torch.tensor([[2.0, 0.0], [0.0, 2.0]]), cams), of)
    found = split.compute()
    # The image's other true class is no mistake.
    assert counted.outcomes["classification"].values["rank"].tolist() == [0, 0, 0]
    assert found["classification/top1_error"].item() == 0
    assert found["localization/num_images"].item() == 3
    # log(1 + exp(-2)) and log 2 in either image, but for the label that logit 0 is right or wrong about alike.
    assert found["loss"].item() == pytest.approx((math.log1p(math.exp(-2)) + math.log(2)) / 2)


def test_only_pairs_with_true_boxes_are_localized_and_all_are_classified() -> None:
    split = protocols({"classification": ClassificationError(), "val_threshold": LocalizationError(num_thresholds=10)})
    of: Truth = truth()
    boxes = [torch.zeros(0, 4), *of.gt_boxes[1:]]
    counted = split.update(prediction(), of._replace(gt_boxes=boxes, image_boxes=boxes))
    found = split.compute()
    assert len(counted.outcomes["classification"].values["rank"]) == len(of.target)
    assert found["localization/num_images"].item() == len(of.target) - 1
    assert list(counted.places["val_threshold"]) == list(range(1, len(of.target)))
    assert len(counted.outcomes["val_threshold"].values["iou"]) == len(of.target) - 1
    nothing = [torch.zeros(0, 4)] * len(of.target)
    split.update(prediction(), of._replace(gt_boxes=nothing, image_boxes=nothing))
    again = split.compute()
    assert again["localization/num_images"].item() == len(of.target) - 1
    assert torch.equal(again["localization/gt_known_curve"], found["localization/gt_known_curve"])


def test_images_without_a_label_count_where_images_do() -> None:
    given = {"val_threshold": LocalizationError(num_thresholds=10), "multi_label": MultiLabelRanking()}
    split = protocols(given)
    negative: Truth = SQUARES["truth"](torch.tensor([[False, False], [False, False]]))
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    counted = split.update(Prediction(negative.pairs, logits, torch.zeros(0, 8, 12)), negative)
    assert counted.outcomes.keys() == {"multi_label"}
    of: Truth = SQUARES["truth"](torch.tensor([[True, False]]))
    split.update(Prediction(of.pairs, torch.tensor([[1.0, 3.0]]), prediction((0,)).cams), of)
    found = split.compute()
    assert split.images.compute() == 3
    assert found["localization/num_images"] == 1
    # Class 0: the positive has logit 1, the negatives 2 and 0; nothing shows class 1.
    assert found["classification/average_precision"].item() == 0.5
    assert found["classification/auroc"].item() == 0.5
    assert found["classification/num_classes_left_out"] == 1


def test_a_class_without_objects_gets_no_box() -> None:
    given = SQUARES["measures"]({"val_threshold": LocalizationError(num_thresholds=10)})
    of: Truth = truth()
    objectless = int(of.target[0])
    boxes = [torch.zeros(0, 4) if target == objectless else of.gt_boxes[0] for target in of.target.tolist()]
    of = of._replace(gt_boxes=boxes, image_boxes=boxes)
    shown = SplitProtocols(given._replace(objectless=frozenset({objectless}))).update(prediction(), of).shown_boxes
    with_box = SplitProtocols(given).update(prediction(), of).shown_boxes
    assert shown is not None
    assert with_box is not None
    assert with_box[0].tolist() != [0, 0, 0, 0]
    is_objectless = of.target == objectless
    assert not shown[is_objectless].any()
    assert torch.equal(shown[~is_objectless], with_box[~is_objectless])


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        ({"num_images": 2, "x": float("nan")}, True),
        ({"num_images": 0, "x": 1.0}, False),
        ({"ilsvrc_num_images": 0}, False),
        ({"x": 0.5}, True),
        ({"x": float("nan"), "y": 0.5}, False),  # y is no row
        ({}, False),
    ],
)
def test_numbers_rest_on_pairs_or_are_finite(values: dict[str, float], counted: bool) -> None:
    tensors = {name: torch.tensor(value) for name, value in values.items()}
    assert counted_something(tensors, [Row("x", "x", "min"), Row("z", "z", "min")]) is counted


def test_a_rule_without_thresholds_reports_none_and_leaves_out_what_is_about_them() -> None:
    given = {"val_threshold": LocalizationError(num_thresholds=10), "ilsvrc": IlsvrcError(), "swept": Swept()}
    split = protocols(given, box_rule=partial(released_boxes, box="tight"))
    counted = split.update(prediction(halo=0.2), truth())
    assert (split.shown, split.fixed_threshold, split.shown_threshold) == ("val_threshold", None, None)
    assert split.shown_thresholds == ()
    assert split.unmet == {"swept": {"boxes"}}
    assert counted.prediction.boxes is not None
    assert counted.prediction.boxes.tolist() == [[[1, 2, 5, 6]]] * 2
    assert counted.shown_boxes is not None
    assert counted.shown_boxes.tolist() == [[1, 2, 5, 6]] * 2
    found = {key: value.item() for key, value in split.compute().items()}
    assert found["localization/gt_known_error"] == 0
    assert found["localization/top1_error"] == found["localization/ilsvrc_top1_error"] == 0.5
    assert not any("threshold" in key or "best" in key for key in found)
    assert split.chosen_threshold() is None
    localized = split.localize(prediction(halo=0.2), truth())
    assert localized.boxes is not None
    assert localized.boxes.shape == (2, 1, 4)


def test_a_rule_that_reads_images_is_given_those_of_its_pairs() -> None:
    handed: list[Tensor] = []

    def rule(score_maps: Tensor, images: Tensor) -> Tensor:
        handed.append(images)
        return torch.tensor([[1, 2, 5, 6]]).expand(len(score_maps), 4)

    split = protocols({"val_threshold": LocalizationError()}, box_rule=rule)
    images = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 8, 12)
    padded = truth((0, 1, 0))._replace(is_padding=torch.tensor([True, False, False]))
    split.update(prediction((0, 1, 0))._replace(images=images), padded)
    assert handed[0][:, 0, 0, 0].tolist() == [1, 2]
    with pytest.raises(ValueError, match="box_rule needs images, which these predictions come without"):
        protocols({"val_threshold": LocalizationError()}, box_rule=graph_cut_boxes).update(prediction(), truth())


def test_the_heuristic_takes_the_released_boxes_whatever_the_rule_is() -> None:
    split = protocols({"val_threshold": LocalizationError(num_thresholds=10), "heuristic": HeuristicError()})
    split.update(prediction(halo=0.2), truth())
    found = split.compute()
    assert found["localization/heuristic_top5_error"].item() == 0  # by the tight box
    assert "localization/best_cam_threshold" in found
