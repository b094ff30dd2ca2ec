"""The same images with one label each, measured as such and as images with several labels: every count is the same."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.cam import cam
from camloc.attribution.contract import Attribution
from camloc.attribution.grad_cam import grad_cam
from camloc.attribution.saliency import saliency
from camloc.attribution.score_map import score_map
from camloc.attribution.ten_crop import TenCrop
from camloc.attribution.views import Flip, one_view
from camloc.backbones.gap import GapBackbone
from camloc.data.datasets.textures import Textures
from camloc.data.loading.split import Split, SplitName, Subset
from camloc.experiment.measuring.measure import measure
from camloc.experiment.measuring.measures import Measures
from camloc.experiment.measuring.module import EvaluationModule
from camloc.experiment.measuring.results import MeasuredSplit
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.centred_box import CentredBoxError
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.heuristic_error import HeuristicError
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.metrics.multi_label import MultiLabelRanking
from camloc.metrics.pxap import PxAP
from camloc.predictors.network import NetworkPredictor

SQUARES = run_path(str(Path(__file__).parents[1] / "squares.py"))


class OneOfSeveral(Subset):
    """A split whose labels are rows with one true class; boxes of some images are kept back."""

    def __init__(self, split: Split, num_classes: int, without_boxes: int) -> None:
        super().__init__(split, torch.arange(len(split)).numpy())
        self.num_classes, self.without_boxes = num_classes, without_boxes

    def target(self, index: int) -> int | Tensor:
        target = super().target(index)
        return target if not self.num_classes else torch.arange(self.num_classes) == target

    def gt_boxes(self, index: int) -> list[Tensor]:
        return super().gt_boxes(index) if index >= self.without_boxes else [torch.zeros(0, 4)]


class Textured(Textures):
    def __init__(self, *, several: bool, without_boxes: int) -> None:
        super().__init__(num_train=10, num_val=20, num_test=30, image_size=64, num_workers=0, batch_size=7)
        self.several_labels, self.without_boxes = several, without_boxes
        self.use_input_size(64)

    def load_split(self, name: SplitName) -> Split:
        return OneOfSeveral(
            super().load_split(name), self.num_classes if self.several_labels else 0, self.without_boxes
        )


class SomeNegative(OneOfSeveral):
    """The last image shows no class, and nor do the first ones."""

    def __init__(self, split: Split, num_classes: int, first: int, num_negative: int) -> None:
        super().__init__(Subset(split, np.arange(first, len(split))), num_classes, 0)
        self.num_negative = num_negative

    def target(self, index: int) -> int | Tensor:
        target = torch.as_tensor(super().target(index))
        is_negative = index < self.num_negative or index == len(self) - 1
        return torch.zeros_like(target) if is_negative else target

    def gt_boxes(self, index: int) -> list[Tensor]:
        return super().gt_boxes(index) if torch.as_tensor(self.target(index)).any() else []

    def masks(self, index: int) -> tuple[Tensor, Tensor] | None:
        return super().masks(index) if torch.as_tensor(self.target(index)).any() else None


class TexturedOrNot(Textured):
    """``left_out`` images are left out of each split, or ``num_negative`` show nothing."""

    def __init__(self, *, left_out: int, num_negative: int) -> None:
        super().__init__(several=True, without_boxes=0)
        self.left_out, self.num_negative = left_out, num_negative

    def load_split(self, name: SplitName) -> Split:
        return SomeNegative(Textures.load_split(self, name), self.num_classes, self.left_out, self.num_negative)


def measured(
    data: Textured, attribution: Attribution = cam, views: Callable[[Attribution], Attribution] = one_view
) -> dict[str, MeasuredSplit]:
    torch.manual_seed(0)
    backbone = GapBackbone(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), num_maps=8, num_classes=9)
    protocols = {
        "classification": ClassificationError(),
        "centred_box": CentredBoxError(),
        "val_threshold": LocalizationError(num_thresholds=20),
        "max_box_acc": MaxBoxAcc(0.05, v1=True, v2=True),
        "pxap": PxAP(0.05),
        "ilsvrc": IlsvrcError(),
        "heuristic": HeuristicError(),
        "multi_label": MultiLabelRanking(),
    }
    measures = Measures(protocols, partial(score_map, normalization="minmax"), {}, largest_component_boxes, 0.5)
    module = EvaluationModule(NetworkPredictor(backbone, views(attribution)), measures)
    return measure(SQUARES["trainer"](), module, data)


@pytest.mark.parametrize("without_boxes", [0, 9])
def test_one_label_each_is_a_special_case_of_several(without_boxes: int) -> None:
    single, several = (measured(Textured(several=flag, without_boxes=without_boxes)) for flag in (False, True))
    for name in ("val", "test"):
        one, many = single[name].numbers(), several[name].numbers()
        assert one.keys() == many.keys()
        differ = {key for key in one if one[key] != many[key]}
        assert differ == {f"{name}/loss"}  # a softmax is no sum of sigmoids
        assert one[f"{name}/localization/num_images"] == len(single[name].image_ids) - without_boxes
        assert one[f"{name}/localization/gt_known_hits"] != 0
    assert single["test"].intervals(single["val"]) == several["test"].intervals(several["val"])
    pairs, others = single["test"].pairs(), several["test"].pairs()
    for field in ("classes", "predicted", "rank", "boxes", "iou", "causes", "object_shares"):
        torch.testing.assert_close(getattr(pairs, field), getattr(others, field), rtol=0, atol=0, equal_nan=True)
    assert pairs.image_ids == others.image_ids
    assert pairs.iou is not None
    assert pairs.causes is not None
    assert pairs.iou[:without_boxes].isnan().all()
    assert pairs.causes[:without_boxes].tolist() == [-1] * without_boxes
    assert not pairs.iou[without_boxes:].isnan().any()


def test_pairs_that_a_protocol_counted_are_named_in_its_outcome() -> None:
    found: Any = measured(Textured(several=True, without_boxes=9))["test"]
    outcome, of_all = found.outcome("val_threshold"), found.outcome("classification")
    assert outcome.image_ids == found.image_ids[9:]
    assert outcome.classes.tolist() == found.result.pairs.classes[9:].tolist()
    assert of_all.image_ids == found.image_ids


@pytest.mark.parametrize(
    ("attribution", "views"),
    [(cam, one_view), (grad_cam, Flip), (saliency, one_view), (cam, TenCrop), (grad_cam, TenCrop), (saliency, TenCrop)],
)
def test_negative_images_and_batches_of_them_change_nothing_but_the_classification(
    attribution: Attribution, views: Callable[[Attribution], Attribution]
) -> None:
    """The first batch of seven has no pair, and of the last batch one image has none."""
    with_them, without = (
        measured(TexturedOrNot(left_out=left_out, num_negative=7 - left_out), attribution, views) for left_out in (0, 7)
    )
    for name, count in (("val", 20), ("test", 30)):
        found, expected = with_them[name].numbers(), without[name].numbers()
        assert found.keys() == expected.keys()
        assert found[f"{name}/classification/ranked_num_images"] == count
        assert found[f"{name}/localization/num_images"] == count - 8
        assert found[f"{name}/localization/gt_known_hits"] != 0
        localized = {key for key in found if "/localization/" in key and "centred_box" not in key}
        assert {key: found[key] for key in localized} == {key: expected[key] for key in localized}
        assert with_them[name].image_ids == without[name].image_ids
