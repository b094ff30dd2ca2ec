"""What metrics refuse: every argument, one wrong value of each kind, by its name."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from camloc.metrics.centred_box import CentredBoxError
from camloc.metrics.checks import Kind, check_cam_threshold, check_iou_threshold, check_tensor
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.contract import Protocol
from camloc.metrics.functional.breakdown import by_class, by_object_size, miss_causes, object_share
from camloc.metrics.functional.classification import class_rank
from camloc.metrics.functional.devkit import devkit_hits, devkit_pixels
from camloc.metrics.functional.localization import best_iou
from camloc.metrics.functional.max_box_acc import wsolevaluation_boxes
from camloc.metrics.functional.per_image import PerImage, error, hits
from camloc.metrics.functional.pxap import pixel_average_precision, score_histograms
from camloc.metrics.functional.resampling import percentiles, resampled_sums
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.metrics.pxap import PxAP
from camloc.metrics.stock import StockMetric

BOX = torch.tensor([[1.0, 1.0, 5.0, 5.0]])
INTEGER, BOOL = torch.int64, torch.bool
CLASSES = {"logits": torch.eye(4, 6), "target": torch.tensor([0, 1, 2, 5])}
MAPS = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(0))
GIVEN: dict[type[Protocol], dict[str, Any]] = {
    ClassificationError: CLASSES,
    LocalizationError: {**CLASSES, "score_maps": MAPS, "gt_boxes": [BOX] * 4, "boxes": torch.zeros(4, 100, 4)},
    IlsvrcError: {
        **CLASSES,
        "reported_boxes": BOX.expand(4, 4),
        "image_boxes": [BOX] * 4,
        "positions": [0, 1, 2, 3],
        "predicted_classes": torch.zeros(4, 5, dtype=INTEGER),
        "predicted_boxes": torch.zeros(4, 5, 4),
    },
    CentredBoxError: {"gt_boxes": [BOX] * 4, "map_size": (8, 8)},
    MaxBoxAcc: {"score_maps": MAPS, "resized_boxes": [BOX.long()] * 4},
    PxAP: {"score_maps": MAPS, "masks": MAPS > 0.5, "ignore": torch.zeros(4, 8, 8, dtype=BOOL)},
}
for wanted in GIVEN.values():
    wanted["is_padding"] = torch.tensor([False, False, False, True])


NOT_BOXES: list[Any] = [
    BOX.expand(4, 4),  # one box for each pair: each pair would be compared with all of them
    [BOX[0]] * 4,
    [[[1, 1, 5, 5]]] * 4,
    [torch.zeros(0, 4)] * 4,
    [torch.tensor([[5.0, 1.0, 1.0, 5.0]])] * 4,
    [torch.tensor([[torch.nan, 1.0, 1.0, 5.0]])] * 4,
    [BOX > 0] * 4,
    None,
]
WRONG: dict[str, list[Any]] = {
    "is_padding": [torch.zeros(4, dtype=INTEGER), torch.zeros(4, dtype=torch.uint8), torch.zeros(3, dtype=BOOL), [0]],
    "logits": [torch.zeros(4), torch.zeros(4, 6, dtype=BOOL), np.zeros((4, 6))],
    "target": [torch.zeros(4, 1, dtype=INTEGER), torch.zeros(4), torch.tensor([-1, 1, 2, 0]), [0, 1, 2, 3]],
    "score_maps": [MAPS[0], torch.full((4, 8, 8), 1.5), -MAPS, MAPS.to(torch.complex64), None],
    "masks": [torch.zeros(4, 8, 8), torch.zeros(4, 8, 7, dtype=BOOL), torch.zeros(3, 8, 8, dtype=BOOL), None],
    "ignore": [torch.zeros(4, 8, 8), torch.zeros(4, 7, 8, dtype=BOOL), torch.zeros(1, 8, 8, dtype=BOOL), None],
    "gt_boxes": NOT_BOXES,
    "image_boxes": NOT_BOXES,
    "resized_boxes": [*NOT_BOXES, [BOX] * 4, [torch.tensor([[-1, 0, 4, 4]])] * 4],
    "boxes": [torch.zeros(4, 99, 4), torch.zeros(4, 4), torch.full((4, 100, 4), torch.inf)],
    "reported_boxes": [torch.zeros(3, 4), torch.zeros(4, 5), torch.full((4, 4), torch.nan)],
    "positions": [[0, 1, 2], torch.arange(4), [0, 1, 2, 3.5], [0, 1, 2, -1], None],
    "predicted_classes": [torch.zeros(4, 5), torch.zeros(3, 5, dtype=INTEGER), torch.full((4, 5), -2)],
    "predicted_boxes": [torch.zeros(4, 4, 4), torch.zeros(4, 5), torch.full((4, 5, 4), torch.nan), None],
    "map_size": [8, (8,), (0, 8), (8.5, 8), "88", None],
}
ARGUMENTS = [
    pytest.param(kind, name, value, id=f"{kind.__name__}-{name}-{index}")
    for kind, given in GIVEN.items()
    for name in given
    for index, value in enumerate(WRONG[name])
]


def around(kind: type[Protocol], name: str) -> dict[str, Any]:
    """What is given next to an argument; predictions go before logits and boxes."""
    given = dict(GIVEN[kind])
    if kind is IlsvrcError and not name.startswith("predicted"):
        given |= {"predicted_classes": None, "predicted_boxes": None}
    return given


@pytest.mark.parametrize(("kind", "name", "value"), ARGUMENTS)
def test_a_wrong_argument_is_named_and_nothing_is_counted(kind: type[Protocol], name: str, value: Any) -> None:  # noqa: ANN401 - as wrong as may be
    metric = kind()
    with pytest.raises(ValueError, match=name):
        metric.update(**around(kind, name) | {name: value})
    assert not any(state.any() for state in metric.metric_state.values() if isinstance(state, Tensor))


@pytest.mark.parametrize("kind", GIVEN)
def test_what_is_right_is_counted(kind: type[Protocol]) -> None:
    for name in GIVEN[kind]:
        metric = kind()
        metric.update(**around(kind, name))
        counted = metric.metric_state["num_images"]
        assert isinstance(counted, Tensor)
        assert counted.item() == 3


def test_bool_maps_are_maps_of_zeros_and_ones() -> None:
    masks = MAPS > 0.7
    for kind in (LocalizationError, MaxBoxAcc, PxAP):
        of_bools, of_floats = kind(), kind()
        of_bools.update(**around(kind, "") | {"score_maps": masks})
        of_floats.update(**around(kind, "") | {"score_maps": masks.float()})
        found, expected = of_bools.compute(), of_floats.compute()
        assert {key: value.tolist() for key, value in found.items()} == {
            key: value.tolist() for key, value in expected.items()
        }


@pytest.mark.parametrize("kind", GIVEN)
def test_an_empty_batch_counts_nothing(kind: type[Protocol]) -> None:
    metric = kind()
    for name in GIVEN[kind]:
        given = around(kind, name)
        metric.update(
            **{key: value if value is None or key == "map_size" else value[:0] for key, value in given.items()}
        )
    assert not any(state.any() for state in metric.metric_state.values() if isinstance(state, Tensor))


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        (ClassificationError, {"logits": torch.zeros(3, 6)}, "target is"),
        (LocalizationError, {"logits": torch.zeros(3, 6)}, "logits is"),
        (LocalizationError, {"score_maps": MAPS[:3]}, "score_maps is"),
        (LocalizationError, {"score_maps": MAPS[:, :0]}, "score_maps has shape"),
        (LocalizationError, {"gt_boxes": [BOX] * 3}, "gt_boxes has 3 entries; give 4"),
        (LocalizationError, {"logits": None, "target": CLASSES["target"] - 1}, "target must be at least 0, got -1"),
        (IlsvrcError, {"image_boxes": [BOX] * 3}, "image_boxes has 3 entries; give 4"),
        (IlsvrcError, {"positions": [0, 1, 2]}, "positions has 3 entries; give 4"),
        (MaxBoxAcc, {"resized_boxes": [BOX.long()] * 3}, "resized_boxes has 3 entries; give 4"),
        (MaxBoxAcc, {"score_maps": MAPS[:, :0]}, "score_maps has shape"),
        (PxAP, {"score_maps": MAPS[:3]}, r"masks is .*; give bool of shape \(3,8,8\)"),
    ],
)
def test_arguments_of_different_lengths_are_refused(kind: type[Protocol], changes: dict[str, Any], named: str) -> None:
    metric = kind()
    with pytest.raises(ValueError, match=named):
        metric.update(**around(kind, "") | changes)
    assert not any(state.any() for state in metric.metric_state.values() if isinstance(state, Tensor))


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int16])
def test_targets_of_any_integer_type_are_classes(dtype: torch.dtype) -> None:
    assert class_rank(CLASSES["logits"], CLASSES["target"].to(dtype)).tolist() == [0, 0, 0, 5]


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint64, torch.float8_e4m3fn])
def test_types_that_torch_cannot_compare_are_refused(dtype: torch.dtype) -> None:
    kinds: tuple[Kind, ...] = ("integers", "real numbers")
    for kind in kinds:
        with pytest.raises(ValueError, match=f"logits is {dtype} of shape"):
            check_tensor("logits", torch.zeros(1, 3, dtype=dtype), kind, "P", "C")
    with pytest.raises(ValueError, match=r"logits is torch\.sparse_coo; give a dense tensor"):
        check_tensor("logits", torch.zeros(1, 3).to_sparse(), "real numbers", "P", "C")


def test_places_in_a_tensor_would_not_be_found_in_a_blacklist() -> None:
    given = around(IlsvrcError, "positions")
    with pytest.raises(ValueError, match=r"positions is a Tensor of shape \(4,\); give a list"):
        IlsvrcError().update(**given | {"positions": torch.arange(4)})


FRACTION = [-0.1, 50, float("nan"), "0.5", True, None]


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        (LocalizationError, "cam_threshold", [-0.1, 1, 20, float("nan"), "0.2", True]),
        (LocalizationError, "num_thresholds", [0, -1, 10.0, "10", True, None, 10**9]),
        (LocalizationError, "iou_thresholds", [0.5, "0.5", [50], ["0.5"], [True], None]),
        (LocalizationError, "iou_threshold", [*FRACTION, 0.6]),
        (LocalizationError, "more_thresholds", [0.1, [1.0], [-0.1], ["0.1"], None]),
        (IlsvrcError, "blacklist", [5, True, ["list.txt"]]),
        (IlsvrcError, "iou_threshold", [0, *FRACTION]),
        (IlsvrcError, "cam_threshold", [1, -0.1, "0.2", True]),
        (CentredBoxError, "num_scales", [0, 2.5, "3", True, None, 10**9]),
        (CentredBoxError, "iou_threshold", [0, *FRACTION]),
        (MaxBoxAcc, "cam_curve_interval", [0, 1.5, -1, float("nan"), "0.1", True, None, 1e-9]),
        (MaxBoxAcc, "v1", ["no", 1, None]),
        (MaxBoxAcc, "v2", ["no", 0, None]),
        (PxAP, "cam_curve_interval", [0, 1.5, float("nan"), "0.1", True, None, 1e-9]),
    ],
)
def test_a_wrong_option_is_named(kind: type[Protocol], name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=name):
            kind(**{name: value})


def test_a_stock_metric_is_a_metric_with_a_name() -> None:
    with pytest.raises(ValueError, match="name must be the key of the number, got ''"):
        StockMetric("", ClassificationError())
    with pytest.raises(ValueError, match=r"mine\.metric must be a torchmetrics Metric, got 3"):
        StockMetric("mine", 3)  # type: ignore[arg-type] # as a configuration may say


@pytest.mark.parametrize("threshold", [-0.1, 1, 20, float("nan")])
def test_a_cam_threshold_is_a_fraction_below_1(threshold: float) -> None:
    check_cam_threshold("name", 0.0)
    with pytest.raises(ValueError, match=rf"^name is a fraction .* in \[0, 1\), got {threshold}"):
        check_cam_threshold("name", threshold)
    with pytest.raises(ValueError, match=rf"got {threshold}"):
        IlsvrcError().set_threshold(threshold)


@pytest.mark.parametrize("threshold", [0, -0.5, 50, float("nan")])
def test_an_iou_threshold_is_a_fraction_above_0(threshold: float) -> None:
    check_iou_threshold("name", 1.0)
    with pytest.raises(ValueError, match=rf"^name is a fraction in \(0, 1\], got {threshold}"):
        check_iou_threshold("name", threshold)


def test_shapes_are_said_as_they_are_wanted() -> None:
    check_tensor("boxes", torch.zeros(2, 3, 4), "real numbers", "...", 4)
    check_tensor("boxes", torch.zeros(4), "real numbers", "...", 4)
    with pytest.raises(
        ValueError, match=r"^boxes is torch.float32 of shape \(2, 3\); give real numbers of shape \(\.\.\.,4\)$"
    ):
        check_tensor("boxes", torch.zeros(2, 3), "real numbers", "...", 4)
    with pytest.raises(ValueError, match=r"^ranks is a list; give a tensor of integers of shape \(3,\)$"):
        check_tensor("ranks", [1, 2, 3], "integers", 3)


SAVED = PerImage(
    np.array(["a", "b"]), np.array([0, 2]), np.array([0, 2]), np.array([[0.2, 0.6], [0.8, 0.5]]), np.array([0.1, 0.2])
)
LABELS, FIVE = torch.zeros(1, 5, dtype=INTEGER), torch.zeros(1, 5, 4)
CAUSE = torch.zeros(1, dtype=INTEGER)


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (best_iou, (torch.zeros(1, 4), [BOX]), "boxes is"),
        (best_iou, (torch.full((1, 1, 4), torch.nan), [BOX]), "boxes holds"),
        (best_iou, (torch.zeros(1, 1, 4), BOX), "gt_boxes is a Tensor"),
        (devkit_pixels, (torch.zeros(2, 3),), "boxes is"),
        (devkit_pixels, (torch.full((2, 4), torch.inf),), "boxes holds"),
        (devkit_pixels, ([0, 0, 4, 4],), "boxes is a list"),
        (devkit_hits, (LABELS.float(), FIVE, CAUSE, [BOX]), "labels is"),
        (devkit_hits, (LABELS, FIVE[:, :4], CAUSE, [BOX]), "boxes is"),
        (devkit_hits, (LABELS, FIVE, CAUSE.float(), [BOX]), "target is"),
        (devkit_hits, (LABELS - 2, FIVE, CAUSE, [BOX]), "labels must"),
        (devkit_hits, (LABELS - 1, FIVE, CAUSE - 1, [BOX]), "target at least 0"),  # no prediction of no class: no hit
        (devkit_hits, (LABELS, FIVE, CAUSE, [BOX, BOX]), "gt_boxes has 2"),
        (devkit_hits, (LABELS, FIVE, CAUSE, [BOX], 50), "iou_threshold"),
        (wsolevaluation_boxes, (BOX, (8, 8), (8, 8)), "boxes is torch.float32"),
        (wsolevaluation_boxes, (BOX.long(), (0, 8), (8, 8)), "image_size"),
        (wsolevaluation_boxes, (BOX.long(), (8, 8), 8), "map_size"),
        (score_histograms, (MAPS, MAPS > 0, MAPS > 0, torch.tensor([0.1, 0.5])), "thresholds must ascend from 0"),
        (score_histograms, (MAPS, MAPS > 0, MAPS > 0, torch.tensor([0.0, 0.5, 0.5])), "thresholds must ascend from 0"),
        (score_histograms, (MAPS, MAPS > 0, MAPS > 0, torch.tensor([0.0, 1.0])), "thresholds must ascend from 0"),
        (score_histograms, (MAPS, MAPS > 0, MAPS > 0, torch.zeros(0)), "thresholds must ascend from 0"),
        (pixel_average_precision, (torch.zeros(3, 4),), "histograms is"),
        (pixel_average_precision, (torch.tensor([[0, -1, 0], [0, 0, 0]]),), "histograms must"),
        (pixel_average_precision, (torch.tensor([[0, 1], [0, 1]]),), "none in the last bin"),
        (miss_causes, (torch.zeros(1, 4), [BOX], torch.zeros(1), 0.5), "is_right_class is"),
        (miss_causes, (torch.zeros(1, 4), [BOX], torch.zeros(1, dtype=BOOL), 50), "iou_threshold"),
        (miss_causes, (torch.full((1, 4), torch.nan), [BOX], torch.zeros(1, dtype=BOOL), 0.5), "boxes holds"),
        (by_class, (CAUSE + 7, CAUSE, 2), "causes must lie"),
        (by_class, (CAUSE, torch.zeros(2, dtype=INTEGER), 2), "target is"),
        (by_class, (CAUSE, CAUSE, 2.5), "num_classes"),
        (by_object_size, (CAUSE, torch.tensor([torch.nan])), "shares must"),
        (object_share, ([BOX], [(0, 8)]), "sizes"),
        (object_share, ([torch.zeros(0, 4)], [(8, 8)]), r"gt_boxes\[0\]"),
        (resampled_sums, (np.zeros(3), ["a", "b", "c"]), "counts has shape"),
        (resampled_sums, (np.zeros((0, 3)), []), "counts has shape"),
        (resampled_sums, (np.zeros((2, 3)), ["a"]), "there are 1 image_ids"),
        (percentiles, (np.zeros(0),), "resampled has shape"),
        (hits, (SAVED, "top2", 0.5), "condition must be among gt_known, top1, top5"),
        (hits, (SAVED, "top1", 50), "iou_threshold"),
        (error, (SAVED, "top1", -1, 0.5), "threshold_index"),
        (error, (SAVED, "top1", 2, 0.5), "threshold_index=2 is beyond the 2"),
    ],
)
def test_the_formulas_name_what_they_refuse(function: Any, arguments: tuple[Any, ...], named: str) -> None:  # noqa: ANN401 - of several types
    with pytest.raises(ValueError, match=named):
        function(*arguments)


@pytest.mark.parametrize("number", [0, 1.5, True])
def test_resamples_are_counted_in_whole_numbers(number: Any) -> None:  # noqa: ANN401 - as wrong as may be
    with pytest.raises(ValueError, match="num_resamples"):
        resampled_sums(np.zeros((2, 1)), ["a", "b"], num_resamples=number)
