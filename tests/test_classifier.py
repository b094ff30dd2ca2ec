from functools import partial

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.cam import class_activation_map
from camloc.attribution.score_map import score_map
from camloc.backbones.gap import GapBackbone
from camloc.classifier import PIXEL_MEAN, PIXEL_STD, Classifier
from camloc.data.loading.sample import EvalBatch, TrainBatch, Truth
from camloc.metrics.localization_error import LocalizationError


def classifier(cam_threshold: float | None = None, *, channels_last: bool = False) -> Classifier:
    """A network whose two feature maps are the normalized red and green channels."""
    trunk = nn.Conv2d(3, 2, 1, bias=False)
    backbone = GapBackbone(trunk, nn.Identity(), num_maps=2, num_classes=2)
    with torch.no_grad():
        trunk.weight.copy_(torch.eye(3)[:2].view(2, 3, 1, 1))
        backbone.head.linear.weight.copy_(torch.eye(2))
        backbone.head.linear.bias.zero_()
    return Classifier(
        backbone,
        cam=class_activation_map,
        score_map=score_map,
        localization=LocalizationError(cam_threshold=cam_threshold, num_thresholds=10),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        head_lr_multiplier=3.0,
        channels_last=channels_last,
    )


def batch() -> EvalBatch:
    """A red square left, a green one right, on black 8x12; the second image repeats as padding."""
    images = torch.zeros(3, 3, 8, 12, dtype=torch.uint8)
    images[0, 0, 2:6, 1:5] = 255
    images[1:, 1, 3:7, 6:11] = 255
    boxes = [torch.tensor([[1.0, 2.0, 5.0, 6.0]]), torch.tensor([[6.0, 3.0, 11.0, 7.0]]), torch.zeros(0, 4)]
    truth = Truth(
        target=torch.tensor([0, 1, 1]),
        gt_boxes=boxes,
        image_boxes=boxes,
        masks=None,
        map_size=(8, 12),
        image_sizes=[(8, 12)] * 3,
        windows=[(0, 0, 12, 8)] * 3,
        image_ids=["red", "green", "green"],
        positions=[0, 1, 2],
        is_padding=torch.tensor([False, False, True]),
    )
    return EvalBatch(images, truth)


def test_images_are_normalized_with_imagenets_mean_and_deviation() -> None:
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [(value - mean) / std for value, mean, std in zip((0, 1, 0.2), PIXEL_MEAN, PIXEL_STD, strict=True)]
    torch.testing.assert_close(classifier().normalize(images).flatten(), torch.tensor(expected))


def test_channels_last_changes_the_memory_and_not_the_logits() -> None:
    images = batch().images
    plain, strided = classifier(), classifier(channels_last=True)
    assert strided.normalize(images).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(plain(images), strided(images))


def test_the_map_of_the_true_class_is_measured_and_padding_is_not() -> None:
    module = classifier(cam_threshold=0.5).eval()
    module.log = lambda *_, **__: None  # type: ignore[method-assign] # no trainer is attached
    prediction = module.test_step(batch())
    assert prediction.score_maps.shape == (3, 8, 12)
    assert module.sweep(prediction.score_maps)[:2, 5].tolist() == [[1, 2, 5, 6], [6, 3, 11, 7]]
    module.on_test_epoch_end()
    results = module.results["test"]
    assert results["localization/num_images"].item() == 2
    assert results["localization/gt_known_error"].item() == 0
    assert results["localization/top1_error"].item() == results["classification/top1_error"].item()
    assert module.test_metrics.localization.num_images.item() == 0  # ready for the next epoch


def test_training_needs_no_boxes_and_reduces_the_loss() -> None:
    module = classifier()
    module.log = lambda *_, **__: None  # type: ignore[method-assign] # no trainer is attached
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    train = TrainBatch(batch().images, batch().truth.target)
    losses: list[Tensor] = []
    for _ in range(20):
        losses.append(module.training_step(train))
        optimizer.zero_grad()
        losses[-1].backward()  # type: ignore[no-untyped-call] # torch's
        optimizer.step()
    assert losses[-1] < losses[0]


def test_new_layers_learn_faster() -> None:
    module = classifier()
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(module.backbone.trunk.weight)] == 0.1
    assert rates[id(module.backbone.head.linear.weight)] == pytest.approx(0.3)


def test_a_box_needs_a_threshold() -> None:
    with pytest.raises(ValueError, match="no CAM threshold is chosen yet"):
        classifier().test_threshold()
    assert classifier(cam_threshold=0.25).test_threshold() == 0.25
