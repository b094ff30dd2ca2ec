from functools import partial

import pytest
import torch
from torch import nn

from camloc.attribution.cam import cam
from camloc.attribution.grad_cam import grad_cam
from camloc.attribution.score_map import score_map
from camloc.attribution.views import Flip
from camloc.backbones.contract import InputSpec
from camloc.backbones.gap import GapBackbone
from camloc.data.images.transforms import EvalTransform
from camloc.predictors.exportable import Exportable, GraphOutputs
from camloc.predictors.network import NetworkPredictor
from camloc.records import Pairs


def backbone(num_classes: int = 5) -> GapBackbone:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU())
    network = GapBackbone(trunk, nn.Identity(), num_maps=8, num_classes=num_classes, input_spec=InputSpec(32))
    nn.init.normal_(network.head.linear.weight)
    return network.eval()


@pytest.mark.parametrize("several_labels", [False, True])
def test_it_gives_what_the_parts_give(several_labels: bool) -> None:
    predictor = NetworkPredictor(backbone(), cam)
    rule = partial(score_map, normalization="max")
    model = Exportable(predictor, rule, 32, top_k=3, several_labels=several_labels)
    images = torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8)
    with torch.no_grad():
        given = torch.tensor([[4, 0], [1, 1]])
        probabilities, classes, score_maps, logits_out, cams_out = model(images)
        more = GraphOutputs(*model(images, given))
        shown = torch.stack([EvalTransform(32)(image, (0, 0, 50, 40)) for image in images])
        logits, pairs, cams = cam(
            predictor.backbone, predictor.normalize(shown), lambda logits: Pairs.most_likely(logits, 3)
        )
    assert torch.equal(classes.flatten(), pairs.classes)
    expected = logits.sigmoid() if several_labels else logits.softmax(dim=1)
    assert torch.allclose(probabilities, expected, atol=1e-6)
    assert torch.allclose(score_maps.flatten(0, 1), rule(cams, (32, 32)), atol=1e-5)
    assert torch.allclose(logits_out, logits, atol=1e-6)
    assert torch.allclose(cams_out.flatten(0, 1), cams, atol=1e-5)
    assert torch.equal(more.classes, torch.cat([classes, given], dim=1))
    assert torch.allclose(more.cams[:, :3], cams_out, atol=1e-6)
    mine = Pairs(torch.tensor([0, 0, 1, 1]), given.flatten())
    with torch.no_grad():
        of_mine = cam(predictor.backbone, predictor.normalize(shown), lambda _: mine).cams
    assert torch.allclose(more.cams[:, 3:].flatten(0, 1), of_mine, atol=1e-5)
    assert torch.allclose(more.score_maps[:, 3:].flatten(0, 1), rule(of_mine, (32, 32)), atol=1e-5)


def test_what_cannot_stand_in_a_graph_is_refused() -> None:
    for attribution in (partial(grad_cam), Flip(cam)):
        with pytest.raises(ValueError, match="only attribution=cam with views=none"):
            Exportable(NetworkPredictor(backbone(), attribution), score_map, 32)
    for top_k in (0, 6):
        with pytest.raises(ValueError, match=f"top_k={top_k} must be at least 1 and at most 5"):
            Exportable(NetworkPredictor(backbone(), cam), score_map, 32, top_k)
