import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from camloc.boxes import area, iou
from camloc.metrics.functional.breakdown import (
    CAUSES,
    OBJECT_SIZES,
    Cause,
    by_class,
    by_object_size,
    miss_causes,
    object_share,
)

Box = tuple[float, float, float, float]
OBJECT: Box = (20, 20, 60, 60)  # 40 x 40
LEFT, RIGHT, APART = (0, 0, 10, 10), (10, 0, 20, 10), (80, 80, 90, 90)


def cause(box: Box, *true_boxes: Box, is_right_class: bool = True, iou_threshold: float = 0.5) -> Cause:
    (value,) = miss_causes(
        torch.tensor([box]), [torch.tensor(true_boxes).float()], torch.tensor([is_right_class]), iou_threshold
    )
    return Cause(int(value))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (OBJECT, Cause.HIT),
        ((20, 20, 60, 40), Cause.HIT),  # IoU 1/2 exactly
        ((20, 20, 60, 39), Cause.PART),
        ((30, 30, 31, 31), Cause.PART),
        ((13, 20, 23, 60), Cause.ELSEWHERE),  # 30% inside
        ((17, 20, 27, 60), Cause.PART),  # 70% inside
        ((16.9, 20, 26.9, 60), Cause.ELSEWHERE),
        ((0, 0, 60, 60), Cause.CONTEXT),
        ((0, 0, 224, 224), Cause.CONTEXT),
        ((32, 0, 132, 100), Cause.CONTEXT),  # 28 of its 40 columns: 70%
        ((32.1, 0, 132, 100), Cause.ELSEWHERE),
        ((45, 45, 85, 85), Cause.ELSEWHERE),
        ((60, 20, 100, 60), Cause.ELSEWHERE),  # side by side
        ((100, 100, 110, 110), Cause.ELSEWHERE),
        ((0, 0, 0, 0), Cause.NO_BOX),
        ((30, 30, 30, 50), Cause.NO_BOX),
        ((60, 60, 20, 20), Cause.NO_BOX),
    ],
)
def test_one_object(box: Box, expected: Cause) -> None:
    assert cause(box, OBJECT) is expected


def test_the_class_matters_only_for_a_box_that_fits() -> None:
    assert cause(OBJECT, OBJECT, is_right_class=False) is Cause.WRONG_CLASS
    assert cause((30, 30, 31, 31), OBJECT, is_right_class=False) is Cause.PART
    assert cause((0, 0, 0, 0), OBJECT, is_right_class=False) is Cause.NO_BOX


@pytest.mark.parametrize(
    ("box", "true_boxes", "expected"),
    [
        ((0, 0, 20, 10), (LEFT, RIGHT), Cause.HIT),  # IoU 1/2 with either
        ((0, 0, 21, 10), (LEFT, RIGHT), Cause.MERGED),
        ((0, 0, 224, 224), (LEFT, RIGHT), Cause.MERGED),  # covers both, however large
        ((0, 0, 224, 224), (LEFT, APART, RIGHT), Cause.MERGED),
        ((0, 0, 90, 40), (LEFT, APART), Cause.CONTEXT),  # one of two
        ((-20, 0, 15, 10), (LEFT, RIGHT), Cause.MERGED),  # half of the second
        ((-20, 0, 14.9, 10), (LEFT, RIGHT), Cause.CONTEXT),
        # Little of each, but most of the box around both: 120 of 200 columns.
        ((40, 0, 160, 10), ((0, 0, 79, 10), (121, 0, 200, 10)), Cause.MERGED),
        ((51, 0, 149, 10), ((0, 0, 79, 10), (121, 0, 200, 10)), Cause.ELSEWHERE),
        # An object that is not overlapped does not widen the box around.
        ((2, 2, 4, 4), (LEFT, APART), Cause.PART),
        ((11, 1, 13, 3), (LEFT, RIGHT), Cause.PART),
    ],
)
def test_several_objects(box: Box, true_boxes: tuple[Box, ...], expected: Cause) -> None:
    assert cause(box, *true_boxes) is expected


def test_the_iou_threshold_moves_the_hit() -> None:
    assert cause((20, 20, 60, 32), OBJECT, iou_threshold=0.3) is Cause.HIT
    assert cause((20, 20, 60, 48), OBJECT, iou_threshold=0.7) is Cause.HIT
    assert cause((20, 20, 60, 47), OBJECT, iou_threshold=0.7) is Cause.PART
    # Nearly equal boxes differ by their size alone.
    assert cause((20, 20, 60, 59), OBJECT, iou_threshold=0.99) is Cause.PART
    assert cause((20, 20, 60, 61), OBJECT, iou_threshold=0.99) is Cause.CONTEXT
    assert cause((21, 20, 61, 60), OBJECT, iou_threshold=0.99) is Cause.CONTEXT


coordinates = st.integers(0, 12)
any_box = st.tuples(coordinates, coordinates, coordinates, coordinates)
some_box = any_box.map(lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]) + 1, max(b[1], b[3]) + 1))
image = st.tuples(any_box, st.lists(some_box, min_size=1, max_size=4), st.booleans())


