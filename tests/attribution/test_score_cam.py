import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from camloc.attribution.score_cam import score_cam
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]


class Counting(nn.Module):
    """The maps are the image's channels; the logits the sums of the first two. Counts the images that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        return images


class Sums(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps[:, :2].sum(dim=(2, 3))


IMAGES = torch.tensor([[[[1.0, 0.0, 3.0]], [[0.0, 2.0, 1.0]], [[5.0, 5.0, 5.0]]]])
BOTH = Pairs(image_index=torch.tensor([0, 0]), classes=torch.tensor([1, 0]))


def test_by_hand(halves: Halves) -> None:
    counting = Counting()
    found = score_cam(halves(counting, Sums()), IMAGES, lambda _: BOTH)
    # Masks: (1/3, 0, 1), (0, 1, 1/2), nothing. Logits of the masked images: class 0: 10/3, 3/2, 0; class 1: 1, 5/2, 0.
    expected = []
    for logits in ((1.0, 2.5, 0.0), (10 / 3, 1.5, 0.0)):
        powers = [math.exp(logit) for logit in logits]
        weights = torch.tensor(powers) / sum(powers)
        expected.append((weights[:, None, None] * IMAGES[0]).sum(dim=0))
    torch.testing.assert_close(found.cams, torch.stack(expected))
    assert counting.seen == [1, 3]  # both classes of the image share the masked images


def test_batches_of_masked_images_change_nothing(halves: Halves) -> None:
    counting = Counting()
    found = score_cam(halves(counting, Sums()), IMAGES, lambda _: BOTH, batch_size=2)
    assert counting.seen == [1, 2, 1]
    assert torch.equal(found.cams, score_cam(halves(Counting(), Sums()), IMAGES, lambda _: BOTH).cams)


def test_maps_of_the_highest_variance_alone(halves: Halves) -> None:
    counting = Counting()
    found = score_cam(halves(counting, Sums()), IMAGES, lambda _: BOTH, num_maps=1)
    assert counting.seen == [1, 1]
    assert found.cams.tolist() == [[[1.0, 0.0, 3.0]]] * 2  # one weight is 1


def test_maps_are_upsampled_before_they_are_scaled(halves: Halves) -> None:
    class Seen(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps.sum(dim=(2, 3))

    masked: list[Tensor] = []

    class Pool(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            masked.append(images)
            return images.mean(dim=2, keepdim=True).unfold(3, 2, 2).mean(dim=4)  # 1 x 4 to 1 x 2

    images = torch.tensor([[[[0.0, 0.0, 4.0, 4.0]]]]) + 1
    score_cam(halves(Pool(), Seen()), images, lambda _: Pairs.of_target(torch.tensor([0])))
    torch.testing.assert_close(masked[1], images * torch.tensor([0.0, 0.25, 0.75, 1.0]))
