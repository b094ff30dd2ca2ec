"""Two training steps of every method in each process, as DDP takes them; started by test_distributed.py."""

import json
import sys
from inspect import signature
from pathlib import Path
from runpy import run_path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from camloc.backbones.gap import GapBackbone
from camloc.objectives.acol import AdversarialComplementary
from camloc.objectives.adl import AttentionDropout
from camloc.objectives.contract import Labelled
from camloc.objectives.cutmix import CutMix
from camloc.objectives.has import HideAndSeek
from camloc.objectives.spg import SelfProducedGuidance
from camloc.objectives.trilite import TriLite

NETWORKS = run_path(str(Path(__file__).parent / "networks.py"))
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "has": (HideAndSeek, {"grid_size": 2}),
    "cutmix": (CutMix, {}),
    "adl": (AttentionDropout, {"layers": ["trunk.1", "maps"]}),
    "acol": (AdversarialComplementary, {"width": 3}),
    "spg": (SelfProducedGuidance, {"width": 3, "layers": ["trunk.1", "trunk.3"]}),
    "trilite": (TriLite, {}),
}


class Step(nn.Module):
    """The losses of a batch as one module, which is what DDP wraps."""

    def __init__(self, backbone: nn.Module, objective: Any) -> None:  # noqa: ANN401 - of any method
        super().__init__()
        self.backbone, self.objective = backbone, objective

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        losses: Tensor = sum(self.objective(self.backbone, Labelled(images, target)).by_name.values())
        return losses


def network(name: str) -> tuple[GapBackbone, Any]:
    """Return a method's network, drawn from one seed, and its objective."""
    torch.manual_seed(0)
    built, options = METHODS[name]
    backbone = NETWORKS["conv_gap"]()
    if hasattr(built, "extend"):
        named = signature(built.extend).parameters
        backbone = built.extend(backbone, **{key: value for key, value in options.items() if key in named})
    return backbone, built(class_counts=[1] * 4, **options)


def main(stem: str) -> None:
    """Train, and write each method's weights and gradients."""
    distributed.init_process_group("gloo")
    rank, number = distributed.get_rank(), distributed.get_world_size()
    generator = torch.Generator().manual_seed(1)
    images, target = torch.rand(8, 3, 8, 8, generator=generator), torch.randint(4, (8,), generator=generator)
    mine = slice(rank * 8 // number, (rank + 1) * 8 // number)
    written = {}
    for name in METHODS:
        backbone, objective = network(name)
        step = DistributedDataParallel(Step(backbone, objective))
        optimizer = torch.optim.SGD(step.parameters(), lr=0.1)
        for _ in range(2):  # at the second one DDP raises if a parameter had no gradient in the first
            optimizer.zero_grad()
            step(images[mine], target[mine]).backward()
            optimizer.step()
        trained = dict(step.named_parameters())
        written[name] = {
            "without_gradient": [key for key, one in trained.items() if one.requires_grad and one.grad is None],
            "weights": {key: one.detach().flatten().tolist() for key, one in trained.items()},
        }
    Path(f"{stem}.{rank}").write_text(json.dumps(written), encoding="utf-8")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