def shared(a: Tensor, b: Tensor) -> float:
    return float(area(torch.cat([torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])])))


def plain_cause(box: Tensor, true_boxes: Tensor, is_right: bool, threshold: float) -> Cause:  # noqa: PLR0911 - a rule each
    """Apply the rules of the docstring one by one."""
    overlaps = [float(iou(box[None], true[None])) for true in true_boxes]
    best = true_boxes[overlaps.index(max(overlaps))]
    if max(overlaps) >= threshold:
        return Cause.HIT if is_right else Cause.WRONG_CLASS
    if area(box) == 0:
        return Cause.NO_BOX
    if sum(shared(box, true) >= 0.5 * float(area(true)) for true in true_boxes) >= 2:
        return Cause.MERGED
    touched = [true for true in true_boxes if shared(box, true) > 0]
    if len(touched) >= 2:
        around = torch.cat([torch.stack(touched)[:, :2].amin(dim=0), torch.stack(touched)[:, 2:].amax(dim=0)])
        if float(iou(box[None], around[None])) >= threshold:
            return Cause.MERGED
    if area(box) < area(best) and shared(box, best) >= 0.7 * float(area(box)):
        return Cause.PART
    if area(box) >= area(best) and shared(box, best) >= 0.7 * float(area(best)):
        return Cause.CONTEXT
    return Cause.ELSEWHERE


@given(st.lists(image, min_size=1, max_size=5), st.sampled_from([0.3, 0.5, 0.9]))
def test_any_batch_follows_the_rules(images: list[tuple[Box, list[Box], bool]], threshold: float) -> None:
    boxes = torch.tensor([box for box, _, _ in images]).float()
    gt_boxes = [torch.tensor(true_boxes).float() for _, true_boxes, _ in images]
    is_right = torch.tensor([right for _, _, right in images])
    causes = miss_causes(boxes, gt_boxes, is_right, threshold)
    expected = [plain_cause(*one, threshold) for one in zip(boxes, gt_boxes, is_right.tolist(), strict=True)]
    assert causes.tolist() == expected


def test_every_cause_has_a_name() -> None:
    assert len(CAUSES) == len(Cause)
    assert CAUSES[Cause.NO_BOX] == "no box"
    assert CAUSES[Cause.PART] == "too small (part)"
    assert CAUSES[Cause.CONTEXT] == "too large (context)"
    assert CAUSES[Cause.MERGED] == "merged instances"
    assert CAUSES[Cause.ELSEWHERE] == "elsewhere"


def test_no_image_has_no_cause() -> None:
    causes = miss_causes(torch.zeros(0, 4), [], torch.zeros(0, dtype=torch.bool), 0.5)
    assert causes.shape == (0,)
    assert by_class(causes, causes, 2).tolist() == [[0] * 7] * 2


def test_different_numbers_of_images_and_missing_boxes_are_refused() -> None:
    true_boxes = [torch.ones(1, 4)] * 2
    with pytest.raises(ValueError, match=r"is_right_class is torch.bool of shape \(2,\); give bool of shape \(3,\)"):
        miss_causes(torch.zeros(3, 4), true_boxes, torch.ones(2, dtype=torch.bool), 0.5)
    with pytest.raises(ValueError, match=r"gt_boxes\[2\] has no true box"):
        miss_causes(torch.zeros(3, 4), [*true_boxes, torch.zeros(0, 4)], torch.ones(3, dtype=torch.bool), 0.5)


def test_every_class_has_a_row_even_without_images() -> None:
    causes = torch.tensor([Cause.HIT, Cause.MERGED, Cause.MERGED, Cause.ELSEWHERE])
    assert by_class(causes, torch.tensor([2, 0, 0, 2]), num_classes=4).tolist() == [
        [0, 0, 0, 0, 0, 2, 0],
        [0] * 7,
        [1, 0, 0, 0, 0, 0, 1],
        [0] * 7,
    ]


@pytest.mark.parametrize(("target", "found"), [(2, "got 2 to 2"), (-1, "got -1 to -1")])
def test_a_target_outside_the_classes_is_refused(target: int, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        by_class(torch.tensor([0]), torch.tensor([target]), num_classes=2)


def test_shares_at_a_border_belong_to_the_upper_bin() -> None:
    shares = torch.tensor([0.0, 0.0999, 0.1, 0.2499, 0.25, 0.4999, 0.5, 1.0], dtype=torch.float64)
    table = by_object_size(torch.zeros(8, dtype=torch.int64), shares)
    assert len(OBJECT_SIZES) == len(table)
    assert table[:, Cause.HIT].tolist() == [2, 2, 2, 2]


def test_the_share_is_that_of_the_largest_object() -> None:
    shares = object_share([torch.tensor([LEFT, OBJECT]), torch.tensor([RIGHT])], [(64, 100), (10, 20)])
    assert shares.tolist() == [0.25, 0.5]
