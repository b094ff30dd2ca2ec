"""Full supervision: classification and the regression of a box for each class, trained with true boxes."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.backbones.contract import BoxBackbone
from camloc.objectives.contract import Boxed, Losses


class BoxRegression(nn.Module):
    r"""Softmax cross entropy plus the smooth L1 distance of the true class's box from a true box.

    .. math:: L = \frac{1}{B} \sum_i \ell_i + \frac{\lambda}{|\{i : g_i\}|} \sum_{i : g_i} \sum_{k=1}^{4}
       smooth_\beta(b_{i,t_i,k} - g_{i,k}) \qquad
       smooth_\beta(d) = \frac{d^2}{2\beta} \text{ if } |d| < \beta \text{ else } |d| - \frac{\beta}{2}

    with the cross entropy :math:`\ell_i`, the box :math:`b_{i,t_i}` that the network gives the true class, and the true
    box :math:`g_i`, xyxy fractions of the input's sides. Smooth L1 is that of Girshick, "Fast R-CNN" (ICCV 2015);
    OverFeat (Sermanet et al., ICLR 2014, Sec. 4.2) has the squared distance, which ``beta=1`` gives, halved. Images
    whose box is not known, or not in the crop, count in the first term alone. Of several true boxes the data gives the
    largest.

    Args:
        class_counts: C numbers of training images; not used.
        box_weight: :math:`\lambda`.
        beta: Distance from which on it counts linearly, a fraction of the input's side.

    Raises:
        ValueError: An option is out of range.

    Example:
        >>> from camloc.backbones.box_head import BoxRegressor
        >>> from camloc.backbones.gap import GapBackbone
        >>> backbone = BoxRegressor(GapBackbone(nn.Conv2d(3, 8, 3), nn.ReLU(), num_maps=8, num_classes=5))
        >>> batch = Boxed(torch.zeros(1, 3, 32, 32), torch.tensor([2]), torch.tensor([[8.0, 8.0, 24.0, 24.0]]))
        >>> list(BoxRegression(class_counts=[1] * 5)(backbone, batch).by_name)
        ['cross_entropy', 'box']
    """

    trains_with_boxes: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int],  # noqa: ARG002 - every objective is given it
        box_weight: Annotated[float, Ge(0)] = 1.0,
        beta: Annotated[float, Gt(0)] = 0.1,
    ) -> None:
        super().__init__()
        if not box_weight >= 0:
            raise ValueError(f"objective.box_weight must be at least 0, found {box_weight}")
        if not beta > 0:
            raise ValueError(f"objective.beta must be above 0, found {beta}")
        self.box_weight, self.beta = box_weight, beta

    def forward(self, backbone: BoxBackbone, batch: Boxed) -> Losses:
        """Return the cross entropy and the weighted box loss of a batch.

        Raises:
            ValueError: If images have several labels.
        """
        if batch.target.ndim != 1:
            raise ValueError(
                "objective=box_regression trains on one class per image, "
                f"found a target of shape {tuple(batch.target.shape)}"
            )
        features = backbone.forward_features(batch.images)
        logits = backbone.forward_head(features)
        predicted = backbone.forward_boxes(features)[torch.arange(len(logits)), batch.target]
        height, width = batch.images.shape[-2:]
        true = batch.boxes / batch.boxes.new_tensor([width, height, width, height])
        box_loss = self._box_loss(predicted.float(), true)
        cross_entropy = F.cross_entropy(logits, batch.target)
        return Losses({"cross_entropy": cross_entropy, "box": self.box_weight * box_loss}, logits)

    def _box_loss(self, predicted: Tensor, true: Tensor) -> Tensor:
        distance = F.smooth_l1_loss(predicted, true, beta=self.beta, reduction="none").sum(dim=1)
        known = ((true[:, 2] > true[:, 0]) & (true[:, 3] > true[:, 1])).float()
        # Without any it is 0 and still depends on the head: every process has a gradient for every parameter.
        return (distance * known).sum() / known.sum().clamp(min=1)
