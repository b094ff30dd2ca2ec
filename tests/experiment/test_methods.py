"""Training methods from the first step to a loaded network, and the same weights after an interruption."""

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from camloc.data.loading.sample import EvalBatch
from camloc.experiment.load import load
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.sources import build_source
from camloc.experiment.train import train

HERE = Path(__file__).parent
SQUARES = run_path(str(HERE / "squares.py"))
squares_config: Callable[..., DictConfig] = SQUARES["config"]
batch: Callable[..., EvalBatch] = SQUARES["batch"]
OBJECTIVES: dict[str, dict[str, Any]] = {
    "has.HideAndSeek": {"grid_size": 2},
    "cutmix.CutMix": {},
    "adl.AttentionDropout": {"layers": ["trunk.1", "maps"]},
    "acol.AdversarialComplementary": {"width": 3},
    "spg.SelfProducedGuidance": {"width": 3, "layers": ["trunk.1", "trunk.3"]},
}


def config(name: str, epochs: int, **changed: Any) -> DictConfig:  # noqa: ANN401 - values of a configuration
    attribution = "acol.acol" if name.startswith("acol") else "cam.cam"
    given = squares_config(
        backbone={"_target_": "networks.conv_gap", "_partial_": True},
        attribution={"_target_": f"camloc.attribution.{attribution}", "_partial_": True},
        objective={"_target_": f"camloc.objectives.{name}", "_partial_": True, **OBJECTIVES[name]},
        **changed,
    )
    given.trainer.max_epochs = epochs
    return given


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_run_that_was_interrupted_ends_with_the_same_weights_and_can_be_used(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.syspath_prepend(HERE.parent / "objectives")
    at_once, resumed = RunDirectory(tmp_path / "at_once"), RunDirectory(tmp_path / "resumed")
    for run in (at_once, resumed):
        run.make()
    train(config(name, 3), at_once)
    train(config(name, 1), resumed)
    first = torch.load(resumed.last_checkpoint, weights_only=True)["state_dict"]
    train(config(name, 3, resume=str(resumed.path)), resumed)
    states = [torch.load(run.last_checkpoint, weights_only=True)["state_dict"] for run in (at_once, resumed)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert any(not torch.equal(value, states[0][key]) for key, value in first.items())

    # Both draw the same maps from the checkpoint alone.
    found: Any = build_source(config(name, 3, checkpoint=str(at_once.path), resume=None), RunDirectory(tmp_path / "e"))
    localizer: Any = load(at_once.path, device="cpu", trust=True)
    images = batch([0, 1], 0.45)
    square = images._replace(images=images.images[..., :8, :8])
    with torch.inference_mode():
        one, other = (part.eval().predict(square) for part in (found.predictor, localizer._copies[0]))
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.cams, other.cams)
    assert one.cams.shape == (2, 4, 4)
