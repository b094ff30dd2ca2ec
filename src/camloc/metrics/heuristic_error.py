"""The error of the paper's box heuristic, counted as the ILSVRC devkit counts."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, ClassVar

import torch
from torch import Tensor

from camloc.metrics.checks import (
    check_list,
    check_places,
    check_predicted_boxes,
    check_tensor,
    checked_boxes,
    checked_keep,
    kept_of,
)
from camloc.metrics.contract import Protocol
from camloc.metrics.functional.classification import class_rank
from camloc.metrics.functional.devkit import NO_PREDICTION, devkit_hits, devkit_pixels
from camloc.metrics.functional.localization import IOU_THRESHOLD
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.records import Outcome, Row

LOOSE, TIGHT = 0, 1
PREDICTIONS = ((0, LOOSE), (0, TIGHT), (1, LOOSE), (1, TIGHT), (2, LOOSE))
"""Place of the class and its box, of each of the five predictions."""


class HeuristicError(IlsvrcError):
    r"""Top-5 localization error of five predictions that name three classes.

    The loose and the tight box of the two most likely classes, and the loose box of the third (Zhou et al., CVPR 2016,
    Sec. 3.2 and Table 3), in the order of the release. Boxes are those of
    :func:`camloc.localization.released_boxes.loose_and_tight_boxes`, whatever the box rule is. As a prediction counts
    only when its class is the true one, the true class's rank and its two boxes decide.

    Args:
        blacklist: See :func:`camloc.metrics.ilsvrc_error.read_blacklist`.
        iou_threshold: Fraction.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Raises:
        FileNotFoundError: If there is no such blacklist.
        ValueError: If a line of it is not an image's number, or the threshold lies outside its range.

    Example:
        >>> metric = HeuristicError()
        >>> boxes = torch.tensor([[[0.0, 0.0, 9.0, 9.0], [2.0, 2.0, 6.0, 6.0]]])
        >>> true_boxes = [torch.tensor([[2.0, 2.0, 6.0, 6.0]])]
        >>> _ = metric.update(torch.tensor([[2.0, 1.0]]), torch.tensor([1]), boxes, true_boxes, [0])
        >>> float(metric.compute()["heuristic_top5_error"])
        0.0
    """

    prefix: ClassVar[str] = "heuristic"

    def __init__(
        self,
        blacklist: str | PathLike[str] | None = None,
        iou_threshold: float = IOU_THRESHOLD,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own
    ) -> None:
        super().__init__(blacklist, iou_threshold, **kwargs)

    @property
    def rows(self) -> Sequence[Row]:
        """Its error; the boxes have no CAM threshold."""
        return [Row("heuristic_top5_error", "top-5 localization error, loose and tight boxes", "min")]

    def without_thresholds(self) -> Protocol:
        """Return this one: its boxes are of the map and never had a threshold."""
        return self

    def update(  # type: ignore[override] # its own needs
        self,
        logits: Tensor,
        target: Tensor,
        released_boxes: Tensor,
        image_boxes: Sequence[Tensor],
        positions: Sequence[int],
        is_padding: Tensor | None = None,
    ) -> Outcome:
        """Count a batch.

        Args:
            logits: (P,C).
            target: (P,) true classes, 0-based.
            released_boxes: (P,2,4) loose and tight box of the true class, half-open pixels of the image, (0,0,0,0) for
                none.
            image_boxes: P tensors (M_i,4), true boxes in the same pixels.
            positions: P places in the split, 0-based.
            is_padding: (P,) bool, True for repeats that must not count; null when all count.

        Returns:
            ``counts``: (P,5) bool, localized by the first and by the five predictions, classified by these, and
            blacklisted.

        Raises:
            ValueError: If an argument is not as above, or a pair that counts has no true box.
        """
        check_tensor("logits", logits, "real numbers", "P", "C")
        check_tensor("target", target, "integers", len(logits))
        check_tensor("released_boxes", released_boxes, "real numbers", len(target), 2, 4)
        check_list("image_boxes", image_boxes, len(target))
        check_places("positions", positions, len(target))
        kept = checked_keep(is_padding, len(target))
        keep = torch.ones(len(target), dtype=torch.bool) if kept is None else kept
        both = released_boxes.cpu()[keep]
        check_predicted_boxes("released_boxes", both)
        true_boxes = checked_boxes("image_boxes", kept_of(image_boxes, kept), len(both))
        places, kinds = torch.tensor(PREDICTIONS).unbind(dim=1)
        rank = class_rank(logits, target).cpu()[keep]
        # The true class is called 0 where a prediction names it; the others cannot hit.
        labels = torch.where(places == rank[:, None], 0, NO_PREDICTION)
        hits = devkit_hits(
            labels, devkit_pixels(both[:, kinds]), torch.zeros_like(rank), true_boxes, self.iou_threshold
        )
        return self._count(hits, positions, keep)
