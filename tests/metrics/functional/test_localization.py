import pytest
import torch

from camloc.metrics.functional.localization import localization_hits

IOU = torch.tensor([0.3, 0.5, 0.7], dtype=torch.float64)


def test_any_true_box_counts_and_padding_boxes_do_not() -> None:
    boxes = torch.tensor([[[0, 0, 10, 10], [0, 0, 0, 0]], [[5, 5, 9, 9], [0, 0, 3, 1]]])
    several = torch.tensor([[50.0, 50.0, 60.0, 60.0], [0.0, 0.0, 10.0, 7.0]])
    single = torch.tensor([[0.0, 0.0, 10.0, 1.0]])
    hits = localization_hits(boxes, [several, single], IOU)
    assert hits.tolist() == [
        [[True, False], [True, False], [True, False]],  # IoU 0.7 exactly, and no box
        [[False, True], [False, False], [False, False]],  # IoU 0, and 0.3 exactly
    ]


def test_an_image_without_true_boxes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images \[1\]"):
        localization_hits(torch.zeros(2, 1, 4), [torch.ones(1, 4), torch.zeros(0, 4)], IOU)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="2 images, true boxes for 1"):
        localization_hits(torch.zeros(2, 1, 4), [torch.ones(1, 4)], IOU)


def test_an_empty_batch_has_no_hits() -> None:
    assert localization_hits(torch.zeros(0, 5, 4), [], IOU).shape == (0, 3, 5)
