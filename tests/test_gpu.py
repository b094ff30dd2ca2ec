"""What a CUDA device computes, against the CPU: ``pytest -m gpu``."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from camloc.attribution.cam import cam
from camloc.attribution.contract import Attribution
from camloc.attribution.grad_cam import grad_cam
from camloc.attribution.saliency import saliency
from camloc.backbones.alexnet import alexnet_gap
from camloc.backbones.gap import GapBackbone
from camloc.backbones.googlenet import googlenet_gap
from camloc.backbones.vgg import vgg_gap
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.records import Pairs

Entry = Callable[..., CompletedProcess[str]]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("make", [alexnet_gap, vgg_gap, googlenet_gap])
@pytest.mark.parametrize(
    ("attribution", "dtype"),
    [
        (cam, torch.float32),
        (grad_cam, torch.float32),
        (saliency, torch.float64),
    ],  # rounding decides at an image's kinks
)
def test_logits_and_maps_are_those_of_the_cpu(
    make: Callable[..., GapBackbone], attribution: Attribution, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    backbone = make(num_classes=7).to(dtype).eval()
    images = torch.randn(2, 3, 224, 224, dtype=dtype)

    def choose(logits: torch.Tensor) -> Pairs:
        return Pairs.most_likely(logits, 2)

    on_cpu, _, cpu_maps = attribution(backbone, images, choose)
    on_gpu, _, gpu_maps = attribution(backbone.cuda(), images.cuda(), choose)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(gpu_maps.cpu(), cpu_maps, rtol=1e-2, atol=float(cpu_maps.abs().max()) * 1e-3)


def test_boxes_of_a_map_on_the_gpu_are_those_of_the_same_map_on_the_cpu() -> None:
    score_maps = torch.rand(16, 57, 83, generator=torch.Generator().manual_seed(0)) ** 4
    thresholds = [index / 100 for index in range(100)]
    boxes = largest_component_boxes(score_maps.cuda(), thresholds)
    assert boxes.is_cuda
    torch.testing.assert_close(boxes.cpu(), largest_component_boxes(score_maps, thresholds), rtol=0, atol=0)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_on_the_gpu_is_evaluated_there_to_nearly_the_same_numbers(
    entry: Entry, small: tuple[str, ...], tmp_path: Path, compiled: bool
) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    finished = entry("train.py", "trainer=gpu", *small, f"compile={compiled}", f"hydra.run.dir={run}")
    assert finished.returncode == 0, finished.stderr
    finished = entry("evaluate.py", f"checkpoint={run}", "trainer=gpu", f"hydra.run.dir={again}")
    assert finished.returncode == 0, finished.stderr
    trained, evaluated = (json.loads((directory / "metrics.json").read_text()) for directory in (run, again))
    assert evaluated.keys() == trained.keys()
    assert evaluated["val/loss"] == pytest.approx(trained["val/loss"], rel=1e-3)
    top1 = "test/classification/top1_error"
    assert evaluated[top1] == pytest.approx(trained[top1], abs=0.05)
