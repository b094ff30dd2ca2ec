"""What a network says of images: normalized input, logits, and a map for each chosen pair."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.cam import cam
from camloc.backbones.contract import InputSpec
from camloc.backbones.gap import GapBackbone
from camloc.data.loading.sample import EvalBatch
from camloc.predictors.network import NetworkPredictor, check_backbone
from camloc.records import Truth

IMAGENET = InputSpec()
PLAIN = InputSpec(mean=(0, 0, 0), std=(1, 1, 1))


def predictor(spec: InputSpec = PLAIN, *, channels_last: bool | None = False) -> NetworkPredictor:
    """Two feature maps, the red and the green channel; class c weighs red by c and green by -1."""
    trunk = nn.Conv2d(3, 2, 1, bias=False)
    backbone = GapBackbone(trunk, nn.Identity(), num_maps=2, num_classes=3, input_spec=spec)
    with torch.no_grad():
        trunk.weight.copy_(torch.eye(3)[:2].view(2, 3, 1, 1))
        backbone.head.linear.weight.copy_(torch.tensor([[0.0, -1.0], [1.0, -1.0], [2.0, -1.0]]))
        backbone.head.linear.bias.copy_(torch.tensor([0.0, 0.25, 0.0]))
    return NetworkPredictor(backbone, cam, channels_last=channels_last)


def batch(target: Tensor) -> EvalBatch:
    """The first image of 2x3 pixels is red in its first row, the second green in its last column."""
    images = torch.zeros(2, 3, 2, 3, dtype=torch.uint8)
    images[0, 0, 0] = images[1, 1, :, 2] = 255
    nothing = [torch.zeros(0, 4)] * int((target > 0).sum() if target.ndim > 1 else len(target))
    truth = Truth(
        target=target,
        gt_boxes=nothing,
        image_boxes=nothing,
        masks=None,
        map_size=(2, 3),
        image_sizes=[(2, 3)] * 2,
        windows=[(0, 0, 3, 2)] * 2,
        image_ids=["a", "b"],
        positions=[0, 1],
        is_padding=torch.tensor([False, False]),
    )
    return EvalBatch(images, truth)


def test_images_are_normalized_as_the_backbone_expects() -> None:
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    by_hand = [(value - mean) / std for value, mean, std in zip((0, 1, 0.2), IMAGENET.mean, IMAGENET.std, strict=True)]
    torch.testing.assert_close(predictor(IMAGENET).normalize(images).flatten(), torch.tensor(by_hand))
    other = predictor(InputSpec(mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 1)))
    torch.testing.assert_close(other.normalize(images).flatten(), torch.tensor([-1, 2, -0.3]))


def test_what_the_input_is_normalized_by_is_no_weight() -> None:
    assert not any("pixel" in name for name in predictor().state_dict())


def test_channels_last_changes_the_memory_and_not_the_logits() -> None:
    images = batch(torch.tensor([0, 1])).images
    plain, strided = predictor(), predictor(channels_last=True)
    assert strided.normalize(images).is_contiguous(memory_format=torch.channels_last)
    assert plain.normalize(images).is_contiguous()
    torch.testing.assert_close(plain(images), strided(images))


def test_without_a_memory_format_the_backbone_says_which_is_faster() -> None:
    assert predictor(channels_last=None).memory_format is torch.channels_last
    backbone = predictor().backbone
    assert isinstance(backbone, GapBackbone)
    assert NetworkPredictor(backbone, cam, channels_last=False).memory_format is torch.contiguous_format
    backbone.prefers_channels_last = False
    assert NetworkPredictor(backbone, cam, channels_last=None).memory_format is torch.contiguous_format


def test_logits_are_those_of_the_backbone() -> None:
    # Half of the first image is red and a third of the second green; a bias of 1/4 on class 1.
    expected = torch.tensor([[0.0, 0.75, 1.0], [-1 / 3, 0.25 - 1 / 3, -1 / 3]])
    torch.testing.assert_close(predictor()(batch(torch.tensor([0, 1])).images), expected)


def test_the_evidence_for_the_true_classes_is_mapped_raw_and_signed() -> None:
    found = predictor().predict(batch(torch.tensor([2, 1])))
    assert found.pairs.image_index.tolist() == [0, 1]
    assert found.pairs.classes.tolist() == [2, 1]
    assert found.cams is not None
    assert found.cams.tolist() == [[[2, 2, 2], [0, 0, 0]], [[0, 0, -1], [0, 0, -1]]]
    assert found.logits is not None
    assert found.logits.dtype == torch.float32
    assert (found.score_maps, found.boxes, found.ranked) == (None, None, None)


def test_the_most_likely_classes_are_mapped_in_the_same_pass() -> None:
    found = predictor().predict(batch(torch.tensor([0, 1])), num_ranked=2)
    assert found.pairs.classes.tolist() == [0, 1]  # the true ones alone
    assert found.cams is not None
    assert found.cams.shape == (2, 2, 3)
    assert found.cams[0].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert found.ranked is not None
    assert found.ranked.classes[0].tolist() == [2, 1]
    assert found.ranked.cams is not None
    assert found.ranked.cams[0].tolist() == [[[2, 2, 2], [0, 0, 0]], [[1, 1, 1], [0, 0, 0]]]
    assert found.ranked.image_boxes is None


def test_there_are_no_more_ranked_classes_than_classes() -> None:
    ranked = predictor().predict(batch(torch.tensor([0, 1])), num_ranked=5).ranked
    assert ranked is not None
    assert ranked.classes.shape == (2, 3)


def test_images_with_several_labels_have_a_map_for_each() -> None:
    target = torch.tensor([[True, False, True], [False, True, False]])
    found = predictor().predict(batch(target), num_ranked=1)
    assert found.pairs.image_index.tolist() == [0, 0, 1]
    assert found.pairs.classes.tolist() == [0, 2, 1]
    assert found.cams is not None
    assert found.cams[:, 0, 0].tolist() == [0, 2, 0]
    assert found.ranked is not None
    assert found.ranked.classes.tolist() == [[2], [1]]
    assert found.ranked.cams is not None
    assert found.ranked.cams[:, 0, 0, 0].tolist() == [2, 0]


def test_what_a_backbone_lacks_is_named() -> None:
    class Half(nn.Module):
        input_spec, num_classes, class_weights = IMAGENET, 2, None

        def new_layers(self) -> Iterator[nn.Parameter]:
            yield from ()

    with pytest.raises(TypeError, match=r"backbone=Half lacks forward_features, forward_head of camloc\.backbones"):
        NetworkPredictor(Half(), cam)  # type: ignore[arg-type] # on purpose

    check_backbone(predictor().backbone)
    names = ("class_weights", "forward_features", "forward_head", "input_spec", "new_layers", "num_classes")
    with pytest.raises(TypeError, match=r"backbone=SimpleNamespace lacks torch\.nn\.Module of"):
        check_backbone(SimpleNamespace(**dict.fromkeys(names)))
