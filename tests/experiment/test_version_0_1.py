from pathlib import Path

import pytest
from omegaconf import OmegaConf

from camloc.experiment.version_0_1 import refuse_config, refuse_options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cam=cam"], "cam= is attribution= since 0.2 (attribution=cam, grad_cam, saliency)"),
        (["seed=1", "+cam=mine"], "cam= is attribution= since 0.2 (attribution=cam, grad_cam, saliency)"),
        (["~cam"], "cam= is attribution= since 0.2 (attribution=cam, grad_cam, saliency)"),
        (["datamodule.picture_size=64"], "datamodule.picture_size= is datamodule.image_size= since 0.2"),
        (
            ["datamodule=cub", "datamodule.image_size=64"],
            "datamodule.image_size= is datamodule.input_size= since 0.2",
        ),
        (
            ["datamodule=folder", "datamodule.annotations=voc"],
            "datamodule.annotations=NAME is datamodule/annotations=NAME since 0.2 (voc, coco, csv, masks)",
        ),
    ],
)
def test_options_that_have_another_name_now(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match="since") as refused:
        refuse_options(arguments)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "arguments",
    [
        ["attribution=cam", "camera=1", "localization.cam_threshold=0.2"],
        ["datamodule.image_size=64"],  # of the images that textures draws
        ["datamodule=textures", "datamodule.image_size=64"],
        ["datamodule=my_own", "datamodule.image_size=64"],
        ["datamodule=imagenet", "datamodule.annotations=/data/voc"],
        ["datamodule/annotations=voc"],
    ],
)
def test_options_of_today_are_not_refused(arguments: list[str]) -> None:
    refuse_options(arguments)


def test_a_configuration_with_the_former_group_is_refused() -> None:
    refuse_config(OmegaConf.create({"attribution": {}}), "RUN")
    with pytest.raises(ValueError, match=r"^RUN was written by camloc 0\.1; only that version reads it$"):
        refuse_config(OmegaConf.create({"cam": {"_target_": "a"}}), "RUN")


def test_the_rule_for_sizes_reads_the_packaged_files() -> None:
    conf = Path(__file__).parents[2] / "conf" / "datamodule"
    assert "\nimage_size:" in (conf / "textures.yaml").read_text()
    assert "\nimage_size:" not in (conf / "cub.yaml").read_text()
