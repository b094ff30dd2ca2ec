import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from camloc.attribution.cam import cam
from camloc.attribution.score_map import score_map
from camloc.backbones.contract import InputSpec
from camloc.backbones.gap import GapBackbone
from camloc.data.loading.sample import EvalBatch, EvalSample, collate_truth
from camloc.export.graph_file import write_graph
from camloc.predictors.exportable import Exportable
from camloc.predictors.network import NetworkPredictor
from camloc.predictors.onnx import OnnxPredictor, read_card

SIDE, CLASSES = 16, 4


def network() -> NetworkPredictor:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU())
    backbone = GapBackbone(trunk, nn.Identity(), num_maps=6, num_classes=CLASSES, input_spec=InputSpec(SIDE))
    nn.init.normal_(backbone.head.linear.weight)
    return NetworkPredictor(backbone.eval(), cam).eval()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return write_graph(Exportable(network(), score_map, SIDE, top_k=2), "onnx", folder, SIDE)


def batch(target: torch.Tensor) -> EvalBatch:
    images = torch.randint(0, 256, (len(target), 3, SIDE, SIDE), dtype=torch.uint8)
    size, window = (SIDE, SIDE), (0, 0, SIDE, SIDE)
    several = target.ndim == 2
    samples = []
    for number, one in enumerate(target):
        boxes = [torch.zeros(0, 4)] * (int(one.sum()) if several else 1)
        label = one if several else int(one)
        samples.append(EvalSample(images[number], label, boxes, boxes, None, size, window, str(number), number, False))
    return EvalBatch(images, collate_truth(samples, size))


@pytest.mark.parametrize("num_ranked", [0, 3])
@pytest.mark.parametrize(
    "target",
    [
        torch.tensor([2]),
        torch.tensor([3, 0, 0]),
        torch.tensor([[True, False, True, True], [False] * 4, [False, True, False, False]]),
        torch.zeros(2, CLASSES, dtype=torch.bool),  # no pair at all
    ],
)
@torch.no_grad()
def test_it_predicts_what_the_network_predicts(file: Path, target: torch.Tensor, num_ranked: int) -> None:
    of_batch = batch(target)
    expected = network().predict(of_batch, num_ranked=num_ranked)
    found = OnnxPredictor(file).predict(of_batch, num_ranked=num_ranked)
    assert [part.tolist() for part in found.pairs] == [part.tolist() for part in expected.pairs]
    for name in ("logits", "cams", "images"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-5, rtol=1e-5)
    assert (found.ranked is None) == (expected.ranked is None) == (num_ranked == 0)
    if found.ranked is not None and expected.ranked is not None:
        assert torch.equal(found.ranked.classes, expected.ranked.classes)
        torch.testing.assert_close(found.ranked.cams, expected.ranked.cams, atol=1e-5, rtol=1e-5)


def test_what_is_no_export_is_refused(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx  # noqa: PLC0415 - an extra

    with pytest.raises(FileNotFoundError, match="there is no"):
        OnnxPredictor(tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"broken\.onnx cannot be read as an ONNX model"):
        OnnxPredictor(broken)
    model = onnx.load(file)
    for name in ("cams", "logits"):
        model.graph.output.remove(next(one for one in model.graph.output if one.name == name))
    onnx.save(model, tmp_path / "old.onnx")
    with pytest.raises(ValueError, match="has no cams, logits; export the network again"):
        OnnxPredictor(tmp_path / "old.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"needs the package onnxruntime: pip install 'camloc\[onnx\]'"):
        OnnxPredictor(file)


def test_a_card_must_say_how_images_are_shown(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    with pytest.raises(FileNotFoundError, match=r"has no card.json beside it"):
        read_card(model)
    card = {"input_size": 8, "window": "warp", "class_names": ["a"], "several_labels": False, "score_map": "max"}
    card["weights"] = "0" * 64
    for text, message in (
        ("{", "is no JSON"),
        ("[]", "lacks input_size"),
        (json.dumps({**card, "class_names": "ab"}), "lacks class_names, or it is no list"),
    ):
        (tmp_path / "card.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_card(model)
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert read_card(model) == card
