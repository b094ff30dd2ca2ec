"""What protocols are handed of a batch: maps and boxes, values of pairs, and what padding leaves behind."""

from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from torch import Tensor

from camloc.attribution.score_map import score_map
from camloc.experiment.measuring.evidence import Evidence, resized_boxes
from camloc.experiment.measuring.localized import Localized, to_images, without_boxes
from camloc.experiment.measuring.padding import without_padding
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.contract import NEEDS
from camloc.records import Pairs, Prediction, Ranked, Truth

truth: Callable[..., Truth] = run_path(str(Path(__file__).parent.parent / "squares.py"))["truth"]
MINMAX = partial(score_map, normalization="minmax")
MULTI_LABEL = torch.tensor([[True, False, True], [False, True, False]])


def cams() -> Tensor:
    """Two maps of 4x6 cells: columns 0 to 2 at 1, and column 3 at 0.5."""
    maps = torch.zeros(2, 4, 6)
    maps[:, :, :3] = 1
    maps[:, :, 3] = 0.5
    return maps


def localized(prediction: Prediction, of: Truth, thresholds: tuple[float, ...] = (0.2, 0.4, 0.8)) -> Localized:
    return Localized(prediction, of, MINMAX, largest_component_boxes, thresholds)


def test_maps_are_normalized_and_boxed_once_at_the_size_of_the_truth() -> None:
    calls: list[str] = []

    def counted_map(cam: Tensor, size: tuple[int, int]) -> Tensor:
        calls.append(f"map {size}")
        return MINMAX(cam, size)

    def counted_boxes(score_maps: Tensor, cam_thresholds: Any, /) -> Tensor:  # noqa: ANN401 - a sequence
        calls.append(f"boxes {list(cam_thresholds)}")
        return largest_component_boxes(score_maps, cam_thresholds)

    of = truth(torch.tensor([0, 1]), size=(4, 6))
    made = Localized(Prediction(of.pairs, cams=cams()), of, counted_map, counted_boxes, (0.2, 0.8))
    assert calls == []  # nothing is made until it is asked for
    for _ in range(2):
        assert made.score_maps is not None
        assert made.score_maps.shape == (2, 4, 6)
        assert made.boxes is not None
        assert made.boxes.tolist() == [[[0, 0, 4, 4], [0, 0, 3, 4]]] * 2
    assert calls == ["map (4, 6)", "boxes [0.2, 0.8]"]


def test_boxes_at_some_of_the_thresholds() -> None:
    of = truth(torch.tensor([0, 1]), size=(4, 6))
    made = localized(Prediction(of.pairs, cams=cams()), of)
    assert made.at([0.2, 0.4, 0.8]) is made.boxes
    found = made.at([0.8])
    assert found is not None
    assert found.tolist() == [[[0, 0, 3, 4]]] * 2
    with pytest.raises(ValueError, match=r"0\.5 is not in list"):
        made.at([0.5])


def test_what_a_prediction_brings_is_taken_as_it_is() -> None:
    of = truth(torch.tensor([0, 1]), size=(4, 6))
    boxes, maps = torch.ones(2, 3, 4), torch.full((2, 4, 6), 0.25)
    made = localized(Prediction(of.pairs, cams=cams(), score_maps=maps, boxes=boxes), of)
    assert made.score_maps is maps
    assert made.boxes is boxes


def test_without_maps_there_are_neither_score_maps_nor_boxes() -> None:
    of = truth(torch.tensor([0, 1]))
    made = localized(Prediction(of.pairs), of)
    assert (made.score_maps, made.boxes, made.at([0.2]), made.image_boxes(0.2)) == (None, None, None, None)


def test_boxes_are_carried_to_pixels_of_the_images() -> None:
    of = truth(torch.tensor([0, 1]), size=(4, 6))._replace(windows=[(0, 0, 60, 8), (100, 50, 106, 54)])
    maps = cams()
    maps[1] = 0  # no box
    found = localized(Prediction(of.pairs, cams=maps), of).image_boxes(0.4)
    assert found is not None
    assert found.dtype == torch.float64
    assert found.tolist() == [[0, 0, 40, 8], [0, 0, 0, 0]]  # no box stays (0,0,0,0) wherever the window lies
    assert to_images(torch.zeros(0, 4), Pairs.of_target(torch.zeros(0, dtype=torch.int64)), of).shape == (0, 4)


