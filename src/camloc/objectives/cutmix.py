"""CutMix: a patch of another training image pasted over each image, and both labels by their share of the area."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.distributions import Beta
from torch.nn import functional as F

from camloc.backbones.contract import Backbone
from camloc.objectives.contract import Labelled, Losses
from camloc.objectives.parts import refuse_several_labels


class CutMix(nn.Module):
    r"""Softmax cross entropy of images with a pasted patch, towards both labels.

    .. math:: L = \lambda\,\ell(\tilde x, t) + (1 - \lambda)\,\ell(\tilde x, t_\pi) \qquad
       \tilde x = M \odot x + (1 - M) \odot x_\pi

    (Yun et al., "CutMix", ICCV 2019, Eq. 1 and 2) with a permutation :math:`\pi` of the batch and one box for all its
    images, where M is 0: sides :math:`\sqrt{1 - \lambda'}` of the image's, :math:`\lambda' \sim Beta(\beta, \beta)`,
    its centre uniform. :math:`\lambda` is the exact share of the area that is left once the box is clipped at the
    edges, as in the released code; the paper's Eq. 1 has :math:`\lambda'`.

    Args:
        class_counts: C numbers of training images; not used.
        beta: :math:`\beta`; 1 draws :math:`\lambda'` uniformly.
        probability: That a batch is mixed at all.

    Raises:
        ValueError: An option is out of range.

    Example:
        >>> batch = Labelled(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
        >>> list(CutMix(class_counts=[1, 1])(network, batch).by_name)
        ['own_label', 'pasted_label']
    """

    changes_images: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int],  # noqa: ARG002 - every objective is given it
        beta: Annotated[float, Gt(0)] = 1.0,
        probability: Annotated[float, Ge(0), Le(1)] = 1.0,
    ) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"objective.beta must be above 0, found {beta}")
        if not 0 <= probability <= 1:
            raise ValueError(f"objective.probability must lie in [0, 1], found {probability}")
        self.beta, self.probability = beta, probability

    def forward(self, backbone: Backbone, batch: Labelled) -> Losses:
        """Return the two weighted cross entropies of a mixed batch.

        Raises:
            ValueError: If images have several labels.
        """
        refuse_several_labels(batch, "cutmix")
        pasted = self.box(batch.images)
        order = torch.randperm(len(batch.images), device=batch.images.device)
        logits = backbone(torch.where(pasted, batch.images[order], batch.images))
        share = pasted.float().mean()
        own, other = (F.cross_entropy(logits, target) for target in (batch.target, batch.target[order]))
        return Losses({"own_label": (1 - share) * own, "pasted_label": share * other}, logits)

    def box(self, images: Tensor) -> Tensor:
        """Draw the box of a batch: (H,W) bool, all false where the batch is not mixed."""
        height, width = images.shape[-2:]
        # All on the device: reading a number there would wait for it.
        beta = torch.tensor(self.beta, device=images.device)
        side = (1 - Beta(beta, beta).sample()).sqrt()
        is_mixed, centre_y, centre_x = torch.rand(3, device=images.device)
        rows, columns = _covers(height, side, centre_y), _covers(width, side, centre_x)
        box: Tensor = rows[:, None] & columns & (is_mixed < self.probability)
        return box


def _covers(length: int, side: Tensor, centre: Tensor) -> Tensor:
    """Return which of the pixels of one axis lie in the box: whole pixels, half the side to each end."""
    half = (length * side).long() // 2
    middle = (length * centre).long()
    position = torch.arange(length, device=side.device)
    return (position >= middle - half) & (position < middle + half)
