"""How well a network ranks images by each class: average precision and AUROC."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision
from torchmetrics.utilities import dim_zero_cat

from camloc.metrics.checks import check_tensor
from camloc.metrics.per_class import BY_CLASS, MEAN_OVER_CLASSES, PerClass, mean_of_measured
from camloc.records import Outcome, Row


class MultiLabelRanking(PerClass):
    r"""Average precision and AUROC of each class against the others, averaged over classes.

    .. math:: AP_c = \sum_n (R_n - R_{n-1}) P_n \qquad
       AUROC_c = P(z_{ic} > z_{jc}) + \tfrac{1}{2} P(z_{ic} = z_{jc})

    with precision and recall of class c at each of its logits, and i an image that shows the class, j one that does
    not; as torchmetrics computes them without binning. Every image counts, those without a label too. A class that all
    images show, or none, is left out of the means and counted. All logits are kept, so the numbers do not depend on
    batches or processes.

    Args:
        class_names: See :class:`~camloc.metrics.per_class.PerClass`; not needed for the means.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Example:
        >>> metric = MultiLabelRanking()
        >>> labels = torch.tensor([[True, False], [False, False], [True, False]])
        >>> _ = metric.update(torch.tensor([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0]]), labels)
        >>> found = metric.compute()
        >>> round(float(found["average_precision"]), 4), float(found["auroc"]), int(found["num_classes_left_out"])
        (0.8333, 0.5, 1)
    """

    section: ClassVar[Literal["classification", "localization"]] = "classification"
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self, class_names: Sequence[str] | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - torchmetrics' own
        super().__init__(class_names, **kwargs)
        self.add_state("logits", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    @property
    def rows(self) -> Sequence[Row]:
        """The means over classes."""
        return [
            Row("average_precision", f"average precision{MEAN_OVER_CLASSES}", "max"),
            Row("auroc", f"AUROC{MEAN_OVER_CLASSES}", "max"),
        ]

    def update(self, image_logits: Tensor, labels: Tensor, is_padding: Tensor | None = None) -> Outcome:  # type: ignore[override] # torchmetrics returns nothing
        """Keep a batch.

        Args:
            image_logits: (B,C).
            labels: (B,C) bool, which classes each image shows.
            is_padding: (B,) bool, True for repeats that must not count; null when all count.

        Returns:
            No values.

        Raises:
            ValueError: If a shape or type does not fit.
        """
        check_tensor("image_logits", image_logits, "real numbers", "B", "C")
        check_tensor("labels", labels, "bool", *image_logits.shape)
        if is_padding is not None:
            check_tensor("is_padding", is_padding, "bool", len(labels))
            image_logits, labels = image_logits[~is_padding], labels[~is_padding]
        self.logits.append(image_logits.detach().to(self.device))
        self.labels.append(labels.to(self.device))
        return Outcome({})

    def compute(self) -> dict[str, Tensor]:
        """Return the numbers as float64 fractions; NaN when nothing was counted, or a logit is NaN.

        Returns:
            ``average_precision``, ``auroc``: means over the classes that some images show and others do not; the same
            with ``_by_class``: (C,), NaN for other classes. ``num_classes_left_out``: int64, how many these are.
            ``ranked_num_images``: int64, images counted.
        """
        # One tensor once several processes have brought theirs together.
        if isinstance(self.logits, list) and not self.logits:
            nan = torch.tensor(torch.nan, dtype=torch.float64, device=self.device)
            none = torch.zeros((), dtype=torch.int64, device=self.device)
            return {"average_precision": nan, "auroc": nan, "num_classes_left_out": none, "ranked_num_images": none}
        logits, labels = dim_zero_cat(self.logits).cpu(), dim_zero_cat(self.labels).cpu()
        by_class = torch.full((len(("average_precision", "auroc")), logits.shape[1]), torch.nan, dtype=torch.float64)
        measured = (labels.any(dim=0) & ~labels.all(dim=0)).nonzero().flatten().tolist()
        for index in measured:
            if not logits[:, index].isnan().any():
                # Places in the order of the logits: torchmetrics would squash them to probabilities and tie large ones.
                _, ranks = torch.unique(logits[:, index], return_inverse=True)
                scores = ranks.to(torch.float64) / max(int(ranks.max()), 1)
                of_class = labels[:, index].to(torch.int64)
                by_class[0, index] = binary_average_precision(scores, of_class)
                by_class[1, index] = binary_auroc(scores, of_class)
        found: dict[str, Tensor] = {}
        for key, values in zip(("average_precision", "auroc"), by_class.to(self.device), strict=True):
            # Of a network that has diverged there would be a mean of what is left.
            is_whole = not bool(values[measured].isnan().any())
            found[key] = mean_of_measured(values) if is_whole else torch.full_like(values[0], torch.nan)
            found[f"{key}{BY_CLASS}"] = values
        found["num_classes_left_out"] = torch.tensor(logits.shape[1] - len(measured), device=self.device)
        found["ranked_num_images"] = torch.tensor(len(logits), device=self.device)
        return found
