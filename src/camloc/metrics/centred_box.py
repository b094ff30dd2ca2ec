"""The baseline without a network: one box in the middle of every image."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from camloc.boxes import centred
from camloc.metrics.functional.localization import localization_hits


class CentredBoxError(Metric):
    """GT-known error of the best centred box, the number that a localization error must be read beside.

    The box has the image's aspect; its scale is the one that suits the whole data set best (an oracle).

    Args:
        num_scales: Size of the grid ``1/n, 2/n, ..., 1`` of side lengths, fractions of the image's sides.
        iou_threshold: Fraction.

    Example:
        >>> metric = CentredBoxError()
        >>> metric.update([torch.tensor([[2.0, 2.0, 8.0, 8.0]]), torch.tensor([[0.0, 0.0, 2.0, 2.0]])], (10, 10))
        >>> metric.compute()["gt_known_error"]
        tensor(0.5000, dtype=torch.float64)
    """

    full_state_update = False
    higher_is_better = False
    hits: Tensor
    num_images: Tensor

    def __init__(self, num_scales: int = 100, iou_threshold: float = 0.5) -> None:
        super().__init__()
        self.scales = torch.arange(1, num_scales + 1) / num_scales
        self.iou_threshold = iou_threshold
        self.add_state("hits", torch.zeros(num_scales, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, gt_boxes: Sequence[Tensor], size: tuple[int, int], is_padding: Tensor | None = None) -> None:
        """Count a batch of images of one size.

        Args:
            gt_boxes: B tensors (M_i,4), half-open xyxy pixels.
            size: ``(height, width)`` of the images the boxes are drawn in.
            is_padding: (B,) bool, images that must not count; null when all count.
        """
        counted = [True] * len(gt_boxes) if is_padding is None else (~is_padding).tolist()
        kept = [boxes.cpu() for boxes, keep in zip(gt_boxes, counted, strict=True) if keep]
        predictions = centred(self.scales, size).expand(len(kept), -1, -1)
        hits = localization_hits(predictions, kept, torch.tensor([self.iou_threshold], dtype=torch.float64))
        self.hits += hits[:, 0].sum(dim=0).to(self.hits.device)
        self.num_images += len(kept)

    def compute(self) -> dict[str, Tensor]:
        """Return ``gt_known_error`` (float64 fraction) of the best scale, that ``scale``, and ``num_images``."""
        best = int(self.hits.argmax())
        return {
            "gt_known_error": 1 - self.hits[best].to(torch.float64) / self.num_images,
            "scale": self.scales[best].to(self.hits.device),
            "num_images": self.num_images.clone(),
        }
