"""The pointing game: whether the maximum of a map lies on the object."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from camloc.boxes import from_window
from camloc.metrics.checks import check_list, check_tensor, checked_boxes, checked_keep
from camloc.metrics.per_class import BY_CLASS, MEAN_OVER_CLASSES, PerClassHits, mean_of_measured
from camloc.records import Outcome, Row, Window

TOLERANCE = 15
"""Pixels of the image by which the maximum may miss the object (Zhang et al.)."""
KINDS = ("pointing_game", "pointing_in_box")


class PointingGame(PerClassHits):
    r"""Share of a class's images whose map has its maximum on an instance of the class, averaged over classes.

    .. math:: Acc = \frac{1}{C} \sum_c \frac{\#Hits_c}{\#Hits_c + \#Misses_c}

    Zhang et al., "Top-down neural attention by excitation backprop" (IJCV 2018, Sec. 4.1): a hit lies on a true box or
    within 15 pixels of it; ``pointing_in_box`` counts those in the box alone. Distances are Euclidean, between whole
    pixels of the image as stored, so that small images are easier. The maximum is that of the score map, its first
    pixel in reading order where several are equal, carried to the image; a map that is flat or not finite is a miss.

    Args:
        class_names: See :class:`~camloc.metrics.per_class.PerClass`.
        tolerance: Pixels of the image, at least 0.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Raises:
        ValueError: If the tolerance is no such number.

    Example:
        >>> metric = PointingGame(["cat"])
        >>> score_maps = torch.zeros(1, 4, 4)
        >>> score_maps[0, 0, 0] = 1
        >>> boxes = [torch.tensor([[20.0, 0.0, 40.0, 40.0]])]
        >>> outcome = metric.update(torch.tensor([0]), score_maps, boxes, [(0, 0, 40, 40)])
        >>> outcome.values["point"].tolist(), float(metric.compute()["pointing_game"])
        ([[5, 5]], 1.0)
        >>> float(metric.compute()["pointing_in_box"])
        0.0
    """

    def __init__(self, class_names: Sequence[str] | None = None, tolerance: float = TOLERANCE, **kwargs: Any) -> None:  # noqa: ANN401 - torchmetrics' own
        super().__init__(len(KINDS), class_names, **kwargs)
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not tolerance >= 0:
            raise ValueError(f"localization.protocols.pointing_game.tolerance must be at least 0, got {tolerance!r}")
        self.tolerance = tolerance

    @property
    def rows(self) -> Sequence[Row]:
        """The means over classes."""
        return [
            Row("pointing_game", f"pointing game, {self.tolerance:g} pixels{MEAN_OVER_CLASSES}", "max"),
            Row("pointing_in_box", f"pointing game, in the box{MEAN_OVER_CLASSES}", "max"),
        ]

    def update(  # type: ignore[override] # torchmetrics returns nothing
        self,
        target: Tensor,
        score_maps: Tensor,
        image_boxes: Sequence[Tensor],
        windows: Sequence[Window],
        is_padding: Tensor | None = None,
    ) -> Outcome:
        """Count a batch.

        Args:
            target: (P,) true classes, 0-based.
            score_maps: (P,H,W), the class's.
            image_boxes: P tensors (M_i,4), its true boxes, half-open pixels of the image.
            windows: P parts of images that the maps cover, half-open xyxy pixels.
            is_padding: (P,) bool, True for repeats that must not count; null when all count.

        Returns:
            ``hits``: (P,2) bool, within the tolerance and in the box. ``point``: (P,2) int64, the maximum's column and
            row in the image.

        Raises:
            ValueError: If an argument is not as above, or a pair that counts has no true box.
        """
        check_tensor("target", target, "integers", "P")
        check_tensor("score_maps", score_maps, "bool or real numbers", len(target), "H", "W")
        check_list("image_boxes", image_boxes, len(target))
        check_list("windows", windows, len(target))
        keep = checked_keep(is_padding, len(target))
        places = list(range(len(target))) if keep is None else keep.nonzero().flatten().tolist()
        true_boxes = checked_boxes("image_boxes", [image_boxes[place] for place in places], len(places))
        maps = score_maps[places]
        points = peaks(maps, [windows[place] for place in places])
        flat = maps.flatten(1)
        has_peak = (flat.isfinite().all(dim=1) & (flat.amax(dim=1) > flat.amin(dim=1))).cpu()
        distances = torch.tensor(
            [_distance(point, boxes) for point, boxes in zip(points, true_boxes, strict=True)], dtype=torch.float64
        )
        hits = torch.stack([distances <= self.tolerance, distances <= 0], dim=1) & has_peak[:, None]
        self.count(hits, target[places])
        return Outcome({"hits": hits, "point": points})

    def compute(self) -> dict[str, Tensor]:
        """Return the accuracies as float64 fractions; NaN when nothing was counted.

        Returns:
            ``pointing_game``, ``pointing_in_box``: mean over classes. The same with ``_all_pairs``: of all pairs alike;
            with ``_by_class``: (C,). ``pointing_game_num_images``: int64, pairs counted.
        """
        found: dict[str, Tensor] = {}
        for key, by_class, hits in zip(KINDS, self.shares(), self.hits, strict=True):
            found[key] = mean_of_measured(by_class)
            found[f"{key}_all_pairs"] = hits.sum().to(torch.float64) / self.pairs.sum()
            found[f"{key}{BY_CLASS}"] = by_class
        return {**found, "pointing_game_num_images": self.pairs.sum()}


def peaks(score_maps: Tensor, windows: Sequence[Window]) -> Tensor:
    """Return the (P,2) int64 column and row, in the image, of each map's maximum.

    Args:
        score_maps: (P,H,W).
        windows: P parts of the images that the maps cover, half-open xyxy pixels.

    Example:
        >>> peaks(torch.tensor([[[0.0, 0.0], [0.0, 1.0]]]), [(10, 0, 30, 8)]).tolist()
        [[25, 6]]
    """
    height, width = score_maps.shape[-2:]
    places = score_maps.flatten(1).argmax(dim=1).cpu()
    rows, columns = places // width, places % width
    middles = torch.stack([columns, rows, columns, rows], dim=1).to(torch.float64) + 0.5
    # A box without area would stay (0,0,0,0) wherever the window lies: the pixel's own is carried over.
    pixels = middles + torch.tensor([-0.5, -0.5, 0.5, 0.5])
    placed = [from_window(pixel, window, (height, width)) for pixel, window in zip(pixels, windows, strict=True)]
    if not placed:
        return torch.zeros(0, 2, dtype=torch.int64)
    boxes = torch.stack(placed)
    return ((boxes[:, :2] + boxes[:, 2:]) / 2).floor().to(torch.int64)


def _distance(point: Tensor, boxes: Tensor) -> float:
    """Return how far a pixel is from the nearest pixel of any of (M,4) half-open boxes; 0 in one."""
    low, high = boxes[:, :2].floor(), boxes[:, 2:].ceil() - 1
    outside = torch.maximum(low - point, point - high).clamp(min=0)
    return float(outside.norm(dim=1).min())
