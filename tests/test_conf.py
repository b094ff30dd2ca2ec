"""Every configuration file composes and builds."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torchmetrics import Metric

from camloc.data.loading.datamodule import LoaderOptions
from camloc.experiment.build import build_classifier, build_localization, build_trainer, instantiate_all
from camloc.experiment.entry import prepare
from camloc.experiment.run_directory import RunDirectory
from camloc.metrics.localization_error import LocalizationError

CONF = Path(__file__).parent.parent / "conf"
GIVEN = {  # what a file leaves for the user to say
    "datamodule/cub": ["datamodule.root=."],
    "datamodule/folder": ["datamodule.root=."],
    "datamodule/imagenet": ["datamodule.root=."],
    "datamodule/openimages": ["datamodule.root=."],
    "datamodule/oxford_pet": ["datamodule.root=."],
    "datamodule/tiny_imagenet": ["datamodule.root=."],
    "datamodule/wsol_metadata": ["datamodule.metadata=."],
    "experiment/tiny_imagenet": ["datamodule.root=."],
}
NEEDS = {"experiment/tune": "hydra_plugins.hydra_optuna_sweeper"}
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
    if option in NEEDS:
        pytest.importorskip(NEEDS[option], reason="its plugin is an extra of the installation")
    group, _, name = option.partition("/")
    config = composed(f"{group}={name}", *GIVEN.get(option, []))
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize(
    "option", [o for o in OPTIONS if o.startswith(("optimizer", "scheduler", "cam/", "score_map"))]
)
def test_every_factory_is_built(option: str) -> None:
    group, _, name = option.partition("/")
    assert callable(instantiate(composed(f"{group}={name}")[group]))


@pytest.mark.parametrize("name", [path.stem for path in (CONF / "localization").glob("*.yaml")])
def test_every_localization_is_built(name: str) -> None:
    built = build_localization(composed(f"localization={name}"))
    assert isinstance(built["localization"], LocalizationError)
    assert all(isinstance(metric, Metric) for metric in built["also"].values())


@pytest.mark.parametrize("name", [o for o in OPTIONS if o.startswith("datamodule/") and not o.endswith("metadata")])
def test_every_data_set_offers_all_that_loaders_can_be_told(name: str) -> None:
    group, _, option = name.partition("/")
    config = composed(f"{group}={option}", *GIVEN.get(name, []))
    assert set(LoaderOptions.__annotations__) <= set(config.datamodule)


def test_several_protocols_are_composed_into_one() -> None:
    config = composed("localization=[paper,maxboxacc,maxboxacc_v2,pxap]", "localization.threshold_interval=0.1")
    built = build_localization(config)
    assert built["localization"].cam_threshold == 0.2
    assert built["also"].keys() == {"max_box_acc", "pxap"}
    assert built["also"]["max_box_acc"].reported == ["max_box_acc", "max_box_acc_v2"]
    assert len(built["also"]["pxap"].cam_thresholds) == 10
    only = build_localization(composed("localization=maxboxacc_v2"))["also"]["max_box_acc"]
    assert only.reported == ["max_box_acc_v2"]


def test_the_trainer_is_built(tmp_path: Path) -> None:
    trainer = build_trainer(composed("trainer.accelerator=cpu"), RunDirectory(tmp_path), [])
    assert trainer.max_epochs == 5
    assert trainer.default_root_dir == str(tmp_path)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_gpus_get_what_pays_there_and_each_part_may_be_turned_off(optimizer: str) -> None:
    config = composed("trainer=gpu", f"optimizer={optimizer}")
    found = (config.trainer.precision, config.classifier.channels_last, config.optimizer.fused)
    assert found == ("bf16-mixed", True, True)
    assert config.trainer.max_epochs == composed().trainer.max_epochs
    changed = composed("trainer=gpu", "trainer.precision=32-true", "classifier.channels_last=false")
    assert (changed.trainer.precision, changed.classifier.channels_last) == ("32-true", False)


@pytest.mark.parametrize("name", [path.stem for path in (CONF / "backbone").glob("*.yaml")])
def test_every_backbone_builds_into_a_classifier(name: str) -> None:
    classifier = build_classifier(composed(f"backbone={name}"), num_classes=3)
    assert classifier.backbone.class_weights.shape[0] == 3


def test_callbacks_are_built_and_null_leaves_one_out() -> None:
    everything = instantiate_all(composed().callbacks)
    assert [type(callback).__name__ for callback in everything] == [
        "Progress",
        "EpochCsv",
        "Predictions",
        "Gallery",
        "ImageCounts",
    ]
    assert len(instantiate_all(composed("callbacks.gallery=null").callbacks)) == 4


def test_the_commands_of_the_readme_compose() -> None:
    assert composed("backbone=vgg_gap", "trainer.devices=8").trainer.devices == 8
    assert "wandb" in composed("logger=wandb").logger
