"""Every configuration file composes and builds."""

import functools
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from camloc.data.annotations.contract import AnnotationReader
from camloc.data.loading.datamodule import LoaderOptions
from camloc.experiment.build import build_callbacks, build_measures, build_trainer
from camloc.experiment.configuration import configuration_directory
from camloc.experiment.entry import RUN_PARTS, offer_run, prepare
from camloc.experiment.measuring.split_protocols import SplitProtocols
from camloc.experiment.run_directory import RunDirectory
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.metrics.pxap import PxAP

CONF = Path(__file__).parent.parent / "conf"
GIVEN = {  # what a file leaves for the user to say
    **{
        f"datamodule/{name}": ["datamodule.root=."]
        for name in (
            "cub",
            "folder",
            "imagenet",
            "openimages",
            "oxford_pet",
            "tiny_imagenet",
            "annotated",
            "mvtec_ad",
            "visa",
            "neu_det",
            "nih_chestxray14",
            "mask_beside",
        )
    },
    "datamodule/wsol_metadata": ["datamodule.metadata=."],
    **{f"experiment/{name}": ["datamodule.root=."] for name in ("tiny_imagenet", "tiny_imagenet_lite")},
    "backbone/timm": ["backbone.name=resnet18"],
    **{f"backbone/released_{name}_gap": ["backbone.weights=null"] for name in ("alexnet", "vgg", "googlenet")},
}
NEEDS = {
    "experiment/tune": "hydra_plugins.hydra_optuna_sweeper",
    "backbone/timm": "timm",
    "experiment/tiny_imagenet_lite": "timm",
    "backbone/efficientnet_lite0_gap": "timm",
}
PARTS = {"localization/base", "datamodule/loader"}  # what other files of the group include
OPTIONS = sorted(
    path.relative_to(CONF).with_suffix("").as_posix()
    for path in CONF.glob("*/*.yaml")
    if path.parent.name != "hydra"  # Hydra's own settings take part in every composition
)


def compose_again(command: str, *overrides: str) -> DictConfig:
    prepare()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(command, overrides=list(overrides))


@functools.cache  # several tests look at the same option, which takes a third of a second to compose
def composed(*overrides: str) -> DictConfig:
    return compose_again("train", *overrides)


def composed_with(option: str) -> DictConfig:
    group, _, name = option.partition("/")
    if option in NEEDS:
        pytest.importorskip(NEEDS[option], reason="is an extra of the installation")
    return composed(f"{group}={name}", *GIVEN.get(option, []))


def names(group: str) -> list[str]:
    return [path.stem for path in (CONF / group).glob("*.yaml") if f"{group}/{path.stem}" not in PARTS]


def of(*groups: str) -> list[str]:
    return [option for option in OPTIONS if option.startswith(groups) and option not in PARTS]


def test_a_checkout_reads_its_own_files() -> None:
    assert configuration_directory() == CONF


@pytest.mark.parametrize("option", [option for option in OPTIONS if option not in PARTS])
def test_every_option_composes_and_resolves(option: str) -> None:
    OmegaConf.to_container(composed_with(option), resolve=True, throw_on_missing=True)


@pytest.mark.parametrize(
    "option", of("optimizer/", "scheduler/", "objective/", "attribution/", "views/", "score_map/", "box_rule/")
)
def test_every_factory_is_built(option: str) -> None:
    assert callable(instantiate(composed_with(option)[option.partition("/")[0]]))


@pytest.mark.parametrize("name", names("localization"))
def test_every_protocol_can_be_counted(name: str) -> None:
    protocols = SplitProtocols(build_measures(composed(f"localization={name}"))).protocols
    assert {"classification", "centred_box"} < set(protocols)
    assert all(protocol.rows for protocol in protocols.values())


@pytest.mark.parametrize("option", [o for o in of("datamodule/") if o != "datamodule/wsol_metadata"])  # loads no images
def test_every_data_set_offers_all_loader_options(option: str) -> None:
    assert set(LoaderOptions.__annotations__) <= set(composed_with(option).datamodule)


@pytest.mark.parametrize("name", names("datamodule/annotations"))
def test_every_annotation_reader_is_built(name: str) -> None:
    config = composed("datamodule=folder", "datamodule.root=.", f"datamodule/annotations={name}")
    reader = instantiate(config.datamodule.annotations)
    assert reader is None if name == "none" else isinstance(reader, AnnotationReader)


def test_several_protocols_are_composed_into_one() -> None:
    config = composed("localization=[paper,maxboxacc,maxboxacc_v2,pxap]", "localization.threshold_interval=0.1")
    protocols = build_measures(config).protocols
    paper, max_box_acc, pxap = protocols["paper"], protocols["max_box_acc"], protocols["pxap"]
    assert isinstance(paper, LocalizationError)
    assert paper.cam_threshold == 0.2
    assert isinstance(max_box_acc, MaxBoxAcc)
    assert {"max_box_acc", "max_box_acc_v2"} <= {row.key for row in max_box_acc.rows}
    assert isinstance(pxap, PxAP)
    assert len(pxap.cam_thresholds) == 10
    only = build_measures(composed("localization=maxboxacc_v2")).protocols["max_box_acc"]
    assert isinstance(only, MaxBoxAcc)
    assert "max_box_acc" not in {row.key for row in only.rows}


