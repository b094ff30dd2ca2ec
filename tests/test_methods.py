"""The recipes ``experiment=methods/*``: each composes, and a sample of them trains on a generated batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from camloc.data.loading.sample import TrainBatch
from camloc.experiment.build import build_datamodule, build_predictor, build_training
from camloc.experiment.entry import prepare

CONF = Path(__file__).parent.parent / "conf"
RECIPES = sorted(path.stem for path in (CONF / "experiment" / "methods").glob("*.yaml"))
NETWORKS = {"vgg16": "vgg_gap", "resnet50": "resnet50_gap", "inception_v3": "inception_v3_gap"}
OBJECTIVES = {
    "cam": "CrossEntropy",
    "has": "HideAndSeek",
    "cutmix": "CutMix",
    "adl": "AttentionDropout",
    "acol": "AdversarialComplementary",
    "spg": "SelfProducedGuidance",
}
# One of each network; with those that are slow, each method and each network twice.
SAMPLE = [
    *("cub_vgg16_acol", "imagenet_resnet50_has", "openimages_inception_v3_cutmix"),
    *(
        pytest.param(recipe, marks=pytest.mark.slow)
        for recipe in ("imagenet_vgg16_spg", "openimages_vgg16_cam", "cub_resnet50_adl", "cub_inception_v3_spg")
    ),
]


def composed(recipe: str, *overrides: str) -> DictConfig:
    prepare()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=[f"experiment=methods/{recipe}", *overrides])


def test_every_method_on_every_network_and_data_set_is_there() -> None:
    expected = {
        f"{data}_{net}_{m}" for data in ("cub", "imagenet", "openimages") for net in NETWORKS for m in OBJECTIVES
    }
    assert set(RECIPES) == expected


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes(recipe: str) -> None:
    data, _, rest = recipe.partition("_")
    network, _, method = rest.rpartition("_")
    config = composed(recipe, "datamodule.root=.")
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert config.datamodule._target_.lower().endswith(data)
    assert config.backbone._target_.endswith(NETWORKS[network])
    assert config.objective._target_.endswith(OBJECTIVES[method])
    assert config.attribution._target_.endswith("acol" if method == "acol" else "cam")
    assert (config.trainer.max_epochs, config.optimizer.nesterov) == (50 if data == "cub" else 10, True)
    assert config.optimizer.weight_decay == (1e-4 if network == "resnet50" else 5e-4)
    metric = "pxap" if data == "openimages" else "max_box_acc_v2"
    assert config.monitor == f"val/localization/{metric}"
    said = (CONF / "experiment" / "methods" / f"{recipe}.yaml").read_text().splitlines()[1:3]
    assert "in Choe et al., CVPR 2020, Table 2" in said[0]
    assert f"experiment=methods/{recipe} " in said[1]


@pytest.mark.parametrize("recipe", SAMPLE)
def test_a_batch_is_trained(recipe: str) -> None:
    small = ["objective.width=8"] if recipe.endswith(("acol", "spg")) else []
    config = composed(recipe, "datamodule=textures", "backbone.weights=null", "datamodule.input_size=64", *small)
    data = build_datamodule(config, ("train",))
    torch.manual_seed(0)
    module = build_training(config, build_predictor(config, data, config.objective), data)
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    losses = module.train()._losses(TrainBatch(images, torch.tensor([0, 1])))
    total: Any = sum(losses.by_name.values())
    total.backward()
    assert total.isfinite()
    assert [name for name, one in module.named_parameters() if one.requires_grad and one.grad is None] == []
