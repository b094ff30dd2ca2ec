"""Every configuration file composes and builds."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from camloc.experiment.build import build_classifier, instantiate_all
from camloc.experiment.entry import prepare

CONF = Path(__file__).parent.parent / "conf"
GIVEN = {  # what a file leaves for the user to say
    "datamodule/tiny_imagenet": ["datamodule.root=."],
    "experiment/tiny_imagenet": ["datamodule.root=."],
}
OPTIONS = sorted(
    path.relative_to(CONF).with_suffix("").as_posix()
    for path in CONF.glob("*/*.yaml")
    if path.parent.name != "hydra"  # Hydra's own settings take part in every composition
)


def composed(*overrides: str) -> DictConfig:
    prepare()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=list(overrides))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_resolves(option: str) -> None:
    group, _, name = option.partition("/")
    config = composed(f"{group}={name}", *GIVEN.get(option, []))
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize("group", ["optimizer", "scheduler", "cam", "score_map", "localization", "trainer"])
def test_every_part_is_built(group: str) -> None:
    for path in (CONF / group).glob("*.yaml"):
        assert callable(instantiate(composed(f"{group}={path.stem}")[group])) or group == "trainer"


@pytest.mark.parametrize("name", [path.stem for path in (CONF / "backbone").glob("*.yaml")])
def test_every_backbone_builds_into_a_classifier(name: str) -> None:
    classifier = build_classifier(composed(f"backbone={name}"), num_classes=3)
    assert classifier.backbone.class_weights.shape[0] == 3


def test_callbacks_are_built_and_null_leaves_one_out() -> None:
    everything = instantiate_all(composed().callbacks)
    assert [type(callback).__name__ for callback in everything] == ["Progress", "EpochCsv", "Predictions", "Gallery"]
    assert len(instantiate_all(composed("callbacks.gallery=null").callbacks)) == 3


def test_the_commands_of_the_readme_compose() -> None:
    assert composed("backbone=vgg_gap", "trainer.devices=8").trainer.devices == 8
    assert "wandb" in composed("logger=wandb").logger