def test_protocols_keep_their_own_thresholds_unless_one_is_given() -> None:
    def thresholds(*overrides: str) -> dict[str, float | None]:
        protocols = build_measures(composed("localization=[val_threshold,paper]", *overrides)).protocols
        return {name: p.cam_threshold for name, p in protocols.items() if isinstance(p, LocalizationError)}

    assert thresholds() == {"val_threshold": None, "paper": 0.2}
    assert thresholds("localization.cam_threshold=0.3") == {"val_threshold": 0.3, "paper": 0.3}


def test_only_a_protocol_that_allows_it_is_swept_with_one_evaluation() -> None:
    shared = {
        n: composed(f"localization={n}").localization.one_evaluation_for_thresholds for n in names("localization")
    }
    assert {name for name, is_shared in shared.items() if not is_shared} == {"ilsvrc", "paper_heuristic"}


def test_the_trainer_is_built(tmp_path: Path) -> None:
    trainer = build_trainer(composed("trainer.accelerator=cpu"), RunDirectory(tmp_path), [])
    assert trainer.max_epochs == 5
    assert trainer.default_root_dir == str(tmp_path)


@pytest.mark.parametrize("optimizer", names("optimizer"))
def test_gpus_get_what_is_faster_there_and_each_part_may_be_turned_off(optimizer: str) -> None:
    config = composed("trainer=gpu", f"optimizer={optimizer}")
    found = (config.trainer.precision, config.classifier.channels_last, config.optimizer.fused)
    assert found == ("bf16-mixed", True, True)
    assert config.trainer.max_epochs == composed().trainer.max_epochs
    changed = composed("trainer=gpu", "trainer.precision=32-true", "classifier.channels_last=false")
    assert (changed.trainer.precision, changed.classifier.channels_last) == ("32-true", False)


@pytest.mark.parametrize("option", of("backbone/"))
def test_every_backbone_builds(option: str) -> None:
    backbone = instantiate(composed_with(option).backbone, weights=None)(num_classes=3)
    assert backbone.class_weights is None or backbone.class_weights.shape[0] == 3
    assert len(backbone.input_spec.mean) == 3


def test_callbacks_are_built_and_null_leaves_one_out(tmp_path: Path) -> None:
    def built(*overrides: str) -> list[str]:
        return [type(c).__name__ for c in build_callbacks(composed(*overrides), RunDirectory(tmp_path))]

    assert built() == ["Progress", "EpochCsv", "Gallery", "Explorer"]
    assert built("callbacks.gallery=null") == ["Progress", "EpochCsv", "Explorer"]
    assert built("logger=wandb") == ["Progress", "EpochCsv", "Gallery", "Explorer", "WandbPanels"]


def test_the_commands_of_the_readme_compose() -> None:
    assert composed("backbone=vgg_gap", "trainer.devices=8").trainer.devices == 8
    assert "wandb" in composed("logger=wandb").logger


def test_an_evaluation_takes_every_part_of_its_run() -> None:
    offer_run([])
    for part in RUN_PARTS:
        ConfigStore.instance().store(group=part, name="of_run", node={"of_run": part})
    config = compose_again("evaluate")
    assert [config[part].of_run for part in RUN_PARTS] == list(RUN_PARTS)
    offer_run([])


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_the_help_has_a_line_for_every_group_that_the_command_takes(command: str) -> None:
    text = (CONF / f"{command}_help.txt").read_text()
    explained = {group.partition("/")[0] for group in re.findall(r"\{([\w/]+): ", text)}
    defaults = OmegaConf.load(CONF / f"{command}.yaml").defaults
    groups = {str(key).removeprefix("override ") for entry in defaults if OmegaConf.is_dict(entry) for key in entry}
    not_to_be_chosen = {"hydra", "paths"}
    if command == "evaluate":
        not_to_be_chosen |= {"classifier", "paper"}  # they belong to the checkpoint
    assert explained == groups - not_to_be_chosen


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_the_options_that_the_help_explains_are_there(command: str) -> None:
    offer_run([])
    text = (CONF / f"{command}_help.txt").read_text()
    main = text.partition("Main options:\n")[2]
    keys = re.findall(r"^  ([\w.]+)=", main + text.partition("one of:\n")[2].partition("\n\n")[0], re.MULTILINE)
    given = ["datamodule=folder", "localization=val_threshold"]
    config = compose_again(command, *given)
    missing = object()
    unknown = [
        key
        for key in keys
        if not key.startswith("hydra.")
        and key != "datamodule.root"
        and OmegaConf.select(config, key, default=missing) is missing
    ]
    assert unknown == []
    assert len(keys) > 5


def test_several_labels_bring_what_they_are_measured_by_unless_something_else_is_asked_for() -> None:
    assert {"multi_label", "corloc", "iou_accuracy", "pointing_game", "val_threshold"} <= set(
        composed("objective=multi_label").localization.protocols
    )
    assert "corloc" not in composed("objective=multi_label", "localization=paper").localization.protocols
    assert "corloc" not in composed().localization.protocols
    assert composed("objective=multi_label").objective._target_ == "camloc.objectives.multi_label.MultiLabel"
