from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.attribution.attention_rollout import attention_rollout
from camloc.backbones.alexnet import alexnet_gap
from camloc.backbones.contract import Features, InputSpec
from camloc.backbones.timm_network import timm_network
from camloc.records import Pairs

FIRST = Pairs.of_target(torch.tensor([0]))


class Tokens(nn.Module):
    """Images of 1 x n pixels whose channels are the tokens; a class token if wanted; two blocks of given attention."""

    input_spec = InputSpec()
    num_classes = 1
    class_weights = None

    def __init__(self, *, class_token: bool, query: float = 0.0, window: int | None = None) -> None:
        super().__init__()
        self.class_token, self.query, self.window = class_token, query, window

    def forward_features(self, images: Tensor) -> Features:
        tokens = images.flatten(2).mT
        if self.class_token:
            tokens = torch.cat([torch.ones_like(tokens[:, :1]), tokens], dim=1)
        for _ in range(2):
            seen = tokens[:, None, : self.window]
            tokens = tokens.clone()
            tokens[:, : self.window] += F.scaled_dot_product_attention(torch.full_like(seen, self.query), seen, seen)[
                :, 0
            ]
        prefix, patches = tokens[:, : self.class_token], tokens[:, self.class_token :]
        return Features(patches.mT[:, :, None], (prefix,) if self.class_token else ())

    def forward_head(self, features: Features) -> Tensor:
        read = features.others[0][:, 0] if self.class_token else features.maps.mean(dim=(2, 3))
        return read[:, :1]

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    def new_layers(self) -> Iterator[nn.Parameter]:
        yield from self.parameters()


def test_uniform_attention_by_hand() -> None:
    found = attention_rollout(Tokens(class_token=True), torch.rand(1, 3, 1, 3), lambda _: FIRST)
    # Four tokens, two blocks of (1/4 + I) / 2: the class token keeps 1/4, of which 3/4 are shared by all four.
    torch.testing.assert_close(found.cams, torch.full((1, 1, 3), 3 / 16))


def test_the_head_reads_the_mean_of_the_patches() -> None:
    found = attention_rollout(Tokens(class_token=False), torch.rand(1, 3, 1, 4), lambda _: FIRST)
    torch.testing.assert_close(found.cams, torch.full((1, 1, 4), 1 / 4))


def test_patches_that_are_attended_to_stand_out() -> None:
    images = torch.zeros(2, 3, 1, 3)
    images[1, :, 0, 2] = 9.0
    pairs = Pairs(image_index=torch.tensor([1, 0, 1]), classes=torch.tensor([0, 0, 0]))
    found = attention_rollout(Tokens(class_token=False, query=5.0), images, lambda _: pairs).cams
    assert found[0].argmax() == 2
    assert torch.equal(found[0], found[2])
    torch.testing.assert_close(found[1], torch.full((1, 3), 1 / 3))


def rolled_out_by_hooks(network: nn.Module, images: Tensor, first_patch: int) -> Tensor:
    """The whole product of matrices, from what enters the dropout of unfused attention."""
    found: list[Tensor] = []
    handles = []
    for block in network.blocks:  # type: ignore[union-attr] # timm's
        block.attn.fused_attn = False
        handles.append(block.attn.attn_drop.register_forward_hook(lambda _, given, __: found.append(given[0])))
    with torch.no_grad():
        network(images)
    for block, handle in zip(network.blocks, handles, strict=True):  # type: ignore[arg-type] # the same
        handle.remove()
        block.attn.fused_attn = True
    rollout = torch.eye(found[0].shape[-1]).expand(len(images), -1, -1)
    for attention in found:
        rollout = (attention.mean(dim=1) + torch.eye(attention.shape[-1])) / 2 @ rollout
    return rollout[:, 0, first_patch:]


@pytest.mark.parametrize(
    ("name", "size", "prefix"), [("vit_tiny_patch16_224", 64, 1), ("vit_small_patch14_reg4_dinov2", 42, 5)]
)
def test_a_transformer_of_timm(name: str, size: int, prefix: int) -> None:
    pytest.importorskip("timm", reason="the network is timm's")
    torch.manual_seed(0)
    backbone = timm_network(name, num_classes=3, input_size=size).eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    pairs = Pairs(image_index=torch.tensor([1, 0]), classes=torch.tensor([2, 0]))
    with torch.inference_mode():
        found = attention_rollout(backbone, images, lambda _: pairs)
        torch.testing.assert_close(found.logits, backbone(images))
    expected = rolled_out_by_hooks(backbone.network, images, prefix)[pairs.image_index]
    torch.testing.assert_close(found.cams.flatten(1), expected)


def test_a_network_without_attention_is_refused() -> None:
    backbone = alexnet_gap(num_classes=2).eval()
    with pytest.raises(
        ValueError, match=r"attention of all 9 tokens .*; found none in GapBackbone\. Use attribution=s"
    ):
        attention_rollout(backbone, torch.zeros(1, 3, 64, 64), lambda _: FIRST)


def test_attention_in_windows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"attention of all 3 tokens .*; found \(2, 2\) in Tokens"):
        attention_rollout(Tokens(class_token=False, window=2), torch.zeros(1, 3, 1, 3), lambda _: FIRST)


def test_a_head_that_reads_nothing_is_refused() -> None:
    class Deaf(Tokens):
        def forward_head(self, features: Features) -> Tensor:
            return features.maps.new_zeros(len(features.maps), 1)

    with pytest.raises(ValueError, match="the logits of Deaf depend on none"):
        attention_rollout(Deaf(class_token=False), torch.zeros(1, 3, 1, 3), lambda _: FIRST)
