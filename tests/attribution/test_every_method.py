"""What holds for every method: a pair sees no other, nothing is left behind, and nothing degenerate breaks it."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.bag_cams import bag_cams
from camloc.attribution.cam import cam
from camloc.attribution.contract import Attribution
from camloc.attribution.eigen_cam import eigen_cam
from camloc.attribution.grad_cam import grad_cam
from camloc.attribution.grad_cam_pp import grad_cam_pp
from camloc.attribution.layer_cam import layer_cam
from camloc.attribution.pc1 import pc1
from camloc.attribution.saliency import saliency
from camloc.attribution.score_cam import score_cam
from camloc.attribution.xgrad_cam import xgrad_cam
from camloc.backbones.gap import GapBackbone
from camloc.records import Pairs

METHODS: dict[str, Attribution] = {
    "cam": cam,
    "grad_cam": grad_cam,
    "grad_cam_pp": grad_cam_pp,
    "xgrad_cam": xgrad_cam,
    "layer_cam": layer_cam,
    "layer_cam, one stage": partial(layer_cam, stages=1),
    "bag_cams": bag_cams,
    "bag_cams, a stage before": partial(bag_cams, stage=2),
    "score_cam": score_cam,
    "score_cam, few maps": partial(score_cam, num_maps=3, batch_size=2),
    "eigen_cam": eigen_cam,
    "eigen_cam, centred": partial(eigen_cam, centred=True),
    "pc1": pc1,
    "saliency": saliency,
}
PAIRS = Pairs(image_index=torch.tensor([2, 0, 2, 1]), classes=torch.tensor([0, 3, 1, 1]))


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Attribution:
    return METHODS[request.param]


@pytest.fixture
def backbone() -> GapBackbone:
    torch.manual_seed(0)
    trunk = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 7, 3, padding=1), nn.BatchNorm2d(7), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(7, 8, 3, padding=1), nn.ReLU(inplace=True)),
    )
    return GapBackbone(trunk, nn.Identity(), num_maps=8, num_classes=4, random_trunk=True).eval()


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    """As an evaluation calls a method."""
    with torch.no_grad():
        yield


def images() -> Tensor:
    return torch.randn(3, 3, 12, 20, generator=torch.Generator().manual_seed(1))


def chosen(pairs: Pairs) -> Callable[[Tensor], Pairs]:
    return lambda _: pairs


def test_a_map_depends_on_its_own_image_and_class_alone(method: Attribution, backbone: GapBackbone) -> None:
    logits, pairs, cams = method(backbone, images(), chosen(PAIRS))
    assert pairs is PAIRS
    assert cams.dtype == torch.float32
    torch.testing.assert_close(logits, backbone(images()))
    assert cams.flatten(1).std(dim=1).min() > 0
    for place, (image, class_) in enumerate(zip(*[index.tolist() for index in PAIRS], strict=True)):
        alone = method(backbone, images()[image][None], chosen(Pairs.of_target(torch.tensor([class_]))))
        torch.testing.assert_close(cams[place], alone.cams[0], rtol=1e-4, atol=float(cams[place].abs().max()) * 1e-5)


def test_no_pairs(method: Attribution, backbone: GapBackbone) -> None:
    none = Pairs(PAIRS.image_index[:0], PAIRS.classes[:0])
    found = method(backbone, images(), chosen(none))
    assert found.cams.shape == (0, *method(backbone, images(), chosen(PAIRS)).cams.shape[1:])
    assert found.cams.dtype == torch.float32


def test_in_inference_mode_with_frozen_parameters_nothing_is_left_behind(
    method: Attribution, backbone: GapBackbone
) -> None:
    expected = method(backbone, images(), chosen(PAIRS))
    backbone.requires_grad_(requires_grad=False)
    with torch.inference_mode():
        found = method(backbone, images(), chosen(PAIRS))
    torch.testing.assert_close(found.cams, expected.cams)
    assert not found.cams.requires_grad
    assert not found.logits.requires_grad
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in backbone.parameters())


def test_mixed_precision(method: Attribution, backbone: GapBackbone) -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = method(backbone, images(), chosen(PAIRS))
    assert found.cams.dtype == torch.float32
    assert found.cams.isfinite().all()


def test_an_image_that_is_not_finite_spoils_no_other(method: Attribution, backbone: GapBackbone) -> None:
    spoilt = images()
    spoilt[1] = torch.nan
    found = method(backbone, spoilt, chosen(PAIRS)).cams
    expected = method(backbone, images(), chosen(PAIRS)).cams
    torch.testing.assert_close(found[:3], expected[:3], rtol=1e-4, atol=float(expected.abs().max()) * 1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_constant_images(method: Attribution, backbone: GapBackbone, value: float) -> None:
    assert method(backbone, torch.full((3, 3, 12, 20), value), chosen(PAIRS)).cams.isfinite().all()


def test_one_pixel_of_maps(method: Attribution, backbone: GapBackbone) -> None:
    assert method(backbone, images()[:, :, :4, :4], chosen(PAIRS)).cams.isfinite().all()


def test_negative_maps(method: Attribution) -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 6, 3), nn.MaxPool2d(2), nn.Conv2d(6, 6, 1), nn.MaxPool2d(2), nn.Conv2d(6, 8, 1))
    backbone = GapBackbone(trunk, nn.Identity(), num_maps=8, num_classes=4, random_trunk=True).eval()
    assert backbone.forward_features(images()).maps.min() < 0
    assert method(backbone, images(), chosen(PAIRS)).cams.isfinite().all()


@pytest.mark.parametrize(("image", "class_"), [(3, 0), (-1, 0), (0, 4), (0, -1)])
def test_a_pair_of_no_image_or_no_class_is_refused(
    method: Attribution, backbone: GapBackbone, image: int, class_: int
) -> None:
    with pytest.raises(ValueError, match=r"of pairs must lie in 0\.\."):
        method(backbone, images(), chosen(Pairs(torch.tensor([image]), torch.tensor([class_]))))
