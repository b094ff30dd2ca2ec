"""Checks of what metrics and their formulas are given; each raises a ValueError that names the argument."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["bool", "integers", "real numbers", "bool or real numbers"]
MAX_THRESHOLDS = 100_000
"""On a grid of CAM thresholds; a hundred times as many as the field uses."""
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_REAL_NUMBERS = (*_INTEGERS, torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Torch has types beside these, but cannot compare their values."""


def check_tensor(name: str, given: object, kind: Kind, *sides: int | str) -> None:
    """Refuse a tensor of another type or shape; nothing of it is read, so it costs no synchronization.

    Args:
        name: Of the argument.
        given: What was given for it.
        kind: What it must hold.
        sides: Its shape; a letter stands for any length, and "..." in front for any number of axes.

    Raises:
        ValueError: If it does not fit.

    Example:
        >>> check_tensor("logits", torch.zeros(2, 3), "real numbers", 2, "C")
    """
    if not isinstance(given, Tensor):
        raise ValueError(f"{name} is a {type(given).__name__}; give a tensor of {kind} of shape {_text(sides)}")  # noqa: TRY004 - every wrong argument is a ValueError
    wanted, found = sides, tuple(given.shape)
    if sides[0] == "...":
        wanted, found = sides[1:], found[-len(sides[1:]) :]
    fits = len(wanted) == len(found) and all(
        isinstance(side, str) or side == size for side, size in zip(wanted, found, strict=True)
    )
    if not fits or not _holds(given.dtype, kind):
        raise ValueError(f"{name} is {given.dtype} of shape {tuple(given.shape)}; give {kind} of shape {_text(sides)}")
    if given.layout != torch.strided:
        raise ValueError(f"{name} is {given.layout}; give a dense tensor, as its to_dense() returns")


def checked_keep(is_padding: object, count: int) -> Tensor | None:
    """Return which of ``count`` pairs are counted, (P,) bool on the CPU; None for all.

    A mask of any other type would index instead of mask.

    Raises:
        ValueError: If ``is_padding`` is neither null nor (P,) bool.

    Example:
        >>> checked_keep(torch.tensor([False, True]), 2)
        tensor([ True, False])
    """
    if is_padding is None:
        return None
    check_tensor("is_padding", is_padding, "bool", count)
    assert isinstance(is_padding, Tensor)  # noqa: S101 - checked in the line above
    return ~is_padding.cpu()


def kept_of(values: Sequence[Tensor], keep: Tensor | None) -> Sequence[Tensor]:
    """Return the values of the pairs that are counted.

    Example:
        >>> kept_of([torch.zeros(1), torch.ones(1)], torch.tensor([False, True]))
        [tensor([1.])]
    """
    if keep is None:
        return values
    return [value for value, is_kept in zip(values, keep.tolist(), strict=True) if is_kept]


def counted_boxes(
    target: Tensor, reported_boxes: Tensor, image_boxes: Sequence[Tensor], is_padding: Tensor | None
) -> tuple[Tensor, Tensor, Sequence[Tensor], Tensor | None]:
    """Check what is said of P pairs with one box each, and return it of those that are counted.

    Args:
        target: (P,) true classes, 0-based.
        reported_boxes: (P,4) half-open pixels of the image.
        image_boxes: P tensors (M_i,4), true boxes in the same pixels.
        is_padding: (P,) bool; null when all count.

    Returns:
        ``target``, ``reported_boxes`` and ``image_boxes`` of the counted pairs, and which these are, see
        :func:`checked_keep`.

    Raises:
        ValueError: If one does not fit; true boxes themselves are checked where they are measured.
    """
    check_tensor("target", target, "integers", "P")
    check_tensor("reported_boxes", reported_boxes, "real numbers", len(target), 4)
    check_list("image_boxes", image_boxes, len(target))
    keep = checked_keep(is_padding, len(target))
    if keep is None:
        return target, reported_boxes, image_boxes, None
    return target[keep], reported_boxes[keep], kept_of(image_boxes, keep), keep


def check_list(name: str, given: object, count: int | None = None) -> None:
    """Refuse anything but a list of one thing for each pair.

    One tensor of all pairs' boxes would be read as boxes of each pair.

    Raises:
        ValueError: If it is none, or not of ``count``.

    Example:
        >>> check_list("gt_boxes", [torch.zeros(1, 4)], 1)
    """
    if not isinstance(given, Sequence) or isinstance(given, str):
        shape = f" of shape {tuple(given.shape)}" if isinstance(given, Tensor) else ""
        raise ValueError(f"{name} is a {type(given).__name__}{shape}; give a list with one entry for each pair")  # noqa: TRY004 - every wrong argument is a ValueError
    if count is not None and len(given) != count:
        raise ValueError(f"{name} has {len(given)} entries; give {count}, one for each pair")


