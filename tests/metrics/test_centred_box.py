import pytest
import torch

from camloc.metrics.centred_box import CentredBoxError


def test_best_scale_by_hand() -> None:
    metric = CentredBoxError(num_scales=4)
    half = torch.tensor([[25.0, 10.0, 75.0, 30.0]])  # exactly the centred box of scale 0.5 in 40x100
    corner = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    outcome = metric.update([half, corner, half, corner], (40, 100), torch.tensor([False, False, False, True]))
    assert not outcome.values
    result = metric.compute()
    assert result.keys() == {"centred_box_gt_known_error", "centred_box_scale", "centred_box_num_images"}
    assert result["centred_box_gt_known_error"].item() == 1 - 2 / 3
    assert result["centred_box_scale"].item() == 0.5
    assert result["centred_box_num_images"].item() == 3


def test_one_of_several_true_boxes_is_enough() -> None:
    metric = CentredBoxError()
    metric.update([torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 10.0, 10.0]])], (10, 10))
    assert metric.compute()["centred_box_gt_known_error"].item() == 0


def test_the_iou_threshold_decides() -> None:
    boxes = [torch.tensor([[0.0, 0.0, 6.0, 10.0]])]  # at best 6/10 of the whole image
    for iou_threshold, error in ((0.6, 0), (0.65, 1)):
        metric = CentredBoxError(iou_threshold=iou_threshold)
        metric.update(boxes, (10, 10))
        assert metric.compute()["centred_box_gt_known_error"].item() == error


def test_nothing_counted_is_nan() -> None:
    metric = CentredBoxError()
    metric.update([torch.zeros(0, 4)], (10, 10), torch.tensor([True]))
    assert metric.compute()["centred_box_gt_known_error"].isnan()


def test_options_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match="num_scales must be at least 1, got 0"):
        CentredBoxError(num_scales=0)
    with pytest.raises(ValueError, match=r"iou_threshold is a fraction in \(0, 1\], got 50"):
        CentredBoxError(iou_threshold=50)


def test_its_row_is_an_oracles() -> None:
    (row,) = CentredBoxError().rows
    assert (row.key, row.direction, row.threshold) == ("centred_box_gt_known_error", "min", "oracle")
