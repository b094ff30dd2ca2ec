"""Grad-CAM as two published packages compute it with hooks, on published networks with random weights."""

from collections.abc import Callable, Iterable

import pytest
import torch
import torchvision
from pytorch_grad_cam import GradCAM as HookedGradCAM  # type: ignore[import-untyped] # publishes no types
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # type: ignore[import-untyped] # the same
from torch import Tensor, nn
from torchcam.methods import GradCAM as TorchcamGradCAM

from camloc.attribution.grad_cam import grad_cam
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]
PAIRS = Pairs(image_index=torch.tensor([0, 1, 0]), classes=torch.tensor([3, 1, 7]))
IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def vgg16() -> tuple[nn.Module, list[nn.Module], list[nn.Module]]:
    model = torchvision.models.vgg16(weights=None, num_classes=10)
    return model, list(model.features[:30]), [model.features[30], model.avgpool, nn.Flatten(), *model.classifier]


def resnet50() -> tuple[nn.Module, list[nn.Module], list[nn.Module]]:
    model = torchvision.models.resnet50(weights=None, num_classes=10)
    return model, list(model.children())[:-2], [model.avgpool, nn.Flatten(), model.fc]


def googlenet() -> tuple[nn.Module, list[nn.Module], list[nn.Module]]:
    model = torchvision.models.googlenet(weights=None, num_classes=10, aux_logits=False, init_weights=False)
    layers = [layer for layer in model.children() if layer not in {model.avgpool, model.dropout, model.fc}]
    return model, layers, [model.avgpool, nn.Flatten(), model.dropout, model.fc]


@pytest.fixture(scope="module", params=[vgg16, resnet50, googlenet])
def network(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A network, the layer whose maps count, and its two halves."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, first, second = request.param()
    prepare(model.modules(), model)
    return model, nn.Sequential(*first), nn.Sequential(*second)


def prepare(modules: Iterable[nn.Module], model: nn.Module) -> None:
    """Give batch norms the statistics of the images, so that signals reach the end; then switch to evaluation."""
    for module in modules:
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(IMAGES)
    model.eval()


def ours(network: tuple[nn.Module, nn.Module, nn.Module], halves: Halves, *, relu: bool) -> Tensor:
    _, first, second = network
    with torch.inference_mode():
        return grad_cam(halves(first, second), IMAGES, lambda _: PAIRS, relu=relu).cams


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert expected.amax(dim=(1, 2)).min() > 0
    scale = expected.abs().amax(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-4)


def test_pytorch_grad_cam(network: tuple[nn.Module, nn.Sequential, nn.Module], halves: Halves) -> None:
    model, first, _ = network
    layer = first[-1]
    images, targets = IMAGES[PAIRS.image_index], [ClassifierOutputTarget(class_) for class_ in PAIRS.classes.tolist()]
    with HookedGradCAM(model, [layer]) as hooked:
        hooked(images, targets)
        (maps,) = hooked.activations_and_grads.activations
        (gradients,) = hooked.activations_and_grads.gradients
        # The package's map before it is rectified, normalized and resized.
        expected = hooked.get_cam_image(images, layer, targets, maps.numpy(), gradients.numpy())
    assert_same(ours(network, halves, relu=False), torch.from_numpy(expected))


def test_torchcam(network: tuple[nn.Module, nn.Sequential, nn.Module], halves: Halves) -> None:
    model, first, _ = network
    with TorchcamGradCAM(model, first[-1]) as hooked:
        logits = model(IMAGES[PAIRS.image_index])
        (expected,) = hooked(PAIRS.classes.tolist(), logits, normalized=False)
    assert_same(ours(network, halves, relu=True), expected)
