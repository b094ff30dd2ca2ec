"""Methods as two published packages compute them: equal where those follow the paper, and how they differ else."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.contract import Attribution
from camloc.attribution.eigen_cam import eigen_cam
from camloc.attribution.grad_cam_pp import grad_cam_pp
from camloc.attribution.layer_cam import layer_cam
from camloc.attribution.score_cam import score_cam
from camloc.attribution.xgrad_cam import xgrad_cam
from camloc.backbones.contract import Backbone
from camloc.backbones.gap import GapBackbone
from camloc.records import Pairs

hooked = pytest.importorskip("pytorch_grad_cam", reason="an oracle, of the extra dev")
targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets", reason="an oracle, of the extra dev")
torchcam = pytest.importorskip("torchcam.methods", reason="an oracle, of the extra dev")

Halves = Callable[..., Backbone]
Network = tuple[nn.Sequential, nn.Sequential]
PAIRS = Pairs(image_index=torch.tensor([0, 1, 0]), classes=torch.tensor([3, 1, 2]))
IMAGES = torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))


class Scaled(nn.Module):
    """Logits times a number, and their gradients with them."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: Tensor) -> Tensor:
        return logits * self.factor


def network(factor: float = 1.0) -> Network:
    """Maps as large as the images, and a head whose gradients differ from place to place."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
        second = nn.Sequential(
            *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8 * 6 * 8, 16), nn.ReLU(), nn.Linear(16, 5)), Scaled(factor)
        )
    return first.eval(), second.eval()


def of_grad_cam(name: str, parts: Network) -> Tensor:
    """The maps of the package grad-cam, before they are rectified, normalized and resized."""
    first, second = parts
    images = IMAGES[PAIRS.image_index]
    chosen = [targets.ClassifierOutputTarget(class_) for class_ in PAIRS.classes.tolist()]
    with getattr(hooked, name)(nn.Sequential(first, second), [first[-1]]) as method:
        method(images, chosen)
        maps = method.activations_and_grads.activations[0]  # Score-CAM adds those of the masked images
        gradients = [one.numpy() for one in method.activations_and_grads.gradients] or [None]
        raw = method.get_cam_image(images, first[-1], chosen, maps.numpy(), gradients[0], eigen_smooth=False)
    return torch.as_tensor(raw, dtype=torch.float32)


def of_torchcam(name: str, parts: Network) -> Tensor:
    first, second = parts
    model = nn.Sequential(first, second)
    with getattr(torchcam, name)(model, first[-1]) as method:
        (cams,) = method(PAIRS.classes.tolist(), model(IMAGES[PAIRS.image_index]), normalized=False)
    assert isinstance(cams, Tensor)
    return cams


def ours(method: Attribution, halves: Halves, parts: Network, **options: object) -> Tensor:
    with torch.inference_mode():
        return method(halves(*parts), IMAGES, lambda _: PAIRS, **options).cams


def assert_same(found: Tensor, expected: Tensor) -> None:
    scale = expected.abs().amax(dim=(1, 2), keepdim=True)
    assert scale.min() > 0
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-4)


def assert_other(found: Tensor, expected: Tensor) -> None:
    """Maps differ by more than a factor for each pair."""
    cosine = nn.functional.cosine_similarity(found.flatten(1), expected.flatten(1))
    assert cosine.min() < 0.999


def test_xgrad_cam(halves: Halves) -> None:
    found = ours(xgrad_cam, halves, network(), relu=False)
    assert_same(found, of_grad_cam("XGradCAM", network()))
    assert_same(found.relu(), of_torchcam("XGradCAM", network()))


def test_layer_cam_of_one_stage(halves: Halves) -> None:
    found = ours(layer_cam, halves, network(), stages=1)
    assert_same(found, of_grad_cam("LayerCAM", network()))
    assert_same(found, of_torchcam("LayerCAM", network()))


def test_layer_cam_of_three_stages() -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 7, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(7, 8, 3, padding=1), nn.ReLU()),
    )
    backbone = GapBackbone(trunk, nn.Identity(), num_maps=8, num_classes=5, random_trunk=True).eval()
    with torchcam.LayerCAM(backbone, ["trunk.1", "trunk.4", "trunk.7"]) as method:
        cams = method(PAIRS.classes.tolist(), backbone(IMAGES[PAIRS.image_index]), normalized=False)
        # The package normalizes by the minimum too, which the paper does not.
        expected = method.fuse_cams([cam / cam.amax(dim=(1, 2), keepdim=True) for cam in cams])
    with torch.inference_mode():
        assert_same(layer_cam(backbone, IMAGES, lambda _: PAIRS).cams, expected)


def test_grad_cam_pp_where_gradients_are_large(halves: Halves) -> None:
    large = network(factor=1e5)
    assert_same(ours(grad_cam_pp, halves, large), of_grad_cam("GradCAMPlusPlus", large))


def test_grad_cam_pp_of_tiny_gradients_is_swamped_by_the_epsilon_of_grad_cam(halves: Halves) -> None:
    small = network(factor=1e-4)
    found, expected = ours(grad_cam_pp, halves, small), of_grad_cam("GradCAMPlusPlus", small)
    assert_other(found, expected)
    assert_same(expected * 1e-6, cubed_gradients(halves, small))


def test_grad_cam_pp_of_torchcam_does_not_divide(halves: Halves) -> None:
    expected = of_torchcam("GradCAMpp", network())
    assert_other(ours(grad_cam_pp, halves, network()), expected)
    assert_same(expected, cubed_gradients(halves, network()))


def cubed_gradients(halves: Halves, parts: Network) -> Tensor:
    """The sums of the cubes of positive gradients as weights: Grad-CAM++ without its denominator."""
    backbone = halves(*parts)
    maps = backbone.forward_features(IMAGES[PAIRS.image_index]).maps.detach().requires_grad_()
    score = parts[1](maps).gather(1, PAIRS.classes[:, None]).sum()
    (gradients,) = torch.autograd.grad(score, maps)
    return torch.einsum("pk,pkhw->phw", (gradients.relu() ** 3).sum(dim=(2, 3)), maps.detach())


def test_score_cam_where_maps_are_as_large_as_images(halves: Halves) -> None:
    found = ours(score_cam, halves, network())
    assert_same(found, of_grad_cam("ScoreCAM", network()))
    assert_same(found, of_torchcam("ScoreCAM", network()))


def test_eigen_cam(halves: Halves) -> None:
    expected = of_grad_cam("EigenCAM", network())
    found = ours(eigen_cam, halves, network(), centred=True)
    signs = (found * expected).sum(dim=(1, 2)).sign()[:, None, None]  # the package keeps whatever sign comes out
    assert_same(found, expected * signs)
    assert_other(ours(eigen_cam, halves, network()), expected * signs)
