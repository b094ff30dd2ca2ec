import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from camloc.backbones.contract import Features, InputSpec
from camloc.objectives.classification import CrossEntropy
from camloc.objectives.contract import Labelled, Losses


class GivenLogits(nn.Module):
    """A backbone whose images are its logits."""

    input_spec = InputSpec()
    num_classes = 3
    class_weights = None

    def forward_features(self, images: Tensor) -> Features:
        return Features(images)

    def forward_head(self, features: Features) -> Tensor:
        return features.maps

    def forward(self, images: Tensor) -> Tensor:
        return images

    def new_layers(self) -> Iterator[nn.Parameter]:
        yield from self.parameters()


def loss(objective: CrossEntropy, logits: Tensor, target: Tensor) -> Tensor:
    losses: Losses = objective(GivenLogits(), Labelled(logits, target))
    assert losses.by_name.keys() == {"cross_entropy"}
    assert losses.logits is logits
    return losses.by_name["cross_entropy"]


def test_defaults_are_torchs_cross_entropy_to_the_bit() -> None:
    logits = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    target = torch.arange(16) % 3
    assert torch.equal(loss(CrossEntropy([5, 0, 2]), logits, target), cross_entropy(logits, target))


# Softmax of (log 1, log 2, log 5) is 1/8, 2/8, 5/8.
LOGITS = torch.tensor([[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]]).log()
TARGET = torch.tensor([0, 2])
LOSSES = (math.log(8), math.log(8 / 5))


def test_smoothed_labels_by_hand() -> None:
    # 0.7 of the target's loss and 0.1 of each class's.
    each = [0.7 * one + 0.1 * (math.log(8) + math.log(4) + math.log(8 / 5)) for one in LOSSES]
    found = loss(CrossEntropy([1, 1, 1], label_smoothing=0.3), LOGITS, TARGET)
    torch.testing.assert_close(found, torch.tensor(sum(each) / 2))


def test_weighted_classes_by_hand() -> None:
    found = loss(CrossEntropy([1, 1, 1], class_weights=[3.0, 100.0, 1.0]), LOGITS, TARGET)
    torch.testing.assert_close(found, torch.tensor((3 * LOSSES[0] + LOSSES[1]) / 4))


def test_balanced_by_hand() -> None:
    objective = CrossEntropy([60, 30, 10], class_weights="balanced")
    assert objective.class_weights is not None
    torch.testing.assert_close(objective.class_weights, torch.tensor([100 / 180, 100 / 90, 100 / 30]))


def test_weights_follow_the_device_but_are_no_part_of_a_checkpoint() -> None:
    objective = CrossEntropy([1, 3], class_weights="balanced")
    assert [name for name, _ in objective.named_buffers()] == ["class_weights"]
    assert objective.state_dict() == {}
    assert list(objective.parameters()) == []


def test_gradients_reach_the_logits() -> None:
    logits = LOGITS.clone().requires_grad_()
    (gradients,) = torch.autograd.grad(loss(CrossEntropy([1, 1, 1]), logits, TARGET), logits)
    torch.testing.assert_close(gradients[0], torch.tensor([-7.0, 2.0, 5.0]) / 8 / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": -0.1}, r"objective\.label_smoothing must lie in \[0, 1\), found -0\.1"),
        ({"label_smoothing": 1.0}, r"objective\.label_smoothing must lie in \[0, 1\), found 1\.0"),
        ({"label_smoothing": math.nan}, r"objective\.label_smoothing .* found nan"),
        ({"class_weights": "balance"}, r"objective\.class_weights must be null, balanced or a list .* found 'balance'"),
        ({"class_weights": [1.0, 2.0]}, r"objective\.class_weights must list one number for each of the 3 .* found 2"),
        ({"class_weights": []}, r"objective\.class_weights must list one number for each of the 3 .* found 0"),
        ({"class_weights": [1, 0, -2]}, r"objective\.class_weights must be positive and finite, found 0, -2"),
        ({"class_weights": [1, math.inf, math.nan]}, r"objective\.class_weights .* found inf, nan"),
        ({"class_weights": [1, "2", None]}, r"objective\.class_weights .* found '2', None"),
        ({"class_weights": "balanced"}, r"objective\.class_weights=balanced .* classes 1, 2 \(0-based\) have none"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CrossEntropy([4, 0, 0], **options)


def test_several_labels_per_image_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one class per image, found a target of shape \(2, 3\)"):
        loss(CrossEntropy([1, 1, 1]), LOGITS, torch.ones(2, 3).bool())


@pytest.mark.parametrize("weights", [None, "balanced", [1, 2.5]])
def test_built_from_a_configuration(weights: str | list[float] | None) -> None:
    config = OmegaConf.create(
        {
            "_target_": "camloc.objectives.classification.CrossEntropy",
            "_partial_": True,
            "label_smoothing": 0.1,
            "class_weights": weights,
        }
    )
    objective = instantiate(config)(class_counts=[1, 4])
    expected = {None: None, "balanced": [2.5, 0.625]}.get(weights) if not isinstance(weights, list) else weights
    assert (None if objective.class_weights is None else objective.class_weights.tolist()) == expected
