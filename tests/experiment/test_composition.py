from collections.abc import Callable
from typing import Protocol

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal import utils
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError

from camloc.experiment.composition import explained, hydra_raises, near
from camloc.experiment.configuration import configuration_directory
from camloc.experiment.entry import prepare


class Toy(Protocol):
    def run(self, *arguments: str) -> None: ...


def refusal(*overrides: str, command: str = "train") -> str:
    prepare()
    with initialize_config_dir(str(configuration_directory()), version_base="1.3"):
        try:
            compose(command, overrides=list(overrides))
        except Exception as error:  # noqa: BLE001 - whatever Hydra raises
            return explained(error)
    return "composed"


SGD = " An argument of torch.optim.SGD that is not listed is added with +"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "backbone=vgg_gapp",
            "backbone has no option vgg_gapp; did you mean vgg_gap? It has alexnet, alexnet_gap, ",
        ),
        ("localization=nonsense", "localization has no option nonsense; it has ilsvrc, maxboxacc, "),
        ("optimizer.lrr=1", f"optimizer.lrr is not an option of this configuration; did you mean optimizer.lr?{SGD}"),
        ("optimizer.eta=1", f"optimizer.eta is not an option of this configuration.{SGD}"),
        ("seeed=1", "seeed is not an option of this configuration; did you mean seed?"),
        ("lr=1", "lr is not an option of this configuration; did you mean optimizer.lr?"),
        ("backbon=vgg_gap", "backbon is not an option of this configuration; did you mean backbone?"),
        ("hydra.run.dri=x", "hydra.run.dri is not an option of this configuration; did you mean hydra.run.dir?"),
        ("+seed=1", "seed is an option already; give it without the +"),
        (
            "hydra.job.chdir=maybe",
            "hydra.job.chdir=maybe: hydra.job.chdir: Value 'maybe' is not a valid bool (type str)",
        ),
        ("datamodule/annotations=voc", "datamodule/annotations has no effect: nothing that is chosen here is made of "),
    ],
)
def test_what_cannot_be_composed_is_one_line_with_the_nearest_option(override: str, said: str) -> None:
    found = refusal(override)
    assert found.startswith(said)
    assert "\n" not in found
    assert "base" not in found.replace("localization.", "")
    assert "full_key" not in found


def test_what_only_trains_is_refused_by_an_evaluation_with_the_reason() -> None:
    found = explained(ConfigCompositionException("Could not override 'objective'. No match in the defaults list."))
    assert found.startswith("objective has no effect: ")
    assert found.endswith("; an experiment that sets it is for train")


def test_a_sweep_that_is_none_is_explained(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        toy.run("error=0.1,0.2")
    assert capsys.readouterr().err == (
        "error: error=0.1,0.2 has several values: add -m to run each, or give one list, error=[0.1,0.2]\n"
    )


def test_an_interpolation_is_named_by_its_key() -> None:
    config = OmegaConf.create({"optimizer": {"lr": "${nope}"}})
    with pytest.raises(InterpolationKeyError) as failed:
        _ = config.optimizer.lr
    assert explained(failed.value) == "optimizer.lr: Interpolation key 'nope' not found"


def test_the_nearest_key_is_of_the_same_part_then_of_the_same_name() -> None:
    known = ["optimizer.lr", "datamodule.num_train", "datamodule.root", "trainer.max_epochs", "seed"]
    assert near("trainer.max_epoch", known) == "; did you mean trainer.max_epochs?"
    assert near("max_epochs", known) == "; did you mean trainer.max_epochs?"
    assert near("datamodul.root", known) == "; did you mean datamodule.root?"
    assert near("datamodule.num_classes", known) == ""


def test_hydra_raises_only_as_long_as_asked() -> None:
    def broken() -> None:
        raise ValueError("here")

    usual: Callable[..., object] = utils.run_and_report
    with hydra_raises(), pytest.raises(ValueError, match="here"):
        utils.run_and_report(broken)
    assert utils.run_and_report is usual
