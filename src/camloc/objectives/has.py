"""Hide-and-Seek: training images with patches hidden, so that no single part of an object is enough."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.backbones.contract import Backbone
from camloc.objectives.contract import Labelled, Losses
from camloc.objectives.parts import refuse_several_labels


class HideAndSeek(nn.Module):
    r"""Softmax cross entropy of images with hidden patches.

    .. math:: L = \frac{1}{B} \sum_i \ell(x_i \odot (1 - m_i), t_i) \qquad m_i \sim \text{Bernoulli}(p)
       \text{ for each cell of a grid}

    (Singh and Lee, "Hide-and-Seek", ICCV 2017, Sec. 3). Hidden pixels take the mean of the data, which is 0 once images
    are normalized, so that the first convolution's activations keep their distribution. Evaluation sees whole images.

    The paper draws the side of the cells for each image of 0 (nothing hidden), 16, 32, 44 and 56 pixels; the released
    code of Choe et al. (CVPR 2020), as here, has one side for a whole training, by default 4.

    Args:
        class_counts: C numbers of training images; not used.
        grid_size: Side of a cell, pixels; those at the right and lower edge may be narrower.
        drop_rate: Probability that a cell is hidden.

    Raises:
        ValueError: An option is out of range.

    Example:
        >>> hidden = HideAndSeek(class_counts=[1, 1], grid_size=2, drop_rate=1.0).hide(torch.ones(1, 3, 4, 4))
        >>> hidden.sum().item()
        0.0
    """

    changes_images: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int],  # noqa: ARG002 - every objective is given it
        grid_size: Annotated[int, Ge(1)] = 4,
        drop_rate: Annotated[float, Ge(0), Le(1)] = 0.5,
    ) -> None:
        super().__init__()
        if grid_size < 1:
            raise ValueError(f"objective.grid_size is the side of a cell in pixels, at least 1, found {grid_size}")
        if not 0 <= drop_rate <= 1:
            raise ValueError(f"objective.drop_rate must lie in [0, 1], found {drop_rate}")
        self.grid_size, self.drop_rate = grid_size, drop_rate

    def forward(self, backbone: Backbone, batch: Labelled) -> Losses:
        """Return the cross entropy of a batch with hidden patches.

        Raises:
            ValueError: If images have several labels.
        """
        refuse_several_labels(batch, "has")
        logits = backbone(self.hide(batch.images))
        return Losses({"cross_entropy": F.cross_entropy(logits, batch.target)}, logits)

    def hide(self, images: Tensor) -> Tensor:
        """Return (B,3,H,W) images with cells set to 0."""
        height, width = images.shape[-2:]
        grid = (len(images), -(-height // self.grid_size), -(-width // self.grid_size))
        cells = torch.rand(grid, device=images.device) < self.drop_rate
        pixels = cells.repeat_interleave(self.grid_size, 1).repeat_interleave(self.grid_size, 2)
        return images.masked_fill(pixels[:, None, :height, :width], 0.0)