def checked_boxes(name: str, given: Sequence[Tensor], count: int, *, inclusive: bool = False) -> list[Tensor]:
    """Return the true boxes of each pair as (M_i,4) float64 on the CPU, which is exact.

    Args:
        name: Of the argument.
        given: What was given for it: a list of ``count`` tensors (M_i,4), M_i at least 1.
        count: P.
        inclusive: Whether they are whole pixels of a map with the last one inside, not half-open.

    Raises:
        ValueError: If it is not such a list, a pair has no box, or a box is inverted or not finite; for inclusive
            ones also if it is negative or not of an integer type.

    Example:
        >>> checked_boxes("gt_boxes", [torch.tensor([[0, 0, 4, 4]])], 1)
        [tensor([[0., 0., 4., 4.]], dtype=torch.float64)]
    """
    check_list(name, given, count)
    for index, boxes in enumerate(given):
        check_tensor(f"{name}[{index}]", boxes, "integers" if inclusive else "real numbers", "M", 4)
        if not len(boxes):
            raise ValueError(f"{name}[{index}] has no true box; localization cannot be measured on that pair")
    if not given:
        return []
    joined = torch.cat([boxes.detach().cpu() for boxes in given]).to(torch.float64)
    refused = ~joined.isfinite().all(dim=1) | (joined[:, 2:] < joined[:, :2]).any(dim=1)
    if inclusive:
        refused |= (joined < 0).any(dim=1)
    sizes = [len(boxes) for boxes in given]
    each = list(torch.split(joined, sizes))
    if refused.any():
        index = next(i for i, one in enumerate(torch.split(refused, sizes)) if one.any())
        raise ValueError(
            f"{name}[{index}] is {each[index].tolist()}; give finite boxes with {'0 <= ' if inclusive else ''}x0 <= x1 "
            f"and {'0 <= ' if inclusive else ''}y0 <= y1"
        )
    return each


def check_predicted_boxes(name: str, boxes: Tensor) -> None:
    """Refuse (...,4) predicted boxes, on the CPU, that are not finite; an inverted one is no box.

    Raises:
        ValueError: If one is.

    Example:
        >>> check_predicted_boxes("boxes", torch.zeros(1, 4))
    """
    if boxes.is_floating_point() and not boxes.isfinite().all():
        raise ValueError(f"{name} holds numbers that are not finite; give (0, 0, 0, 0) where there is no box")


def check_places(name: str, given: Sequence[int], count: int) -> None:
    """Refuse anything but a list of whole numbers from 0 on; tensors would never be found in a set of numbers.

    Raises:
        ValueError: If it is not ``count`` of them.

    Example:
        >>> check_places("positions", [0, 7], 2)
    """
    check_list(name, given, count)
    for place in given:
        check_count(f"each of {name}", place, at_least=0)


def check_count(name: str, given: object, *, at_least: int = 1, at_most: int | None = None) -> None:
    """Refuse anything but a whole number.

    Raises:
        ValueError: If it is none, below ``at_least`` or above ``at_most``.

    Example:
        >>> check_count("num_scales", 100)
    """
    if not isinstance(given, Integral) or isinstance(given, bool):
        raise ValueError(f"{name} must be a whole number, got {given!r}")  # noqa: TRY004 - every wrong argument is a ValueError
    if given < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {given}")
    if at_most is not None and int(given) > at_most:
        raise ValueError(f"{name} must be at most {at_most}, got {given}")


def check_size(name: str, given: object) -> None:
    """Refuse anything but ``(height, width)`` in whole pixels.

    Raises:
        ValueError: If it is anything else.

    Example:
        >>> check_size("map_size", (224, 224))
    """
    if not isinstance(given, Sequence) or len(given) != len(("height", "width")):
        raise ValueError(f"{name} must be (height, width), got {given!r}")
    for side in given:
        check_count(f"each side of {name}", side)


def check_flag(name: str, given: object) -> None:
    """Refuse anything but a bool.

    Raises:
        ValueError: If it is none.

    Example:
        >>> check_flag("v1", True)
    """
    if not isinstance(given, bool):
        raise ValueError(f"{name} must be true or false, got {given!r}")  # noqa: TRY004 - every wrong argument is a ValueError


def check_cam_threshold(name: str, cam_threshold: object) -> None:
    """Refuse a CAM threshold that cuts nothing or everything.

    Raises:
        ValueError: If it is no number in [0, 1); the message starts with ``name``.

    Example:
        >>> check_cam_threshold("cam_threshold", 0.2)
    """
    if not is_number(cam_threshold) or not 0 <= cam_threshold < 1:  # type: ignore[operator] # a number
        raise ValueError(f"{name} is a fraction of the score map's maximum in [0, 1), got {cam_threshold}")


def check_iou_threshold(name: str, iou_threshold: object) -> None:
    """Refuse an IoU threshold that is given in percent, or that every box reaches.

    Raises:
        ValueError: If it is no number in (0, 1]; the message starts with ``name``.

    Example:
        >>> check_iou_threshold("iou_threshold", 0.5)
    """
    if not is_number(iou_threshold) or not 0 < iou_threshold <= 1:  # type: ignore[operator] # a number
        raise ValueError(f"{name} is a fraction in (0, 1], got {iou_threshold}")


def is_number(given: object) -> bool:
    """Tell whether this is a real number; a bool is none.

    Example:
        >>> is_number(0.5), is_number(True), is_number("0.5")
        (True, False, False)
    """
    return isinstance(given, Real) and not isinstance(given, bool)


def _holds(dtype: torch.dtype, kind: Kind) -> bool:
    if dtype == torch.bool or kind == "bool":
        return dtype == torch.bool and kind.startswith("bool")
    return dtype in (_INTEGERS if kind == "integers" else _REAL_NUMBERS)


def _text(sides: Sequence[int | str]) -> str:
    return f"({','.join(map(str, sides))}{',' if len(sides) == 1 else ''})"
