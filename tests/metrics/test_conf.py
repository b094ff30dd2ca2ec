"""The configuration files of protocols compose, alone and together, and build what they name."""

import functools
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from camloc.experiment.entry import prepare
from camloc.metrics.contract import Protocol, needs_of
from camloc.metrics.functional.localization import IOU_THRESHOLD, PAPER_CAM_THRESHOLD
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc

CONF = Path(__file__).parents[2] / "conf"
NAMES = sorted(path.stem for path in (CONF / "localization").glob("*.yaml"))
ALWAYS = ["classification", "centred_box"]


@functools.cache
def composed(choice: str, *overrides: str) -> dict[str, Any]:
    prepare()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=[f"localization={choice}", *overrides])
    localization = OmegaConf.to_container(config.localization, resolve=True)
    assert isinstance(localization, dict)
    return {str(key): value for key, value in localization.items()}


def built(choice: str, *overrides: str) -> dict[str, Protocol]:
    return {name: instantiate(node) for name, node in composed(choice, *overrides)["protocols"].items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_choice_builds_protocols_whose_needs_are_known(name: str) -> None:
    protocols = built(name)
    assert list(protocols)[:2] == ALWAYS
    for protocol in protocols.values():
        assert isinstance(protocol, Protocol)
        needs_of(protocol)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("val_threshold", ["val_threshold"]),
        ("paper", ["paper"]),
        ("wsol_literature", ["wsol_literature"]),
        ("maxboxacc", ["val_threshold", "max_box_acc"]),
        ("maxboxacc_v2", ["val_threshold", "max_box_acc"]),
        ("pxap", ["val_threshold", "pxap"]),
        ("ilsvrc", ["val_threshold", "ilsvrc"]),
        ("paper_heuristic", ["val_threshold", "ilsvrc", "paper_heuristic"]),
        ("wsolevaluation", ["val_threshold", "max_box_acc", "pxap"]),
        ("[val_threshold,paper]", ["val_threshold", "paper"]),
        ("[paper,val_threshold]", ["paper", "val_threshold"]),
        ("[val_threshold,maxboxacc_v2,ilsvrc]", ["val_threshold", "max_box_acc", "ilsvrc"]),
        ("[maxboxacc,maxboxacc_v2,wsolevaluation]", ["val_threshold", "max_box_acc", "pxap"]),
        ("[paper,wsol_literature]", ["paper", "wsol_literature"]),
    ],
)
def test_one_choice_or_several_give_these_protocols(choice: str, expected: list[str]) -> None:
    assert list(built(choice)) == ALWAYS + expected


@pytest.mark.parametrize(
    ("choice", "versions"),
    [
        ("maxboxacc", ["max_box_acc"]),
        ("maxboxacc_v2", ["max_box_acc_v2"]),
        ("[maxboxacc,maxboxacc_v2]", ["max_box_acc", "max_box_acc_v2"]),
        ("[maxboxacc,wsolevaluation]", ["max_box_acc", "max_box_acc_v2"]),
    ],
)
def test_both_versions_of_max_box_acc_are_measured_once(choice: str, versions: list[str]) -> None:
    metric = built(choice)["max_box_acc"]
    assert isinstance(metric, MaxBoxAcc)
    assert metric.reported == versions


@pytest.mark.parametrize(("name", "normalization"), [("paper", "max"), ("wsol_literature", "minmax")])
def test_a_fixed_rule_has_its_threshold_and_normalization(name: str, normalization: str) -> None:
    config = composed(f"[val_threshold,{name}]", "score_map=ivr")
    assert config["score_maps"].keys() == {name}
    assert config["score_maps"][name]["normalization"] == normalization
    assert config["protocols"][name]["cam_threshold"] == PAPER_CAM_THRESHOLD
    assert config["protocols"]["val_threshold"]["cam_threshold"] is None


def test_the_heuristic_has_the_blacklist_of_ilsvrc_and_maps_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "blacklist.txt"
    file.write_text("2\n")
    config = composed("paper_heuristic", f"localization.protocols.ilsvrc.blacklist={file}")
    assert config["protocols"]["paper_heuristic"]["blacklist"] == str(file)
    assert config["score_maps"]["paper_heuristic"]["normalization"] == "max"


@pytest.mark.parametrize("cam_threshold", [0.35, 0.0])
def test_a_given_threshold_replaces_every_protocols_own(cam_threshold: float) -> None:
    protocols = built(
        "[val_threshold,paper,wsol_literature,ilsvrc]", f"localization.cam_threshold={cam_threshold}"
    ).values()
    thresholds = [p.cam_threshold for p in protocols if isinstance(p, LocalizationError | IlsvrcError)]
    assert thresholds == [cam_threshold] * 4


def test_the_iou_threshold_is_said_once() -> None:
    assert composed("paper")["iou_threshold"] == IOU_THRESHOLD
    changed = composed("[val_threshold,paper,ilsvrc,wsol_literature]", "localization.iou_threshold=0.7")["protocols"]
    assert [name for name, node in changed.items() if node.get("iou_threshold") != 0.7] == ["classification"]


def test_the_interval_is_that_of_curves() -> None:
    protocols = built("wsolevaluation", "localization.threshold_interval=0.1")
    assert len(protocols["max_box_acc"].cam_thresholds) == len(protocols["pxap"].cam_thresholds) == 10


def test_only_the_devkits_error_needs_an_evaluation_for_each_threshold() -> None:
    separate = [name for name in NAMES if not composed(name)["one_evaluation_for_thresholds"]]
    assert separate == ["ilsvrc", "paper_heuristic"]
    assert [name for name in NAMES if composed(name)["submission"]] == ["ilsvrc"]
    together = composed("[ilsvrc,paper]")
    assert together["submission"]
    assert not together["one_evaluation_for_thresholds"]
