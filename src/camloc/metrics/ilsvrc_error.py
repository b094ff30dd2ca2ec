"""The ILSVRC devkit's error of a network as a torchmetrics Metric."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchmetrics import Metric

from camloc.metrics.functional.classification import class_rank
from camloc.metrics.functional.devkit import TOP_K, devkit_hits, devkit_pixels


def read_blacklist(path: str | None, num_images: int | None = None) -> frozenset[int]:
    """Read the devkit's list of images that localization leaves out.

    Args:
        path: A file with one 1-based image number per line, such as
            ``ILSVRC2014_clsloc_validation_blacklist.txt``; null for none.
        num_images: Length of the split that the numbers are places in, where it is known.

    Returns:
        0-based positions in the split.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is no positive whole number, or one beyond the split.

    Example:
        >>> read_blacklist(None)
        frozenset()
    """
    if path is None:
        return frozenset()
    if not Path(path).is_file():
        raise FileNotFoundError(f"localization.also.ilsvrc.blacklist={path} is no file; give the devkit's, or null")
    numbers = []
    for line, text in enumerate(Path(path).read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
        if text.strip():
            if not text.strip().isdecimal() or int(text) < 1:
                raise ValueError(f"{path}, line {line}: expected the number of an image, from 1 on, found {text!r}")
            if num_images is not None and int(text) > num_images:
                raise ValueError(
                    f"{path}, line {line}: image {int(text)} is beyond the split, which has {num_images}; "
                    "give the list of this very split"
                )
            numbers.append(int(text) - 1)
    return frozenset(numbers)


class IlsvrcError(Metric):
    r"""Top-1 and top-5 error as the ILSVRC devkit counts it, see :mod:`camloc.metrics.functional.devkit`.

    A prediction counts only when its class is the true one, so the true class's rank and the box of its map settle the
    error over five predictions of a class and a box each. States are int64 counts reduced by sum.

    Args:
        blacklist: See :func:`read_blacklist`; numbers are places in the split, which must be in the devkit's order.
        iou_threshold: Fraction.

    Raises:
        FileNotFoundError: If there is no such blacklist.
        ValueError: If a line of it is no image's number, or the threshold lies outside its range.

    Example:
        >>> metric = IlsvrcError()
        >>> boxes = torch.tensor([[2.2, 2.2, 6.4, 6.4]])
        >>> metric.update(torch.tensor([[2.0, 1.0]]), torch.tensor([1]), boxes, [torch.tensor([[2, 2, 6, 6]])], [0])
        >>> errors = metric.compute()
        >>> float(errors["ilsvrc_top1_error"]), float(errors["ilsvrc_top5_error"])
        (1.0, 0.0)
    """

    full_state_update = False
    higher_is_better = False
    localized: Tensor
    classified: Tensor
    num_images: Tensor
    num_blacklisted: Tensor
    image_counts: Tensor
    """(B,5) bool of the images last counted: localized and classified among the first and five, blacklisted."""

    def __init__(self, blacklist: str | None = None, iou_threshold: float = 0.5) -> None:
        super().__init__()
        if not 0 < iou_threshold <= 1:
            raise ValueError(f"localization.also.ilsvrc.iou_threshold is a fraction in (0, 1], got {iou_threshold}")
        self.blacklist = read_blacklist(blacklist)
        self.iou_threshold = iou_threshold
        for name, shape in (("localized", (2,)), ("classified", (2,)), ("num_images", ()), ("num_blacklisted", ())):
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        logits: Tensor,
        target: Tensor,
        reported_boxes: Tensor,
        image_boxes: Sequence[Tensor],
        positions: Sequence[int],
        is_padding: Tensor | None = None,
    ) -> None:
        """Count a batch.

        Args:
            logits: (B,C).
            target: (B,) true classes, 0-based.
            reported_boxes: (B,4) the true class's box, half-open pixels of the image, (0,0,0,0) for none.
            image_boxes: B tensors (M_i,4), true boxes in the same pixels.
            positions: B places in the split, 0-based.
            is_padding: (B,) bool, images that must not count; null when all count.

        Raises:
            ValueError: If an image has no true box.
        """
        rank = class_rank(logits, target).cpu()
        padding = [False] * len(rank) if is_padding is None else is_padding.tolist()
        keep = torch.tensor([not padded for padded in padding])
        boxes = devkit_pixels(reported_boxes.cpu())[keep][:, None]
        true_boxes = [box.cpu() for box, kept in zip(image_boxes, keep.tolist(), strict=True) if kept]
        same = torch.zeros(int(keep.sum()), 1)
        overlaps = devkit_hits(same, boxes, same[:, 0], true_boxes, self.iou_threshold).localization[:, 0]
        listed = torch.tensor([position in self.blacklist for position in positions])[keep]
        predicted = torch.stack([rank[keep] < k for k in TOP_K], dim=1)
        counted = (overlaps & ~listed)[:, None] & predicted
        self.image_counts = torch.cat([counted, predicted, listed[:, None]], dim=1)
        self.localized += counted.sum(dim=0).to(self.localized.device)
        self.classified += predicted.sum(dim=0).to(self.classified.device)
        self.num_images += len(listed)
        self.num_blacklisted += int(listed.sum())

    def compute(self) -> dict[str, Tensor]:
        """Return errors as float64 fractions, NaN when nothing was counted, and the int64 counts behind them.

        Returns:
            ``ilsvrc_top1_error``, ``ilsvrc_top5_error``, over the images that are not blacklisted, and
            ``ilsvrc_top1_classification_error``, ``ilsvrc_top5_classification_error``, over all, with
            ``ilsvrc_..._hits``, ``ilsvrc_num_images`` and ``ilsvrc_num_blacklisted``.
        """
        localization = 1 - self.localized.to(torch.float64) / (self.num_images - self.num_blacklisted)
        classification = 1 - self.classified.to(torch.float64) / self.num_images
        found = {"ilsvrc_num_images": self.num_images.clone(), "ilsvrc_num_blacklisted": self.num_blacklisted.clone()}
        for column, k in enumerate(TOP_K):
            found[f"ilsvrc_top{k}_hits"] = self.localized[column]
            found[f"ilsvrc_top{k}_error"] = localization[column]
            found[f"ilsvrc_top{k}_classification_hits"] = self.classified[column]
            found[f"ilsvrc_top{k}_classification_error"] = classification[column]
        return found
