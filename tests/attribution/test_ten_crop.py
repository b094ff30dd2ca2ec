import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.cam import cam
from camloc.attribution.contract import Attribution, Cropping
from camloc.attribution.grad_cam import grad_cam
from camloc.attribution.saliency import saliency
from camloc.attribution.ten_crop import Merge, TenCrop
from camloc.attribution.views import Flip
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]
REFERENCE = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "ten_crop.py"))


@pytest.fixture
def backbone(halves: Halves) -> Backbone:
    """Three maps at half the size, and four classes."""
    torch.manual_seed(0)
    head = nn.Linear(3, 4)
    second = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return halves(nn.Conv2d(3, 3, 3, stride=2, padding=1), second, head.weight.detach())


def crops_of(image: Tensor, size: tuple[int, int]) -> list[Tensor]:
    (rows, columns), (height, width) = size, image.shape[1:]
    places = [(0, 0), (0, width - columns), (height - rows, 0), (height - rows, width - columns)]
    places.append(((height - rows) // 2, (width - columns) // 2))
    crops = [image[:, top : top + rows, left : left + columns] for top, left in places]
    return [*crops, *(crop.flip(2) for crop in crops)]


@pytest.mark.parametrize("attribution", [cam, partial(grad_cam, relu=False), saliency])
@pytest.mark.parametrize(
    ("size", "share", "crop"), [((16, 16), 0.875, (14, 14)), ((13, 18), 0.7, (9, 13)), ((7, 9), 1.0, (7, 9))]
)
@pytest.mark.parametrize("merge", ["paper", "released"])
def test_agrees_with_a_loop_over_crops(
    backbone: Backbone,
    attribution: Attribution,
    size: tuple[int, int],
    share: float,
    crop: tuple[int, int],
    merge: Merge,
) -> None:
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    pairs = Pairs(image_index=torch.tensor([1, 0, 1, 1]), classes=torch.tensor([0, 3, 2, 0]))
    with torch.no_grad():
        found = TenCrop(attribution, share, merge)(backbone, images, lambda _: pairs)
        for image, logits in zip(images, found.logits, strict=True):
            means = torch.stack([backbone(one[None])[0] for one in crops_of(image, crop)]).mean(dim=0)
            torch.testing.assert_close(logits, means)
        assert (found.pairs.image_index.tolist(), found.pairs.classes.tolist()) == ([1, 0, 1, 1], [0, 3, 2, 0])
        for place, (image_index, class_) in enumerate([(1, 0), (0, 3), (1, 2)]):  # the fourth is the first again

            def map_of(seen: Tensor, class_: int = class_) -> Tensor:
                return attribution(backbone, seen[None], lambda _: Pairs.of_target(torch.tensor([class_]))).cams[0]

            expected = REFERENCE["merged"](map_of, images[image_index], crop, released=merge == "released")
            torch.testing.assert_close(found.cams[place], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.cams[3], found.cams[0])


@pytest.mark.parametrize(("merge", "expected"), [("paper", [1.0, 1.0, 1.0, 1.0]), ("released", [6.0, 10.0, 10.0, 4.0])])
def test_by_hand_how_often_a_pixel_is_seen(halves: Halves, merge: Merge, expected: list[float]) -> None:
    # Crops of 3 of 4 columns start at 0, 1, 0, 1 and 0; the map is 1 wherever it is seen.
    backbone = halves(nn.Identity(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.ones(1, 1))
    views = TenCrop(cam, 0.75, merge)
    found = views(backbone, torch.ones(1, 1, 1, 4), lambda _: Pairs.of_target(torch.tensor([0])))
    assert found.cams.tolist() == [[expected]]


def test_released_sums_absolute_values(halves: Halves) -> None:
    backbone = halves(nn.Identity(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.ones(1, 1))
    images = torch.tensor([[[[1.0, -2.0]]]])

    def choose(_: Tensor) -> Pairs:
        return Pairs.of_target(torch.tensor([0]))

    assert TenCrop(cam, 1, "released")(backbone, images, choose).cams.tolist() == [[[10.0, 20.0]]]
    assert TenCrop(cam, 1, "paper")(backbone, images, choose).cams.tolist() == [[[1.0, -2.0]]]


def test_no_pairs_and_inference_mode(backbone: Backbone) -> None:
    with torch.inference_mode():
        found = TenCrop(cam)(backbone, torch.ones(2, 3, 8, 8), lambda logits: Pairs.of_target(logits > torch.inf))
    assert found.cams.shape == (0, 8, 8)


@pytest.mark.parametrize("share", [224 / 256, 227 / 256, 0.51, 0.7, 1.0])
def test_the_crops_of_the_image_that_is_asked_for_have_the_size_of_the_input(share: float) -> None:
    views = TenCrop(cam, share)
    assert isinstance(views, Cropping)
    for input_size in range(1, 400):
        image_size = views.image_size(input_size)
        crop = round(image_size * share)
        assert crop == input_size
        assert 2 * crop >= image_size  # corners cover the image
    assert not isinstance(Flip(cam), Cropping)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"views.crop_share is a fraction in \(0.5, 1\], found 0.5"):
        TenCrop(cam, 0.5)
    with pytest.raises(ValueError, match=r"views\.merge must be one of"):
        TenCrop(cam, merge="sum")  # type: ignore[arg-type] # what is tried
