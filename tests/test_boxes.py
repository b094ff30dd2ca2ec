import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from camloc.boxes import area, centred, inclusive_to_half_open, iou, rescale

coordinate = st.integers(0, 40)
side = st.integers(1, 30)


@st.composite
def half_open(draw: st.DrawFn) -> Tensor:
    x, y = draw(coordinate), draw(coordinate)
    return torch.tensor([x, y, x + draw(side), y + draw(side)])


def devkit_iou(a: Tensor, b: Tensor) -> float:
    """The ILSVRC devkit's overlap of two inclusive boxes, pixel by pixel."""
    pixels_a = {(x, y) for x in range(int(a[0]), int(a[2]) + 1) for y in range(int(a[1]), int(a[3]) + 1)}
    pixels_b = {(x, y) for x in range(int(b[0]), int(b[2]) + 1) for y in range(int(b[1]), int(b[3]) + 1)}
    return len(pixels_a & pixels_b) / len(pixels_a | pixels_b)


@given(half_open(), half_open())
def test_iou_of_half_open_boxes_is_the_devkits_plus_one_iou(a: Tensor, b: Tensor) -> None:
    inclusive_a, inclusive_b = a - torch.tensor([0, 0, 1, 1]), b - torch.tensor([0, 0, 1, 1])
    ours = iou(inclusive_to_half_open(inclusive_a)[None], inclusive_to_half_open(inclusive_b)[None])
    assert ours.item() == devkit_iou(inclusive_a, inclusive_b)


@given(half_open(), half_open(), st.integers(1, 7), st.integers(1, 7))
def test_iou_survives_a_warp(a: Tensor, b: Tensor, stretch_y: int, stretch_x: int) -> None:
    before = iou(a[None], b[None])
    size, warped = (80, 70), (80 * stretch_y, 70 * stretch_x)
    after = iou(rescale(a[None].float(), size, warped), rescale(b[None].float(), size, warped))
    assert torch.allclose(before, after)


def test_iou_at_exactly_a_threshold_compares_as_equal() -> None:
    seven_tenths = iou(torch.tensor([[0.0, 0.0, 7.0, 1.0]]), torch.tensor([[0.0, 0.0, 10.0, 1.0]]))
    assert seven_tenths.item() >= 0.7
    three_tenths = iou(torch.tensor([[0.0, 0.0, 3.0, 1.0]]), torch.tensor([[0.0, 0.0, 10.0, 1.0]]))
    assert three_tenths.item() >= 0.3


def test_iou_of_every_box_with_every_true_box() -> None:
    boxes = torch.tensor([[[0, 0, 4, 4], [2, 2, 4, 4]], [[0, 0, 0, 0], [9, 9, 8, 8]]])
    gt_boxes = torch.tensor([[[0, 0, 4, 2], [0, 0, 2, 2], [5, 5, 6, 6]], [[0, 0, 0, 0], [0, 0, 1, 1], [8, 8, 9, 9]]])
    expected = torch.tensor([[[0.5, 0.25, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    assert torch.equal(iou(boxes, gt_boxes), expected.double())


def test_rescale_keeps_height_and_width_apart() -> None:
    whole = torch.tensor([[0.0, 0.0, 50.0, 200.0]])
    assert rescale(whole, from_size=(200, 50), to_size=(100, 100)).tolist() == [[0, 0, 100, 100]]


def test_centred_boxes_of_a_wide_image() -> None:
    (box,) = centred(torch.tensor([0.5]), (40, 100))
    assert box.tolist() == [25, 10, 75, 30]
    assert area(box).item() == 0.25 * 40 * 100
