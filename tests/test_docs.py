"""The documentation's examples work as printed, and its links lead somewhere."""

import itertools
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from torch import nn

from camloc.attribution.cam import cam
from camloc.backbones.gap import GapBackbone
from camloc.experiment.entry import offer_run
from camloc.objectives.contract import Labelled
from camloc.records import Pairs

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
PARTS = ["attribution=activation", "views=upside_down", "objective=focal", "box_rule=whole_foreground"]
"""Of the examples, next to ``backbone=my_net``."""


def commands() -> Iterator[str]:
    """Yield the commands of all pages that compose a configuration, without comments."""
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = re.search(r"(?:camloc (?:train|evaluate)|train\.py) [^#]*", line)
                if command:
                    yield command[0].strip()


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text(encoding="utf-8")):
            file, _, anchor = target.partition("#")
            linked = page.parent / file if file else page
            assert linked.is_file(), f"{page.name}: {target}"
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert not anchor or anchor in anchors, f"{page.name}: {target}"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write the examples where they say that they are."""
    directory = tmp_path_factory.mktemp("outside")
    for page in PAGES:
        for name, text in re.findall(
            r"```(?:python|yaml)\n# (\S+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
        ):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text, encoding="utf-8")
    sys.path.insert(0, str(directory))
    yield directory
    sys.path.remove(str(directory))


def configured(outside: Path, *overrides: str) -> Any:  # noqa: ANN401 - a DictConfig, read by attributes
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        searched = f"hydra.searchpath=[{(outside / 'conf').as_uri()}]"
        return compose("train", [searched, *PARTS, "backbone=my_net", *overrides])


@pytest.mark.slow
def test_every_command_composes(outside: Path) -> None:
    offer_run([])  # there is no RUN here whose parts an evaluation could have
    found = list(commands())
    assert len(found) > 30
    for command in found:
        name = "evaluate" if " evaluate " in command else "train"
        words = shlex.split(command.partition(f"{name}.py ")[2] or command.partition(f"{name} ")[2])
        if "--config-name" in words:
            continue  # the configuration of a run
        options = [word for word in words if "=" in word and not re.fullmatch(r"\w+=NAME", word)]  # a reader names it
        if "-m" in words:
            options = [re.sub(r"=([^\[,]+),.*", r"=\1", option) for option in options]
        if name == "evaluate" and not any(option.startswith("datamodule=") for option in options):
            options = [option for option in options if not option.startswith("datamodule.")]  # of the run's data set
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            compose(name, [f"hydra.searchpath=[{(outside / 'conf').as_uri()}]", *options])


def test_backbone_attribution_and_views(outside: Path) -> None:
    config = configured(outside)
    backbone: GapBackbone = instantiate(config.backbone)(num_classes=5).eval()
    images = torch.rand(2, 3, 32, 48)
    attribution = instantiate(config.views)(instantiate(config.attribution))
    logits, pairs, cams = attribution(backbone, images, lambda logits: Pairs.most_likely(logits, 2))
    assert (logits.shape, pairs.classes.shape, cams.shape) == ((2, 5), (4,), (4, 8, 12))
    torch.testing.assert_close(cams[0], cams[1])  # one map for all classes of an image
    turned = attribution(backbone, images.flip(dims=[2]), Pairs.most_likely).cams
    torch.testing.assert_close(turned[::5], cams[::2].flip(dims=[1]))
    assert cam(backbone, images, Pairs.most_likely).cams.shape == (10, 8, 12)


def test_objective(outside: Path) -> None:
    objective = instantiate(configured(outside).objective)(class_counts=[3, 1])
    losses = objective(nn.Identity(), Labelled(images=torch.zeros(1, 2), target=torch.tensor([1])))
    assert float(losses.by_name["focal"]) == pytest.approx(0.5**2 * np.log(2))


def test_objective_that_extends_the_network(outside: Path) -> None:
    config = configured(outside, "objective=drop_maps", "objective.rate=0.5")
    backbone: GapBackbone = instantiate(config.backbone)(num_classes=5)
    objective: Any = get_class(config.objective._target_)
    extended = objective.extend(backbone, rate=config.objective.rate)
    images = torch.rand(2, 3, 32, 48)
    plain, dropped = backbone.forward_features(images).maps, extended.train().forward_features(images).maps
    assert (dropped == 0).flatten(2).all(dim=2).sum() - (plain == 0).flatten(2).all(dim=2).sum() > 0
    losses = instantiate(config.objective)(class_counts=[1] * 5)(extended, Labelled(images, torch.tensor([0, 4])))
    assert list(losses.by_name) == ["cross_entropy"]
    assert torch.equal(extended.eval()(images), backbone.eval()(images))


def test_box_rule(outside: Path) -> None:
    score_maps = torch.zeros(2, 4, 6)
    score_maps[0, 1, 2], score_maps[0, 3, 5] = 1.0, 0.5
    boxes = instantiate(configured(outside).box_rule)(score_maps, [0.2, 0.7])
    assert boxes.tolist() == [[[2, 1, 6, 4], [2, 1, 3, 2]], [[0, 0, 0, 0]] * 2]


def test_protocols(outside: Path) -> None:
    config = configured(outside, "localization=[pointing_game,calibration]")
    assert {"val_threshold", "pointing_game", "calibration_error"} <= set(config.localization.protocols)
    metric = instantiate(config.localization.protocols.pointing_game)
    score_maps = torch.zeros(2, 4, 6)
    score_maps[:, 1, 2] = 1
    boxes = [torch.tensor([[2.0, 1.0, 3.0, 2.0]]), torch.tensor([[0.0, 0.0, 2.0, 4.0], [3.0, 0.0, 6.0, 4.0]])]
    assert metric.update(score_maps, boxes).values["hit"].tolist() == [True, False]
    assert float(metric.compute()["pointing_game"]) == 0.5
    calibration = instantiate(config.localization.protocols.calibration_error)
    calibration.update(torch.eye(9), torch.arange(9))


def test_data_set(outside: Path) -> None:
    (outside / "cat").mkdir()
    cv2.imwrite(str(outside / "cat" / "1.png"), np.zeros((80, 100, 3), np.uint8))
    for name in ("train", "val", "test"):
        (outside / f"{name}.txt").write_text("cat/1.png 0 10 12 90 80\n")
    config = configured(outside, "datamodule=my_data", f"datamodule.root={outside}", "datamodule.batch_size=3")
    datamodule = instantiate(config.datamodule)
    assert (datamodule.batch_size, datamodule.class_names) == (3, ("cat", "dog"))
    assert datamodule.split("val").gt_boxes(0)[0].tolist() == [[10, 12, 90, 80]]
    assert len(datamodule.split("train").gt_boxes(0)[0]) == 0


def test_annotation_reader(outside: Path) -> None:
    root = outside / "mine"
    for split, name in itertools.product(("train", "val", "test"), ("cat", "dog")):
        (root / split / name).mkdir(parents=True)
        cv2.imwrite(str(root / split / name / f"{split}.png"), np.zeros((80, 100, 3), np.uint8))
        if split != "train":
            (root / split / name / f"{split}.txt").write_text("7 0.5 0.25 0.2 0.5\n1 0.1 0.9 0.2 0.2\n")
    config = configured(outside, "datamodule=folder", "datamodule/annotations=yolo", f"datamodule.root={root}")
    boxes = instantiate(config.datamodule).split("test").gt_boxes(0)[0]
    np.testing.assert_allclose(boxes, [[40, 0, 60, 40], [0, 64, 20, 80]], atol=1e-4)