def evidence(prediction: Prediction, of: Truth, name: str, cam_threshold: float | None = None) -> Any:  # noqa: ANN401 - as many types as names
    return Evidence(prediction, of).get(name, localized(prediction, of), (0.2, 0.8), cam_threshold)


def full(target: Tensor) -> tuple[Prediction, Truth]:
    """A prediction and a truth that lack nothing."""
    of = truth(target, size=(4, 6))
    num_pairs, num_images = len(of.pairs.classes), len(target)
    masks = torch.zeros(num_pairs, 2, 4, 6, dtype=torch.bool)
    masks[:, 0, 0, 0] = masks[:, 1, 3, 5] = True
    ranked = Ranked(
        torch.arange(2 * num_images).view(num_images, 2), None, torch.arange(8.0 * num_images).view(num_images, 2, 4)
    )
    prediction = Prediction(
        of.pairs, torch.arange(3.0 * num_images).view(num_images, 3), cams()[:1].repeat(num_pairs, 1, 1), ranked=ranked
    )
    return prediction, of._replace(masks=masks, positions=[40, 30], image_sizes=[(4, 6), (8, 9)])


def test_every_need_is_met_by_a_whole_batch_but_padding() -> None:
    prediction, of = full(torch.tensor([0, 1]))
    found = {name: evidence(prediction, of._replace(image_sizes=[(4, 6)] * 2), name, 0.2) for name in NEEDS}
    assert [name for name, value in found.items() if value is None] == ["is_padding"]
    assert found["target"].tolist() == [0, 1]
    assert found["logits"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["boxes"].tolist() == [[[0, 0, 4, 4], [0, 0, 3, 4]]] * 2
    assert found["reported_boxes"].tolist() == [[0, 0, 4, 4]] * 2
    assert found["masks"].nonzero().tolist() == [[0, 0, 0], [1, 0, 0]]
    assert found["ignore"].nonzero().tolist() == [[0, 3, 5], [1, 3, 5]]
    assert found["positions"] == [40, 30]
    assert found["map_size"] == (4, 6)
    assert found["predicted_classes"].tolist() == [[0, 1], [2, 3]]
    assert found["predicted_boxes"][1].tolist() == [[8, 9, 10, 11], [12, 13, 14, 15]]


def test_values_of_images_are_repeated_for_each_of_their_labels() -> None:
    prediction, of = full(MULTI_LABEL)
    assert evidence(prediction, of, "target").tolist() == [0, 2, 1]
    assert evidence(prediction, of, "logits").tolist() == [[0, 1, -inf], [-inf, 1, 2], [3, 4, 5]]
    assert evidence(prediction, of, "image_logits").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert torch.equal(evidence(prediction, of, "labels"), MULTI_LABEL)
    assert evidence(prediction, of, "positions") == [40, 40, 30]
    assert evidence(prediction, of, "image_sizes") == [(4, 6), (4, 6), (8, 9)]
    assert evidence(prediction, of, "predicted_classes").tolist() == [[0, 1], [0, 1], [2, 3]]
    assert evidence(prediction, of, "predicted_boxes").shape == (3, 2, 4)


@pytest.mark.parametrize(
    "name", [name for name in NEEDS if name not in ("target", "map_size", "image_sizes", "windows", "positions")]
)
def test_what_is_not_there_is_none(name: str) -> None:
    of = truth(torch.tensor([0, 1]))
    nothing = of._replace(gt_boxes=[torch.zeros(0, 4)] * 2, image_boxes=[torch.zeros(0, 4)] * 2)
    assert evidence(Prediction(of.pairs), nothing, name, 0.2) is None


def test_there_are_no_reported_boxes_before_a_threshold_is_known() -> None:
    prediction, of = full(torch.tensor([0, 1]))
    assert evidence(prediction, of, "reported_boxes") is None


def test_the_most_likely_classes_without_boxes_are_no_predictions_of_a_devkit() -> None:
    prediction, of = full(torch.tensor([0, 1]))
    only_maps = Ranked(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 2, 4, 6), None)
    assert evidence(prediction._replace(ranked=only_maps), of, "predicted_classes") is None
    assert evidence(prediction._replace(ranked=only_maps), of, "predicted_boxes") is None


