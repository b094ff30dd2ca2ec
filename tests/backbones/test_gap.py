"""The contract, as every GAP network keeps it."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from camloc.backbones.alexnet import alexnet_gap, alexnet_gap_one_conv
from camloc.backbones.contract import Backbone, Features, InputSpec
from camloc.backbones.gap import GapBackbone
from camloc.backbones.googlenet import googlenet_gap
from camloc.backbones.vgg import vgg_gap

NUM_CLASSES = 7
FACTORIES: dict[str, Callable[[], GapBackbone]] = {
    "alexnet": partial(alexnet_gap, NUM_CLASSES),
    "alexnet_bn": partial(alexnet_gap, NUM_CLASSES, batch_norm=True),
    "one_conv": partial(alexnet_gap_one_conv, NUM_CLASSES),
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
    shapes = {"alexnet": (512, 3, 5), "alexnet_bn": (512, 3, 5), "one_conv": (1024, 3, 5)}
    num_maps, height, width = shapes.get(name, (1024, 4, 6))
    with torch.inference_mode():
        features = backbone.eval().forward_features(images)
        logits = backbone.forward_head(features)
    assert features.others == ()
    assert features.maps.shape == (2, num_maps, height, width)
    assert logits.shape == (2, NUM_CLASSES)
    assert backbone.class_weights.shape == (NUM_CLASSES, num_maps)
    assert backbone.num_classes == NUM_CLASSES


def test_forward_is_head_of_features(backbone: GapBackbone, images: torch.Tensor) -> None:
    backbone.eval()
    with torch.inference_mode():
        assert torch.equal(backbone(images), backbone.forward_head(backbone.forward_features(images)))


def test_logit_is_spatial_mean_of_cam_plus_bias(backbone: GapBackbone, images: torch.Tensor) -> None:
    backbone.eval()
    with torch.inference_mode():
        feature_maps = backbone.forward_features(images).maps
        logits = backbone(images)
        for target in range(NUM_CLASSES):
            cam = (backbone.class_weights[target, :, None, None] * feature_maps).sum(dim=1)
            expected = cam.mean(dim=(1, 2)) + backbone.head.linear.bias[target]
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
    assert id(backbone.head.linear.bias) in new


def test_random_weights_keep_the_signal(backbone: GapBackbone, images: torch.Tensor) -> None:
    # Torch's own start loses a factor of about 2.4 per layer, which leaves VGG no signal to train on.
    with torch.inference_mode():
        feature_maps = backbone.train().forward_features(images).maps
    assert 0.1 < feature_maps.std() < 10


# The first weight of trunk, extra and head at seed 0, and the random number that follows all draws.
DRAWS = {
    "alexnet": (-0.07688208669424057, -0.034940145909786224, 0.0003124976356048137, 0.13006728887557983),
    "alexnet_bn": (0.00666389474645257, 0.013564644381403923, -0.002121344208717346, 0.6602280139923096),
    "one_conv": (-0.13313497602939606, -0.035565610975027084, -0.006525346543639898, 0.24497538805007935),
    "vgg": (-0.4523855447769165, 0.047591451555490494, 0.0006248352001421154, 0.6613271832466125),
    "vgg_bn": (-0.16006146371364594, 0.04518117755651474, 0.008948068134486675, 0.22599834203720093),
    "googlenet": (0.12261074036359787, 0.01488442812114954, 0.008488407358527184, 0.8719277381896973),
}


def test_a_seed_gives_the_weights_it_always_gave(name: str) -> None:
    torch.manual_seed(0)
    backbone = FACTORIES[name]()
    first = [next(part.parameters()).flatten()[0] for part in (backbone.trunk, backbone.extra, backbone.head)]
    torch.testing.assert_close(torch.stack([*first, torch.rand(())]), torch.tensor(DRAWS[name]))


def test_a_trunk_keeps_its_weights() -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(2), nn.Linear(36, 36), nn.Unflatten(2, (6, 6))
    )
    trunk.state_dict()["1.running_mean"].fill_(3.0)
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    backbone = GapBackbone(trunk, nn.Conv2d(4, 4, 1), num_maps=4, num_classes=2)
    after = backbone.trunk.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_what_follows_a_trunk_starts_anew() -> None:
    torch.manual_seed(0)
    extra = nn.Conv2d(64, 256, 1)
    nn.init.constant_(extra.weight, 7.0)
    backbone = GapBackbone(nn.Identity(), extra, num_maps=256, num_classes=100)
    assert extra.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)  # He et al.
    assert backbone.class_weights.std().item() == pytest.approx(0.01, rel=0.05)
    assert not extra.state_dict()["bias"].any()
    assert not backbone.head.linear.bias.any()


def test_keys_of_a_checkpoint() -> None:
    backbone = GapBackbone(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 5, 1)), num_maps=5, num_classes=2)
    expected = [
        "trunk.weight",
        "trunk.bias",
        "extra.0.weight",
        "extra.0.bias",
        "head.linear.weight",
        "head.linear.bias",
    ]
    assert list(backbone.state_dict()) == expected


def test_input_spec_is_imagenets_unless_given() -> None:
    spec = InputSpec(size=160, mean=(0.5,), std=(0.25,))
    assert GapBackbone(nn.Identity(), nn.Identity(), 1, 2, input_spec=spec).input_spec == spec
    backbone: Backbone = GapBackbone(nn.Identity(), nn.Identity(), 3, 2)
    assert backbone.input_spec == InputSpec(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (spec.channels, backbone.input_spec.channels) == (1, 3)


def test_same_seed_same_weights(name: str) -> None:
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(FACTORIES[name]().state_dict())
    first, second, other = states
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["head.linear.weight"], other["head.linear.weight"])


@pytest.mark.parametrize(
    ("name", "shape"),
    [("alexnet", (512, 13, 13)), ("one_conv", (1024, 13, 13)), ("vgg", (1024, 14, 14)), ("googlenet", (1024, 14, 14))],
)
def test_map_sizes_of_the_paper(name: str, shape: tuple[int, int, int]) -> None:
    with torch.inference_mode():
        assert FACTORIES[name]().eval().forward_features(torch.zeros(1, 3, 224, 224)).maps.shape == (1, *shape)


@pytest.mark.parametrize("name", ["alexnet_bn", "googlenet"])
def test_largest_size(name: str) -> None:
    height, width = (15, 7) if name == "alexnet_bn" else (16, 8)
    with torch.inference_mode():
        feature_maps = FACTORIES[name]().eval().forward_features(torch.zeros(1, 3, 256, 128)).maps
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
        backbone.head.linear.bias.copy_(torch.tensor([0.5, 0.0]))
    images = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]], [[2.0, 2.0]]]])  # means 2, 0.5, 2
    assert backbone(images).tolist() == [[2.5, 9.0]]
    assert backbone.forward_head(Features(images)).tolist() == [[2.5, 9.0]]


def test_logits_of_max_pooling_by_hand() -> None:
    backbone = GapBackbone(nn.Identity(), nn.Identity(), num_maps=2, num_classes=2, pooling="max")
    with torch.no_grad():
        backbone.class_weights.copy_(torch.tensor([[1.0, 0.0], [1.0, -2.0]]))
        backbone.head.linear.bias.copy_(torch.tensor([0.5, 0.0]))
    images = torch.tensor([[[[1.0, 3.0], [-4.0, 0.0]], [[-1.0, -2.0], [-3.0, -1.5]]]])  # maxima 3, -1
    assert backbone(images).tolist() == [[3.5, 5.0]]
