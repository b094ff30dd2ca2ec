"""Methods that need gradients take them anywhere, and leave nothing behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.contract import Attributed, Attribution
from camloc.attribution.grad_cam import grad_cam
from camloc.attribution.gradients import with_gradients
from camloc.attribution.saliency import saliency
from camloc.attribution.score_map import score_map
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]
METHODS: list[Attribution] = [grad_cam, partial(grad_cam, relu=False), saliency]


def network(halves: Halves) -> Backbone:
    """Both halves start with a layer that works in place."""
    torch.manual_seed(0)
    first = nn.Sequential(nn.LeakyReLU(0.5, inplace=True), nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
    second = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone = halves(first, second)
    assert isinstance(backbone, nn.Module)
    backbone.eval()
    return backbone


def attributed(method: Attribution, backbone: Backbone) -> Attributed:
    # Made in here, so that inference mode makes them its own.
    images = torch.linspace(-1, 1, 2 * 3 * 6 * 5).sin().view(2, 3, 6, 5) * 2
    pairs = Pairs(image_index=torch.tensor([1, 0, 1]), classes=torch.tensor([4, 2, 0]))
    return method(backbone, images, lambda _: pairs)


@contextmanager
def autocast_after_a_pass(backbone: Backbone) -> Iterator[None]:
    """Inference under autocast, which keeps the half-precision weights of the first pass for the next."""
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        backbone(torch.zeros(1, 3, 6, 5))
        yield


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_mode_changes_nothing(
    method: Attribution, mode: Callable[[], torch.no_grad], halves: Halves
) -> None:
    backbone = network(halves)
    expected = attributed(method, backbone)
    with mode():
        found = attributed(method, backbone)
        assert not torch.is_grad_enabled()
    assert expected.cams.any()
    assert torch.equal(found.cams, expected.cams)
    assert torch.equal(found.logits, expected.logits)
    assert not found.cams.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_maps_keep_full_precision_under_autocast(method: Attribution, halves: Halves) -> None:
    backbone = network(halves)
    expected = attributed(method, backbone)
    with autocast_after_a_pass(backbone):
        found = attributed(method, backbone)
    assert found.cams.dtype == torch.float32
    assert (found.cams != found.cams.bfloat16()).any()
    torch.testing.assert_close(found.cams, expected.cams, rtol=0, atol=0.05 * expected.cams.abs().max().item())


@pytest.mark.parametrize("method", METHODS)
def test_frozen_parameters_make_no_difference(method: Attribution, halves: Halves) -> None:
    backbone = network(halves)
    expected = attributed(method, backbone)
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    assert torch.equal(attributed(method, backbone).cams, expected.cams)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_behind(method: Attribution, halves: Halves) -> None:
    backbone = network(halves)
    assert isinstance(backbone, nn.Module)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    images = torch.randn(1, 3, 6, 5)
    kept = images.clone()
    method(backbone, images, lambda _: Pairs.of_target(torch.tensor([3])))
    assert not images.requires_grad
    assert images.grad is None
    if method is saliency:
        assert torch.equal(images, kept)  # the first half alone would have changed them in place
    for module in backbone.modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
        assert not any(hooks)
    for parameter in backbone.parameters():
        assert parameter.grad is None
        assert parameter.requires_grad
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("method", METHODS)
def test_no_pairs(method: Attribution, halves: Halves) -> None:
    found = method(network(halves), torch.ones(2, 3, 6, 5), lambda _: Pairs.of_target(torch.zeros(2, 5).bool()))
    assert found.logits.shape == (2, 5)
    assert found.cams.shape == (0, 6, 5)
    assert found.cams.dtype == torch.float32


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_what_its_images_give_alone(method: Attribution, halves: Halves) -> None:
    backbone = network(halves)
    images = torch.randn(3, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    choose: Callable[[Tensor], Pairs] = lambda logits: Pairs.most_likely(logits, count=3)  # noqa: E731 - typed so
    together = method(backbone, images.clone(), choose).cams
    alone = [method(backbone, image[None].clone(), choose).cams for image in images]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("method", METHODS)
def test_nan_spoils_only_the_map_of_its_image(method: Attribution, halves: Halves) -> None:
    images = torch.ones(2, 3, 6, 5)
    images[0, 1, 2, 2] = torch.nan
    cams = method(network(halves), images, lambda _: Pairs.of_target(torch.tensor([0, 0]))).cams
    assert cams[0].isnan().any()
    assert cams[1].isfinite().all()
    assert not score_map(cams, (6, 5))[0].any()


@pytest.mark.parametrize("method", METHODS)
def test_a_pair_that_does_not_exist_is_refused(method: Attribution, halves: Halves) -> None:
    with pytest.raises(ValueError, match=r"classes of pairs must lie in 0\.\.4, found \[5\]"):
        method(network(halves), torch.ones(1, 3, 6, 5), lambda _: Pairs.of_target(torch.tensor([5])))


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
def test_the_context_ends_with_itself(mode: Callable[[], torch.no_grad]) -> None:
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with with_gradients(torch.device("cpu")):
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
