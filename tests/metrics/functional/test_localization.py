import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from camloc.boxes import iou
from camloc.metrics.functional.localization import best_iou


def test_the_best_of_several_true_boxes_and_no_box() -> None:
    boxes = torch.tensor([[[0, 0, 10, 10], [0, 0, 0, 0]], [[5, 5, 9, 9], [0, 0, 3, 1]]])
    several = torch.tensor([[50.0, 50.0, 60.0, 60.0], [0.0, 0.0, 10.0, 7.0]])
    single = torch.tensor([[0.0, 0.0, 10.0, 1.0]])
    assert best_iou(boxes, [several, single]).tolist() == [[0.7, 0.0], [0.0, 0.3]]


def test_an_iou_of_exactly_the_threshold_reaches_it() -> None:
    boxes = torch.tensor([[[0.0, 0.0, width, 1.0] for width in range(1, 10)]])
    reached = best_iou(boxes, [torch.tensor([[0.0, 0.0, 10.0, 1.0]])]) >= torch.tensor(
        [width / 10 for width in range(1, 10)], dtype=torch.float64
    )
    assert reached.all()


def test_counting_wakes_no_other_threads_and_gives_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def recording(boxes: torch.Tensor, gt_boxes: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return iou(boxes, gt_boxes)

    monkeypatch.setattr("camloc.metrics.functional.localization.iou", recording)
    boxes, before = torch.zeros(1, 1, 4), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        best_iou(boxes, [torch.ones(1, 4)])
        with pytest.raises(ValueError, match="gt_boxes"):
            best_iou(boxes, [torch.full((1, 4), torch.nan)])
        assert (seen, torch.get_num_threads()) == ([1], 3)
    finally:
        torch.set_num_threads(before)


box = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 9)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(box, st.lists(box, min_size=1, max_size=4))
def test_equals_counting_pixels(predicted: tuple[int, ...], true_boxes: list[tuple[int, ...]]) -> None:
    def pixels(corners: tuple[int, ...]) -> set[tuple[int, int]]:
        x0, y0, x1, y1 = corners
        return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}

    found = best_iou(torch.tensor([[predicted]]), [torch.tensor(true_boxes)]).item()
    mine = pixels(predicted)
    assert found == max(len(mine & pixels(true)) / len(mine | pixels(true)) for true in true_boxes)


def test_an_image_without_true_boxes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gt_boxes\[1\] has no true box"):
        best_iou(torch.zeros(2, 1, 4), [torch.ones(1, 4), torch.zeros(0, 4)])


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="gt_boxes has 1 entries; give 2"):
        best_iou(torch.zeros(2, 1, 4), [torch.ones(1, 4)])


def test_an_empty_batch_has_no_iou() -> None:
    assert best_iou(torch.zeros(0, 5, 4), []).shape == (0, 5)


def test_true_boxes_of_several_types_keep_their_fractions() -> None:
    # Padded to one tensor of the first one's type, the second would end at 4.
    boxes = torch.tensor([[[0.0, 0.0, 4.0, 4.0]], [[0.0, 0.0, 4.5, 1.0]]])
    whole, fraction = torch.tensor([[0, 0, 4, 4]]), torch.tensor([[0.0, 0.0, 4.5, 1.0]])
    assert best_iou(boxes, [whole, fraction]).tolist() == [[1.0], [1.0]]
