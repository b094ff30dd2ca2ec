import torch
from torch import Tensor, nn

from camloc.backbones.box_head import BoxRegressor
from camloc.backbones.gap import GapBackbone
from camloc.data.loading.sample import EvalBatch
from camloc.predictors.box_network import BoxPredictor, decoded
from camloc.records import Truth

BOXES = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.25, 0.5, 1.5, 1.0], [0.5, 0.5, 0.25, 1.0]])
"""The head's output for three classes, whatever the image: one inside, one to be cut, one inverted."""


class Constant(nn.Module):
    def forward(self, feature_maps: Tensor) -> Tensor:
        return BOXES.expand(len(feature_maps), 3, 4)


def predictor() -> BoxPredictor:
    backbone = GapBackbone(nn.Conv2d(3, 2, 1), nn.Identity(), num_maps=2, num_classes=3)
    with torch.no_grad():
        backbone.head.linear.weight.zero_()
        backbone.head.linear.bias.copy_(torch.tensor([1.0, 3.0, 2.0]))  # class 1, then 2, then 0
    regressor = BoxRegressor(backbone)
    regressor.box_head = Constant()  # type: ignore[assignment] # a head of known output
    return BoxPredictor(regressor).eval()


def batch(target: list[int], window: tuple[int, int, int, int] = (0, 0, 40, 20)) -> EvalBatch:
    count = len(target)
    boxes = [torch.tensor([[0.0, 0.0, 8.0, 8.0]])] * count
    truth = Truth(
        target=torch.tensor(target),
        gt_boxes=boxes,
        image_boxes=boxes,
        masks=None,
        map_size=(8, 16),
        image_sizes=[(20, 40)] * count,
        windows=[window] * count,
        image_ids=[str(index) for index in range(count)],
        positions=list(range(count)),
        is_padding=torch.zeros(count, dtype=torch.bool),
    )
    return EvalBatch(torch.zeros(count, 3, 8, 16, dtype=torch.uint8), truth)


def test_the_box_is_the_true_classs_in_pixels_of_the_input() -> None:
    prediction = predictor().predict(batch([0, 1, 2]))
    assert prediction.cams is None
    assert prediction.score_maps is None
    assert prediction.boxes is None
    assert prediction.ranked is None
    assert prediction.regressed_boxes is not None
    assert prediction.regressed_boxes.tolist() == [[0, 0, 8, 4], [4, 4, 16, 8], [0, 0, 0, 0]]
    assert prediction.logits is not None
    assert prediction.logits.tolist() == [[1, 3, 2]] * 3


def test_ranked_classes_have_their_own_boxes_in_pixels_of_the_image() -> None:
    ranked = predictor().predict(batch([0]), num_ranked=5).ranked
    assert ranked is not None
    assert ranked.cams is None
    assert ranked.classes.tolist() == [[1, 2, 0]]
    assert ranked.image_boxes is not None
    assert ranked.image_boxes.tolist() == [[[10, 10, 40, 20], [0, 0, 0, 0], [0, 0, 20, 10]]]


def test_a_window_moves_ranked_boxes() -> None:
    ranked = predictor().predict(batch([0], window=(10, 0, 30, 20)), num_ranked=1).ranked
    assert ranked is not None
    assert ranked.image_boxes is not None
    assert ranked.image_boxes.tolist() == [[[15, 10, 30, 20]]]


def test_what_is_no_box_gives_none() -> None:
    nan, inf = float("nan"), float("inf")
    given = torch.tensor([[nan, 0.0, 1.0, 1.0], [0.0, 0.0, inf, 1.0], [2.0, 0.0, 3.0, 1.0], [0.5, 0.5, 0.5, 1.0]])
    assert decoded(given, (8, 8)).tolist() == [[0] * 4] * 4