def test_true_boxes_are_resized_as_wsolevaluation_does() -> None:
    # It scales inclusive corners and truncates: 8x12 pixels to 4x6 halves (1, 2, 4, 5).
    of = truth(torch.tensor([0]), size=(8, 12))._replace(map_size=(4, 6))
    (found,) = resized_boxes(of)
    assert found.tolist() == [[0, 1, 2, 2]]
    assert not found.is_floating_point()


def test_a_map_of_a_part_of_an_image_is_refused_where_whole_images_are_defined() -> None:
    of = truth(torch.tensor([0, 1]))._replace(windows=[(0, 0, 12, 8), (2, 0, 10, 8)])
    with pytest.raises(ValueError, match=r"defined on whole images; set datamodule\.eval_transform=warp"):
        resized_boxes(of)


def test_a_batch_without_padding_is_left_alone() -> None:
    prediction, of = full(torch.tensor([0, 1]))
    assert without_padding(prediction, of) == (prediction, of)


def test_padding_is_dropped_from_all_that_belongs_to_images_and_pairs() -> None:
    prediction, of = full(torch.tensor([[True, False, True], [False, True, False]]))
    of = of._replace(is_padding=torch.tensor([True, False]), image_ids=["padding", "image"])
    kept, kept_truth = without_padding(prediction, of)
    assert kept.pairs.image_index.tolist() == [0]
    assert kept.pairs.classes.tolist() == [1]
    assert kept.logits is not None
    assert kept.logits.tolist() == [[3, 4, 5]]
    assert kept.cams is not None
    assert kept.cams.shape == (1, 4, 6)
    assert kept.ranked is not None
    assert kept.ranked.classes.tolist() == [[2, 3]]
    assert kept.ranked.image_boxes is not None
    assert kept.ranked.image_boxes.shape == (1, 2, 4)
    assert (kept.score_maps, kept.boxes, kept.ranked.cams) == (None, None, None)
    assert kept_truth.target.tolist() == [[False, True, False]]
    assert kept_truth.masks is not None
    assert [len(kept_truth.gt_boxes), len(kept_truth.image_boxes), len(kept_truth.masks)] == [1, 1, 1]
    assert (kept_truth.image_ids, kept_truth.positions) == (["image"], [30])
    assert kept_truth.image_sizes == [(8, 9)]
    assert kept_truth.is_padding.tolist() == [False]


def test_a_batch_of_padding_alone_is_empty() -> None:
    prediction, of = full(torch.tensor([0, 1]))
    kept, kept_truth = without_padding(prediction, of._replace(is_padding=torch.tensor([True, True])))
    assert len(kept.pairs.classes) == len(kept_truth.positions) == len(kept_truth.gt_boxes) == 0
    assert kept.pairs.image_index.dtype == torch.int64
    assert kept.logits is not None
    assert kept.logits.shape == (0, 3)


def test_boxes_that_a_network_predicts_itself_are_reported_at_any_threshold() -> None:
    of = truth(torch.tensor([0, 1]))._replace(map_size=(4, 6), is_padding=torch.tensor([False, True]))
    named = torch.tensor([[0.0, 1.0, 3.0, 2.0], [0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    prediction, kept = without_padding(Prediction(of.pairs, regressed_boxes=named), of)
    assert prediction.regressed_boxes is not None
    assert prediction.regressed_boxes.tolist() == [[0, 1, 3, 2]]
    for cam_threshold in (None, 0.2):
        found = Evidence(prediction, kept).get("reported_boxes", localized(prediction, kept), (), cam_threshold)
        assert found.tolist() == [[0, 2, 6, 4]]  # an image of twice the map's sides
    assert localized(prediction, kept).boxes is None


@pytest.mark.parametrize("shape", [(3,), (3, 2), (1, 3)])
def test_boxes_of_classes_without_objects_are_none_whatever_stands_between(shape: tuple[int, ...]) -> None:
    classes = torch.arange(torch.Size(shape).numel()).reshape(shape) % 3
    boxes = torch.arange(1.0, 1 + 4 * 5 * classes.numel()).reshape(*shape, 5, 4)
    found = without_boxes(boxes, classes, {0, 2})
    assert torch.equal(found[classes == 1], boxes[classes == 1])
    assert not found[classes != 1].any()
    assert without_boxes(boxes, classes, ()) is boxes
