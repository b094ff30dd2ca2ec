"""Classification from image labels: several classes per image, or none."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from camloc.backbones.contract import Backbone
from camloc.objectives.class_weights import ClassWeights
from camloc.objectives.class_weights import class_weights as given_weights
from camloc.objectives.contract import Labelled, Losses


class MultiLabel(nn.Module):
    r"""Binary cross entropy of each class, averaged over images and classes, optionally with weighted positives.

    .. math:: L = -\frac{1}{BC} \sum_{i,c} w_c \, y_{ic} \log \sigma(z_{ic}) + (1 - y_{ic}) \log (1 - \sigma(z_{ic}))
       \qquad \text{balanced: } w_c = \frac{N - n_c}{n_c}

    of the logits z and labels y of B images, as :func:`torch.nn.functional.binary_cross_entropy_with_logits` defines it
    with ``pos_weight``; :math:`n_c` of the N training images show class c. Balanced weights let positives and negatives
    of each class weigh the same.

    Args:
        class_counts: C numbers of training images that show each class.
        num_images: N.
        class_weights: null: positives weigh as negatives do; ``balanced``; or C positive numbers.

    Raises:
        ValueError: If the weights are none of these, or ``balanced`` meets a class that no training image shows, or
            that all show.

    Example:
        >>> objective = MultiLabel(class_counts=[30, 10], num_images=40, class_weights="balanced")
        >>> objective.class_weights
        tensor([0.3333, 3.0000])
        >>> batch = Labelled(images=torch.tensor([[2.0, 0.0]]), target=torch.tensor([[True, True]]))
        >>> objective(nn.Identity(), batch).by_name
        {'binary_cross_entropy': tensor(1.0609)}
    """

    several_labels: ClassVar[bool] = True
    class_weights: Tensor | None

    def __init__(
        self,
        class_counts: Sequence[int],
        num_images: int,
        class_weights: ClassWeights = None,
    ) -> None:
        super().__init__()
        weights = given_weights(class_weights, len(class_counts), lambda: _balanced(class_counts, num_images))
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, backbone: Backbone, batch: Labelled) -> Losses:
        """Return the binary cross entropy of a batch.

        Raises:
            ValueError: If images have one class each.
        """
        if batch.target.ndim == 1:
            raise ValueError(
                "objective=multi_label trains on several classes per image, "
                f"found a target of shape {tuple(batch.target.shape)}; use objective=cross_entropy"
            )
        logits = backbone(batch.images)
        labels = batch.target.to(logits.dtype)
        loss = binary_cross_entropy_with_logits(logits, labels, pos_weight=self.class_weights)
        return Losses({"binary_cross_entropy": loss}, logits)


def _balanced(counts: Sequence[int], num_images: int) -> Tensor:
    one_sided = [index for index, count in enumerate(counts) if count in (0, num_images)]
    if one_sided:
        raise ValueError(
            "objective.class_weights=balanced divides each class's training images without it by those with it, "
            f"but classes {', '.join(map(str, one_sided))} (0-based) are shown by none or by all; give a list of "
            "weights, or remove these classes"
        )
    return torch.tensor([(num_images - count) / count for count in counts])
