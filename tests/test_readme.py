"""The README's example of a backbone in one file works as printed."""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

Entry = Callable[..., CompletedProcess[str]]
README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_backbone_example_keeps_the_contract() -> None:
    (code,) = blocks("python")
    namespace: dict[str, object] = {}
    exec(code, namespace)  # noqa: S102 - the README's own text
    assert callable(namespace["my_net"])
    backbone = namespace["my_net"](num_classes=5)
    feature_maps = backbone.forward_features(torch.zeros(2, 3, 64, 96))
    assert feature_maps.shape == (2, 64, 16, 24)
    assert backbone.forward_head(feature_maps).shape == (2, 5)


def test_the_configuration_example_is_enough_to_build_it() -> None:
    (text,) = blocks("yaml")
    config = OmegaConf.create(text)
    config._target_ = "camloc.backbones.alexnet.alexnet_gap"  # my_net is not part of the package
    assert instantiate(config)(num_classes=5).num_classes == 5


def test_every_file_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target


def test_the_added_backbone_trains_and_evaluates(
    entry: Entry, small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,), (text,) = blocks("python"), blocks("yaml")
    (tmp_path / "my_net.py").write_text(code, encoding="utf-8")
    (tmp_path / "conf" / "backbone").mkdir(parents=True)
    config = text.replace("camloc.backbones.my_net.my_net", "my_net.my_net")  # it lies outside the package here
    (tmp_path / "conf" / "backbone" / "my_net.yaml").write_text(config, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run, again = tmp_path / "run", tmp_path / "again"
    finished = entry(
        "train.py", "--config-dir", str(tmp_path / "conf"), "backbone=my_net", *small, f"hydra.run.dir={run}"
    )
    assert finished.returncode == 0, finished.stderr
    finished = entry("evaluate.py", f"checkpoint={run}", "trainer.accelerator=cpu", f"hydra.run.dir={again}")
    assert finished.returncode == 0, finished.stderr
    assert (run / "metrics.json").read_text() == (again / "metrics.json").read_text()
