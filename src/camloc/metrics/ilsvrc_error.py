"""The error of the ILSVRC devkit."""

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from camloc.metrics.checks import (
    check_cam_threshold,
    check_iou_threshold,
    check_list,
    check_places,
    check_predicted_boxes,
    check_tensor,
    checked_boxes,
    checked_keep,
    kept_of,
)
from camloc.metrics.contract import Interval, Protocol
from camloc.metrics.functional.classification import TOP_K, class_rank
from camloc.metrics.functional.devkit import NO_PREDICTION, DevkitCounts, devkit_hits, devkit_pixels
from camloc.metrics.functional.localization import IOU_THRESHOLD
from camloc.metrics.functional.resampling import percentiles, resampled_sums
from camloc.records import Outcome, Row, SplitOutcome


def read_blacklist(path: str | PathLike[str] | None) -> frozenset[int]:
    """Read the devkit's list of images that do not count for localization.

    Args:
        path: A file with one 1-based image number per line, such as
            ``ILSVRC2014_clsloc_validation_blacklist.txt``; null for none.

    Returns:
        0-based positions in the split.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no path, or a line is not a positive whole number.

    Example:
        >>> read_blacklist(None)
        frozenset()
    """
    if path is None:
        return frozenset()
    if not isinstance(path, str | PathLike):
        raise ValueError(f"localization.protocols.ilsvrc.blacklist must be the path of a file, or null, got {path!r}")  # noqa: TRY004 - every wrong argument is a ValueError
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"localization.protocols.ilsvrc.blacklist={path} is not a file; give the devkit's, or null"
        )
    numbers = []
    for line, text in enumerate(Path(path).read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
        if text.strip():
            if not re.fullmatch("0*[1-9][0-9]{0,8}", text.strip()):
                raise ValueError(f"{path}, line {line}: expected the number of an image, from 1 on, found {text!r:.40}")
            numbers.append(int(text) - 1)
    return frozenset(numbers)


class IlsvrcError(Protocol):
    r"""Top-1 and top-5 error as the ILSVRC devkit counts it, see :mod:`camloc.metrics.functional.devkit`.

    A prediction counts only when its class is the true one. For a network the true class's rank and the box of its map
    therefore decide the error over five predictions of a class and a box each; a file of predictions names them itself.
    States are int64 counts reduced by sum.

    Args:
        blacklist: See :func:`read_blacklist`; numbers are places in ``test``, which must be in the devkit's order. On
            ``val``, which is other images, it leaves none out.
        iou_threshold: Fraction.
        cam_threshold: Fraction of the score map's maximum that boxes are made at; null takes the one that another
            protocol chooses.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Raises:
        FileNotFoundError: If there is no such blacklist.
        ValueError: If a line of it is not an image's number, or a threshold lies outside its range.

    Example:
        >>> metric = IlsvrcError()
        >>> boxes = torch.tensor([[2.2, 2.2, 6.4, 6.4]])
        >>> _ = metric.update(torch.tensor([[2.0, 1.0]]), torch.tensor([1]), boxes, [torch.tensor([[2, 2, 6, 6]])], [0])
        >>> errors = metric.compute()
        >>> float(errors["ilsvrc_top1_error"]), float(errors["ilsvrc_top5_error"])
        (1.0, 0.0)
    """

    higher_is_better = False
    prefix: ClassVar[str] = "ilsvrc"
    """Of the keys."""
    localized: Tensor
    classified: Tensor
    num_images: Tensor
    num_blacklisted: Tensor

    def __init__(
        self,
        blacklist: str | PathLike[str] | None = None,
        iou_threshold: float = IOU_THRESHOLD,
        cam_threshold: float | None = None,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own
    ) -> None:
        super().__init__(**kwargs)
        check_iou_threshold("localization.iou_threshold", iou_threshold)
        if cam_threshold is not None:
            check_cam_threshold("localization.cam_threshold", cam_threshold)
        self.blacklist = read_blacklist(blacklist)
        self._blacklist_file = blacklist
        self.iou_threshold = iou_threshold
        self.cam_threshold = cam_threshold
        for name, shape in (("localized", (2,)), ("classified", (2,)), ("num_images", ()), ("num_blacklisted", ())):
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def without_thresholds(self) -> Protocol:
        """Return the same error without a CAM threshold."""
        return IlsvrcError(self._blacklist_file, self.iou_threshold)

    def forget_listed_images(self) -> None:
        """Leave no image out."""
        self.blacklist = frozenset()

    def check_split(self, num_images: int) -> None:
        """Refuse a blacklist that names images beyond the split."""
        last = max(self.blacklist, default=-1)
        if last >= num_images:
            raise ValueError(
                f"blacklist={self._blacklist_file} of the {type(self).__name__} names image {last + 1}, which is "
                f"beyond the split of {num_images}; give the list of this split"
            )

    @property
    def rows(self) -> Sequence[Row]:
        """Classification errors, then localization errors at the reported threshold."""
        classification = [
            Row(f"ilsvrc_top{k}_classification_error", f"ILSVRC top-{k} classification error", "min") for k in TOP_K
        ]
        localization = [
            Row(f"ilsvrc_top{k}_error", f"ILSVRC top-{k} localization error", "min", "reported", "cam_threshold")
            for k in TOP_K
        ]
        return [*classification, *localization]

    def update(  # type: ignore[override] # torchmetrics returns nothing
        self,
        logits: Tensor | None,
        target: Tensor,
        reported_boxes: Tensor | None,
        image_boxes: Sequence[Tensor],
        positions: Sequence[int],
        is_padding: Tensor | None = None,
        predicted_classes: Tensor | None = None,
        predicted_boxes: Tensor | None = None,
    ) -> Outcome:
        """Count a batch; without logits and reported boxes, or predictions instead, nothing is counted.

        Args:
            logits: (P,C); null where predictions are given.
            target: (P,) true classes, 0-based.
            reported_boxes: (P,4) the true class's box, half-open pixels of the image, (0,0,0,0) for none; null where
                predictions are given, or no threshold is chosen yet that maps could be cut at.
            image_boxes: P tensors (M_i,4), true boxes in the same pixels.
            positions: P places in the split, 0-based.
            is_padding: (P,) bool, True for repeats that must not count; null when all count.
            predicted_classes: (P,G) up to five classes, best first, -1 for none; they decide where they are given.
            predicted_boxes: (P,G,4) a box for each, in the same pixels.

        Returns:
            ``counts``: (P,5) bool, localized among the first and the first five predictions, classified among these,
            and blacklisted.

        Raises:
            ValueError: If an argument is not as above, predictions are given in part, or a pair that counts has no
                true box.
        """
        check_tensor("target", target, "integers", "P")
        check_list("image_boxes", image_boxes, len(target))
        check_places("positions", positions, len(target))
        kept = checked_keep(is_padding, len(target))
        keep = torch.ones(len(target), dtype=torch.bool) if kept is None else kept
        if (predicted_classes is None) != (predicted_boxes is None):
            raise ValueError("predicted_classes and predicted_boxes go together; one of them is null")
        if predicted_classes is not None and predicted_boxes is not None:
            check_tensor("predicted_classes", predicted_classes, "integers", len(target), "G")
            check_tensor("predicted_boxes", predicted_boxes, "real numbers", *predicted_classes.shape, 4)
            labels, predicted, true_labels = (
                predicted_classes.cpu()[keep],
                predicted_boxes.cpu()[keep],
                target.cpu()[keep],
            )
            check_predicted_boxes("predicted_boxes", predicted)
            if (labels < NO_PREDICTION).any() or (true_labels < 0).any():
                raise ValueError(f"predicted_classes start at {NO_PREDICTION} and target at 0, and some are below")
            true_boxes = checked_boxes("image_boxes", kept_of(image_boxes, kept), len(labels))
            hits = devkit_hits(labels, devkit_pixels(predicted), true_labels, true_boxes, self.iou_threshold)
        elif logits is not None and reported_boxes is not None:
            check_tensor("reported_boxes", reported_boxes, "real numbers", len(target), 4)
            reported = reported_boxes.cpu()[keep]
            check_predicted_boxes("reported_boxes", reported)
            true_boxes = checked_boxes("image_boxes", kept_of(image_boxes, kept), len(reported))
            hits = self._hits_by_rank(class_rank(logits, target).cpu()[keep], devkit_pixels(reported), true_boxes)
        else:
            return Outcome({})
        return self._count(hits, positions, keep)

    def _count(self, hits: DevkitCounts, positions: Sequence[int], keep: Tensor) -> Outcome:
        """Count the hits of the (P,) pairs that are kept."""
        listed = torch.tensor([position in self.blacklist for position in positions], dtype=torch.bool)[keep]
        localized = hits.localization & ~listed[:, None]
        self.localized += localized.sum(dim=0).to(self.localized.device)
        self.classified += hits.classification.sum(dim=0).to(self.classified.device)
        self.num_images += len(listed)
        self.num_blacklisted += int(listed.sum())
        return Outcome({"counts": torch.cat([localized, hits.classification, listed[:, None]], dim=1)})

    def _hits_by_rank(self, rank: Tensor, boxes: Tensor, true_boxes: Sequence[Tensor]) -> DevkitCounts:
        """Decide by the true class's rank (P,) and box (P,4), as if each image had this one prediction."""
        right = torch.zeros(len(boxes), 1, dtype=torch.int64)
        fits = devkit_hits(right, boxes[:, None], right[:, 0], true_boxes, self.iou_threshold).localization[:, :1]
        classified = torch.stack([rank < k for k in TOP_K], dim=1)
        return DevkitCounts(fits & classified, classified)

    def compute(self) -> dict[str, Tensor]:
        """Return errors as float64 fractions, NaN when nothing was counted, and the int64 counts behind them.

        Returns:
            ``ilsvrc_top1_error``, ``ilsvrc_top5_error``, over the images that are not blacklisted, and
            ``ilsvrc_top1_classification_error``, ``ilsvrc_top5_classification_error``, over all, with
            ``ilsvrc_..._hits``, ``ilsvrc_num_images`` and ``ilsvrc_num_blacklisted``.
        """
        localization = 1 - self.localized.to(torch.float64) / (self.num_images - self.num_blacklisted)
        classification = 1 - self.classified.to(torch.float64) / self.num_images
        found = {
            f"{self.prefix}_num_images": self.num_images.clone(),
            f"{self.prefix}_num_blacklisted": self.num_blacklisted.clone(),
        }
        for column, k in enumerate(TOP_K):
            found[f"{self.prefix}_top{k}_hits"] = self.localized[column]
            found[f"{self.prefix}_top{k}_error"] = localization[column]
            found[f"{self.prefix}_top{k}_classification_hits"] = self.classified[column]
            found[f"{self.prefix}_top{k}_classification_error"] = classification[column]
        return found

    def intervals(self, outcome: SplitOutcome, val: SplitOutcome | None) -> dict[str, Interval]:  # noqa: ARG002 - the threshold is taken as fixed
        """Return 95% bootstrap intervals of the four errors, at the threshold as it is."""
        counts = outcome.values["counts"].numpy()
        if counts[:, 4].all():  # no pair, or none that counts for localization
            return {}
        counted, num_pairs = resampled_sums(counts, outcome.image_ids)
        sums, drawn = counted.astype(np.float64), num_pairs[:, None]
        with np.errstate(invalid="ignore"):  # a resample of blacklisted images alone
            localization = 1 - sums[:, :2] / (drawn - sums[:, 4:])
        classification = 1 - sums[:, 2:4] / drawn
        found = {}
        for column, k in enumerate(TOP_K):
            found[f"{self.prefix}_top{k}_error"] = percentiles(
                localization[:, column][~np.isnan(localization[:, column])]
            )
            found[f"{self.prefix}_top{k}_classification_error"] = percentiles(classification[:, column])
        return found
