"""Protocols of images with several labels, against hand-computed values and scikit-learn's definitions."""

import math

import pytest
import torch
from torch import Tensor

from camloc.metrics.corloc import CorLoc
from camloc.metrics.iou_accuracy import IouAccuracy
from camloc.metrics.multi_label import MultiLabelRanking
from camloc.metrics.per_class import safe_keys
from camloc.metrics.pointing_game import PointingGame, peaks
from camloc.records import SplitOutcome

NAMES = ["cat", "dog", "hen"]
BOX = torch.tensor([[10.0, 10.0, 20.0, 20.0]])


def ranked(logits: Tensor, labels: Tensor, sizes: list[int]) -> dict[str, Tensor]:
    metric = MultiLabelRanking()
    for given in zip(torch.split(logits, sizes), torch.split(labels, sizes), strict=True):
        metric.update(*given)
    return metric.compute()


def average_precision(logits: list[float], labels: list[bool]) -> float:
    """The mean, over the images that show the class, of the precision among all that rank as high."""
    precisions = []
    for logit, label in zip(logits, labels, strict=True):
        if label:
            above = [other for other, one in zip(labels, logits, strict=True) if one >= logit]
            precisions.append(sum(above) / len(above))
    return sum(precisions) / len(precisions)


def auroc(logits: list[float], labels: list[bool]) -> float:
    pairs = [
        1.0 if positive > negative else 0.5 if positive == negative else 0.0
        for positive, is_positive in zip(logits, labels, strict=True)
        if is_positive
        for negative, other in zip(logits, labels, strict=True)
        if not other
    ]
    return sum(pairs) / len(pairs)


def test_ranking_is_that_of_its_definition_whatever_the_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    # Few values, for ties; large ones, which as probabilities would all be 1.
    logits = torch.randint(0, 9, (40, 3), generator=generator).float() * 10
    labels = torch.rand(40, 3, generator=generator) < torch.tensor([0.5, 0.2, 0.7])
    found = ranked(logits, labels, [40])
    for key, defined in (("average_precision", average_precision), ("auroc", auroc)):
        by_class = [defined(logits[:, c].tolist(), labels[:, c].tolist()) for c in range(3)]
        assert found[f"{key}_by_class"].tolist() == pytest.approx(by_class, abs=1e-6)
        assert found[key].item() == pytest.approx(sum(by_class) / 3, abs=1e-6)
    for sizes in ([1] * 40, [7, 33], [0, 40]):
        again = ranked(logits, labels, sizes)
        assert all(torch.equal(again[key], value) for key, value in found.items())


def test_classes_that_all_images_show_or_none_are_left_out_and_counted() -> None:
    labels = torch.tensor([[True, True, False], [False, True, False]])
    found = ranked(torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]), labels, [2])
    assert found["average_precision"].item() == 0.5
    assert found["auroc"].item() == 0
    assert found["num_classes_left_out"].item() == 2
    assert found["auroc_by_class"].isnan().tolist() == [False, True, True]


def test_repeats_do_not_count_and_a_network_that_diverged_has_no_number() -> None:
    metric = MultiLabelRanking()
    logits, labels = torch.tensor([[2.0], [1.0], [5.0]]), torch.tensor([[True], [False], [False]])
    metric.update(logits, labels, torch.tensor([False, False, True]))
    assert metric.compute()["auroc"].item() == 1
    assert metric.compute()["ranked_num_images"].item() == 2
    assert math.isnan(ranked(torch.tensor([[torch.nan, 1.0], [0.0, 2.0]]), torch.eye(2).bool(), [2])["auroc"].item())


def test_corloc_averages_over_classes_and_not_over_images() -> None:
    metric = CorLoc(NAMES)
    hit, miss = BOX[0], torch.tensor([10.0, 10.0, 20.0, 14.9])
    outcome = metric.update(torch.tensor([0, 0, 0, 2]), torch.stack([hit, miss, miss, hit]), [BOX] * 4)
    assert outcome.values["hits"].tolist() == [[True], [False], [False], [True]]
    found = metric.compute()
    assert found["corloc"].item() == pytest.approx((1 / 3 + 1) / 2)
    assert found["corloc_by_class"].isnan().tolist() == [False, True, False]
    assert found["corloc_num_images"].item() == 4


def test_any_instance_is_enough_and_half_is_a_hit() -> None:
    metric = CorLoc(NAMES)
    half = torch.tensor([[10.0, 10.0, 20.0, 15.0]])
    two = torch.cat([torch.tensor([[0.0, 0.0, 2.0, 2.0]]), BOX])
    assert metric.update(torch.tensor([1]), half, [two]).values["hits"].tolist() == [[True]]


