"""The contract, kept by every backbone of the room."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from camloc.backbones.alexnet import alexnet_gap
from camloc.backbones.gap import GapBackbone
from camloc.backbones.googlenet import googlenet_gap
from camloc.backbones.vgg import vgg_gap

NUM_CLASSES = 7
FACTORIES: dict[str, Callable[[], GapBackbone]] = {
    "alexnet": partial(alexnet_gap, NUM_CLASSES),
    "alexnet_bn": partial(alexnet_gap, NUM_CLASSES, batch_norm=True),
    "vgg": partial(vgg_gap, NUM_CLASSES),
    "vgg_bn": partial(vgg_gap, NUM_CLASSES, batch_norm=True),
    "googlenet": partial(googlenet_gap, NUM_CLASSES),
}


@pytest.fixture(scope="module", params=FACTORIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def backbone(name: str) -> GapBackbone:
    torch.manual_seed(0)
    backbone = FACTORIES[name]()
    nn.init.normal_(backbone.head.linear.bias)  # it starts at 0, where no test would miss it
    return backbone


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def test_shapes_on_images_that_are_not_square(name: str, backbone: GapBackbone, images: torch.Tensor) -> None:
    num_maps, height, width = (512, 3, 5) if "alexnet" in name else (1024, 4, 6)
    with torch.inference_mode():
        feature_maps = backbone.eval().forward_features(images)
        logits = backbone.forward_head(feature_maps)
    assert feature_maps.shape == (2, num_maps, height, width)
    assert logits.shape == (2, NUM_CLASSES)
    assert backbone.class_weights.shape == (NUM_CLASSES, num_maps)
    assert backbone.class_bias.shape == (NUM_CLASSES,)
    assert backbone.num_classes == NUM_CLASSES


def test_forward_is_head_of_features(backbone: GapBackbone, images: torch.Tensor) -> None:
    backbone.eval()
    with torch.inference_mode():
        assert torch.equal(backbone(images), backbone.forward_head(backbone.forward_features(images)))


def test_logit_is_spatial_mean_of_cam_plus_bias(backbone: GapBackbone, images: torch.Tensor) -> None:
    backbone.eval()
    with torch.inference_mode():
        feature_maps = backbone.forward_features(images)
        logits = backbone(images)
        for target in range(NUM_CLASSES):
            cam = (backbone.class_weights[target, :, None, None] * feature_maps).sum(dim=1)
            expected = cam.mean(dim=(1, 2)) + backbone.class_bias[target]
            torch.testing.assert_close(logits[:, target], expected, rtol=1e-4, atol=1e-5)


def test_gradient_reaches_every_parameter(backbone: GapBackbone, images: torch.Tensor) -> None:
    torch.manual_seed(2)
    loss = nn.functional.cross_entropy(backbone.train()(images), torch.tensor([0, 3]))
    names, parameters = zip(*backbone.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters)  # raises for a parameter that the loss does not see
    for name, gradient in zip(names, gradients, strict=True):
        assert gradient.isfinite().all(), name
        assert gradient.any() or name in biases_before_batch_norm(backbone), name


def biases_before_batch_norm(backbone: GapBackbone) -> set[str]:
    """Batch norm subtracts them again; torchvision's VGG16_BN has them all the same."""
    assert isinstance(backbone.trunk, nn.Sequential)
    layers = list(backbone.trunk)
    followed = (i for i, layer in enumerate(layers[1:]) if isinstance(layer, nn.BatchNorm2d))
    return {f"trunk.{i}.bias" for i in followed}


def test_new_layers_are_all_but_the_trunk(backbone: GapBackbone) -> None:
    new = [id(parameter) for parameter in backbone.new_layers()]
    trunk = [id(parameter) for parameter in backbone.trunk.parameters()]
    assert sorted(new + trunk) == sorted(id(parameter) for parameter in backbone.parameters())
    assert id(backbone.class_weights) in new
    assert id(backbone.class_bias) in new


def test_random_weights_keep_the_signal(backbone: GapBackbone, images: torch.Tensor) -> None:
    # Torch's own start loses a factor of about 2.4 per layer, which leaves VGG no signal to train on.
    with torch.inference_mode():
        feature_maps = backbone.train().forward_features(images)
    assert 0.1 < feature_maps.std() < 10


def test_same_seed_same_weights(name: str) -> None:
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(FACTORIES[name]().state_dict())
    first, second, other = states
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["head.linear.weight"], other["head.linear.weight"])


@pytest.mark.parametrize(
    ("name", "shape"), [("alexnet", (512, 13, 13)), ("vgg", (1024, 14, 14)), ("googlenet", (1024, 14, 14))]
)
def test_map_sizes_of_the_paper(name: str, shape: tuple[int, int, int]) -> None:
    with torch.inference_mode():
        assert FACTORIES[name]().eval().forward_features(torch.zeros(1, 3, 224, 224)).shape == (1, *shape)


@pytest.mark.parametrize("name", ["alexnet_bn", "googlenet"])
def test_largest_size(name: str) -> None:
    height, width = (15, 7) if name == "alexnet_bn" else (16, 8)
    with torch.inference_mode():
        feature_maps = FACTORIES[name]().eval().forward_features(torch.zeros(1, 3, 256, 128))
    assert feature_maps.shape[2:] == (height, width)


@pytest.mark.parametrize("name", ["alexnet", "vgg", "googlenet"])
def test_dropout_is_the_releases(name: str) -> None:
    expected = {"alexnet": 0.5, "vgg": 0.5, "googlenet": 0.0}[name]
    backbone = FACTORIES[name]()
    assert backbone.head.dropout.p == expected


def test_dropout_acts_on_the_pooled_maps_in_training_only() -> None:
    backbone = GapBackbone(nn.Identity(), nn.Identity(), num_maps=3, num_classes=2, dropout=1.0)
    nn.init.constant_(backbone.head.linear.bias, 5.0)
    images = torch.ones(1, 3, 4, 4)
    assert backbone.train()(images).tolist() == [[5.0, 5.0]]  # everything dropped but the bias
    expected = backbone.class_weights.sum(dim=1) + 5.0
    torch.testing.assert_close(backbone.eval()(images)[0], expected)


def test_logits_by_hand() -> None:
    backbone = GapBackbone(nn.Identity(), nn.Identity(), num_maps=3, num_classes=2)
    with torch.no_grad():
        backbone.class_weights.copy_(torch.tensor([[1.0, 0.0, 0.0], [1.0, -2.0, 4.0]]))
        backbone.class_bias.copy_(torch.tensor([0.5, 0.0]))
    images = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]], [[2.0, 2.0]]]])  # means 2, 0.5, 2
    assert backbone(images).tolist() == [[2.5, 9.0]]
