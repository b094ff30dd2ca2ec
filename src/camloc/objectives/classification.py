"""Classification from image labels: one class per image."""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.backbones.contract import Backbone
from camloc.objectives.class_weights import ClassWeights
from camloc.objectives.class_weights import class_weights as given_weights
from camloc.objectives.contract import Labelled, Losses


class CrossEntropy(nn.Module):
    r"""Softmax cross entropy, optionally with smoothed labels and weighted classes.

    .. math:: L = \frac{\sum_i w_{t_i} \ell_i}{\sum_i w_{t_i}} \qquad \text{balanced: } w_c = \frac{N}{C n_c}

    of the images i of a batch with targets :math:`t_i`, as :func:`torch.nn.functional.cross_entropy` defines it;
    :math:`n_c` of the N training images show class c. Balanced weights are scikit-learn's rule (after King and Zeng,
    "Logistic Regression in Rare Events Data", 2001).

    Args:
        class_counts: C numbers of training images.
        label_smoothing: Share of the target spread evenly over all classes, in [0, 1).
        class_weights: null: all classes weigh the same; ``balanced``; or C positive numbers.

    Raises:
        ValueError: An option is out of range, or ``balanced`` meets a class without training images.

    Example:
        >>> objective = CrossEntropy(class_counts=[30, 10], class_weights="balanced")
        >>> objective.class_weights
        tensor([0.6667, 2.0000])
        >>> batch = Labelled(images=torch.tensor([[2.0, 0.0]]), target=torch.tensor([1]))
        >>> objective(nn.Identity(), batch).by_name
        {'cross_entropy': tensor(2.1269)}
    """

    class_weights: Tensor | None

    def __init__(
        self,
        class_counts: Sequence[int],
        label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0,
        class_weights: ClassWeights = None,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"objective.label_smoothing must lie in [0, 1), found {label_smoothing}")
        self.label_smoothing = label_smoothing
        weights = given_weights(class_weights, len(class_counts), lambda: _balanced(class_counts))
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, backbone: Backbone, batch: Labelled) -> Losses:
        """Return the cross entropy of a batch.

        Raises:
            ValueError: If images have several labels.
        """
        if batch.target.ndim != 1:
            raise ValueError(
                "objective=cross_entropy trains on one class per image, "
                f"found a target of shape {tuple(batch.target.shape)}"
            )
        logits = backbone(batch.images)
        loss = F.cross_entropy(logits, batch.target, self.class_weights, label_smoothing=self.label_smoothing)
        return Losses({"cross_entropy": loss}, logits)


def _balanced(counts: Sequence[int]) -> Tensor:
    empty = [index for index, count in enumerate(counts) if count == 0]
    if empty:
        raise ValueError(
            "objective.class_weights=balanced divides by each class's number of training images, but classes "
            f"{', '.join(map(str, empty))} (0-based) have none; give a list of weights, or remove these classes"
        )
    return torch.tensor([sum(counts) / (len(counts) * count) for count in counts])
