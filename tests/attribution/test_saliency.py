from collections.abc import Callable

import torch
from torch import nn

from camloc.attribution.saliency import saliency
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]


def test_by_hand_on_a_linear_network(halves: Halves) -> None:
    # 3 channels of 1 x 2 pixels, two classes; the gradient is the weight, whatever the image.
    linear = nn.Linear(6, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2.0, -3.0, 0.0, 0.5, -1.0], [0.0, 0.0, 0.0, -7.0, 0.0, 0.0]]))
    pairs = Pairs(image_index=torch.tensor([1, 0, 1]), classes=torch.tensor([0, 1, 1]))
    found = saliency(
        halves(nn.Identity(), nn.Sequential(nn.Flatten(), linear)), torch.randn(2, 3, 1, 2), lambda _: pairs
    )
    assert found.cams.tolist() == [[[3.0, 2.0]], [[0.0, 7.0]], [[0.0, 7.0]]]


def test_agrees_with_finite_differences(halves: Halves) -> None:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 6, 3, stride=2, padding=1)).double()
    second = nn.Sequential(nn.Tanh(), nn.Conv2d(6, 5, 2), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    backbone = halves(first, second)
    images = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    found = saliency(backbone, images, lambda logits: Pairs.most_likely(logits, count=5))
    assert found.cams.shape == (10, 6, 8)
    step = 1e-5
    shifts = torch.eye(3 * 6 * 8, dtype=torch.float64).view(-1, 3, 6, 8) * step
    with torch.no_grad():
        slopes = [(backbone(image + shifts) - backbone(image - shifts)) / (2 * step) for image in images]
    expected = torch.stack(slopes).view(2, 3, 6, 8, 5).abs().amax(dim=1)  # (B,H,W,C)
    for place, (image, class_) in enumerate(zip(*[index.tolist() for index in found.pairs], strict=True)):
        torch.testing.assert_close(found.cams[place].double(), expected[image, :, :, class_], rtol=1e-5, atol=1e-9)


def test_one_pass_forward_whatever_the_pairs(halves: Halves) -> None:
    calls: list[int] = []

    class Counting(nn.Identity):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            calls.append(len(images))
            return images

    backbone = halves(Counting(), nn.Flatten())
    found = saliency(backbone, torch.ones(2, 3, 1, 1), lambda logits: Pairs.most_likely(logits, count=3))
    assert calls == [2]
    assert found.cams.flatten().tolist() == [1.0] * 6  # each pixel is a logit of its own


def test_size_is_that_of_the_images(halves: Halves) -> None:
    backbone = halves(nn.AvgPool2d(4), nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()))
    images = torch.zeros(1, 3, 8, 12)
    images[0, 1, 4:, 8:] = 1.0  # the largest mean of a 4 x 4 block
    found = saliency(backbone, images, lambda _: Pairs.of_target(torch.tensor([1])))
    expected = torch.zeros(1, 8, 12)
    expected[0, 4:, 8:] = 1 / 16
    assert torch.equal(found.cams, expected)