def test_accuracy_at_each_iou() -> None:
    metric = IouAccuracy(NAMES)
    boxes = torch.tensor([[10.0, 10.0, 20.0, 13.0], [10.0, 10.0, 20.0, 17.0]])  # IoU 0.3 and 0.7
    metric.update(torch.tensor([0, 0]), boxes, [BOX, BOX])
    found = metric.compute()
    shares = [found[f"iou_accuracy_{percent}"].item() for percent in range(10, 80, 10)]
    assert shares == [1, 1, 1, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("column", "near", "inside"),
    [(4, True, True), (9, True, True), (10, True, False), (24, True, False), (25, False, False)],
)
def test_a_point_hits_in_the_box_or_within_15_pixels_of_it(column: int, near: bool, inside: bool) -> None:
    """The box covers columns 0 to 9 of an image that the map shows pixel by pixel."""
    metric = PointingGame(["cat"])
    score_maps = torch.zeros(1, 40, 40)
    score_maps[0, 5, column] = 1
    box = [torch.tensor([[0.0, 0.0, 10.0, 10.0]])]
    hits = metric.update(torch.tensor([0]), score_maps, box, [(0, 0, 40, 40)]).values["hits"]
    assert hits.tolist() == [[near, inside]]


def test_distances_are_euclidean_and_in_pixels_of_the_image() -> None:
    metric = PointingGame(["cat"])
    score_maps = torch.zeros(1, 40, 40)
    score_maps[0, 20, 20] = 1  # 11 pixels down and 11 across: 15.6
    box = [torch.tensor([[0.0, 0.0, 10.0, 10.0]])]
    assert not metric.update(torch.tensor([0]), score_maps, box, [(0, 0, 40, 40)]).values["hits"].any()
    larger = [torch.tensor([[0.0, 0.0, 41.0, 41.0]])]  # in an image of twice the size the point is (41, 41)
    outcome = metric.update(torch.tensor([0]), score_maps, larger, [(0, 0, 80, 80)])
    assert outcome.values["point"].tolist() == [[41, 41]]
    assert outcome.values["hits"].tolist() == [[True, False]]
    assert peaks(score_maps, [(100, 50, 140, 90)]).tolist() == [[120, 70]]


def test_a_flat_map_points_nowhere_and_of_equal_maxima_the_first_counts() -> None:
    metric = PointingGame(["cat"], tolerance=0)
    box, window = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), (0, 0, 3, 3)
    two = torch.zeros(3, 3)
    two[0, 0] = two[2, 2] = 1
    broken = two.clone()
    broken[1, 1] = torch.nan
    maps = torch.stack([torch.ones(3, 3), two, broken])
    hits = metric.update(torch.tensor([0, 0, 0]), maps, [box] * 3, [window] * 3).values["hits"]
    assert hits[:, 0].tolist() == [False, True, False]
    assert metric.compute()["pointing_game"].item() == pytest.approx(1 / 3)


def test_classes_must_be_known_before_anything_is_counted() -> None:
    metric = CorLoc()
    with pytest.raises(ValueError, match="CorLoc needs the names of the classes"):
        metric.update(torch.tensor([0]), BOX, [BOX])
    metric.use_classes(["cat"])
    with pytest.raises(ValueError, match=r"target must lie in \[0, 1\), got 1 to 1"):
        metric.update(torch.tensor([1]), BOX, [BOX])


def test_means_over_classes_have_intervals_over_images() -> None:
    """One image shows cat and dog, hit and missed; three more show one cat each, of which one is missed."""
    metric = CorLoc(NAMES)
    ids, classes = ["a", "a", "b", "c", "d"], torch.tensor([0, 1, 0, 0, 0])
    hits = torch.tensor([[True], [False], [True], [True], [False]])
    (low, high) = metric.intervals(SplitOutcome(ids, classes, {"hits": hits}), None)["corloc"]
    # Without "a" there are only cats; with "a" alone CorLoc is 1/2, and with a missed cat less.
    assert low == pytest.approx(0.25)
    assert high == 1
    assert metric.intervals(SplitOutcome([], classes[:0], {"hits": hits[:0]}), None) == {}
    seven = IouAccuracy(NAMES).intervals(SplitOutcome(ids, classes, {"hits": hits.expand(-1, 7)}), None)
    assert list(seven) == [f"iou_accuracy_{percent}" for percent in range(10, 80, 10)]
    assert set(seven.values()) == {(low, high)}
    pointing = PointingGame(NAMES).intervals(SplitOutcome(ids, classes, {"hits": torch.cat([hits, ~hits], 1)}), None)
    assert pointing["pointing_game"] == (low, high) != pointing["pointing_in_box"]


@pytest.mark.parametrize("tolerance", [-1, True, float("nan"), "15"])
def test_a_tolerance_is_a_number_from_0_on(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance must be at least 0"):
        PointingGame(NAMES, tolerance)


def test_names_in_keys_differ() -> None:
    assert safe_keys(["a b", "a_b", "a/b", "..", "Ä"]) == ["a_b", "a_b_1", "a_b_2", "..", "Ä"]
