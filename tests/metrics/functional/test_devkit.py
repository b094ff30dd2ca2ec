from collections.abc import Sequence

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from camloc.metrics.functional.devkit import NO_PREDICTION, devkit_hits, devkit_pixels


def plain(labels: Sequence[int], boxes: Sequence[Sequence[int]], target: int, true: Sequence[Sequence[int]]) -> bool:
    """eval_clsloc.m in words: inclusive pixels, +1 sides, any instance."""
    for label, (x0, y0, x1, y1) in zip(labels, boxes, strict=True):
        for gx0, gy0, gx1, gy1 in true:
            width, height = min(x1, gx1) - max(x0, gx0) + 1, min(y1, gy1) - max(y0, gy0) + 1
            if label == target and width > 0 and height > 0:
                union = (x1 - x0 + 1) * (y1 - y0 + 1) + (gx1 - gx0 + 1) * (gy1 - gy0 + 1) - width * height
                if width * height / union >= 0.5:
                    return True
    return False


def test_hits_equal_a_plain_restatement_with_inclusive_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(1, 4, (300, 5), generator=generator)
    corners = torch.randint(0, 6, (300, 8, 2), generator=generator)
    inclusive = torch.cat([corners, corners + torch.randint(0, 12, (300, 8, 2), generator=generator)], dim=2)
    target = torch.randint(1, 4, (300,), generator=generator)
    half_open = inclusive + torch.tensor([0, 0, 1, 1])
    found = devkit_hits(labels, half_open[:, :5], target, list(half_open[:, 5:]))
    for column, k in ((0, 1), (1, 5)):
        expected = [
            plain(labels[i, :k].tolist(), inclusive[i, :k].tolist(), int(target[i]), inclusive[i, 5:].tolist())
            for i in range(300)
        ]
        assert found.localization[:, column].tolist() == expected
        assert 0 < sum(expected) < 300
        assert torch.equal(found.classification[:, column], (labels[:, :k] == target[:, None]).any(dim=1))


def test_a_prediction_that_was_not_made_is_no_hit() -> None:
    box = torch.tensor([[[0, 0, 4, 4]]])
    found = devkit_hits(torch.tensor([[NO_PREDICTION]]), box, torch.tensor([1]), [box[0]])
    assert not found.localization.any()
    assert not found.classification.any()


@pytest.mark.parametrize(
    ("box", "whole"),
    [
        ([1.5, 2.49, 7.5, 8.49], [2, 2, 8, 8]),
        ([3.2, 3.2, 3.4, 3.4], [3, 3, 4, 4]),
        ([2.5, 3.5, 6.5, 8.5], [3, 4, 7, 9]),  # half up, never to even
        ([2.6, 2.6, 2.9, 9.0], [2, 3, 3, 9]),  # both edges round to 3, yet the box lies in pixel 2
        ([9.6, 0.0, 10.0, 5.0], [9, 0, 10, 5]),  # in the last column of an image of 10
        ([0.0, 0.0, 0.0, 5.0], [0, 0, 0, 0]),
        ([-0.6, 0.0, 5.0, 5.0], [-1, 0, 5, 5]),
    ],
)
def test_boxes_become_whole_pixels(box: list[float], whole: list[int]) -> None:
    assert devkit_pixels(torch.tensor(box)).tolist() == whole


@given(
    corner=st.tuples(*[st.floats(0, 99)] * 2),
    opposite=st.tuples(*[st.floats(0, 99)] * 2),
    size=st.tuples(*[st.integers(1, 99)] * 2),
)
def test_whole_boxes_have_pixels_inside_the_image_and_touch_the_exact_ones(
    corner: tuple[float, float], opposite: tuple[float, float], size: tuple[int, int]
) -> None:
    limit = torch.tensor(size, dtype=torch.float64)
    ends = torch.tensor([corner, opposite], dtype=torch.float64).minimum(limit)
    exact = torch.cat([ends.amin(dim=0), ends.amax(dim=0)])
    assume(bool((exact[2:] - exact[:2] > 1e-9).all()))
    whole = devkit_pixels(exact)
    assert torch.equal(whole, whole.round())
    assert (whole[:2] >= 0).all()
    assert (whole[2:] <= limit).all()
    assert (whole[2:] - whole[:2] >= 1).all()
    assert (torch.minimum(whole[2:], exact[2:]) > torch.maximum(whole[:2], exact[:2])).all()
    assert ((whole - exact).abs() <= 1).all()


def test_an_image_without_true_box_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"gt_boxes\[0\] has no true box"):
        devkit_hits(torch.tensor([[1]]), torch.zeros(1, 1, 4), torch.tensor([1]), [torch.zeros(0, 4)])
