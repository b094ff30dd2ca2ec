"""The layouts of published sets, as their files in conf/datamodule describe them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml  # type: ignore[import-untyped] # no types published
from hydra.utils import instantiate

from camloc.data.annotations.mask_folders import MaskFolders

CONF = Path(__file__).parents[3] / "conf" / "datamodule"
LAYOUTS = {
    "mvtec_ad": (
        ["train/good/000.png", "test/good/000.png", "test/hole/000.png"],
        ["ground_truth/hole/000_mask.png"],
        {"train/good/000.png": "good", "test/good/000.png": "good", "test/hole/000.png": "hole"},
    ),
    "visa": (
        ["Data/Images/Normal/0.JPG", "Data/Images/Anomaly/0.JPG"],
        ["Data/Masks/Anomaly/0.png"],
        {"Data/Images/Normal/0.JPG": "Normal", "Data/Images/Anomaly/0.JPG": "Anomaly"},
    ),
    "mask_beside": (
        ["a/0.jpg", "b/0.png"],
        ["b/0_mask.png"],
        {"a/0.jpg": "good", "b/0.png": "defect"},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_reads_its_set(tmp_path: Path, layout: str) -> None:
    images, masks, expected = LAYOUTS[layout]
    for name in (*images, *masks):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((6, 9), np.uint8)
        pixels[2:4, 3:8] = 255
        assert cv2.imwrite(str(tmp_path / name), pixels)
    config = yaml.safe_load((CONF / f"{layout}.yaml").read_text())
    reader = instantiate(config["format"])
    assert isinstance(reader, MaskFolders)
    table = reader.read(tmp_path)
    found = {table.names[image]: table.class_names[kind] for image, kind in table.labels.tolist()}
    assert found == expected
    assert table.boxes.tolist() == [[3, 2, 8, 4]]
    (image,) = table.box_image.tolist()
    assert table.names[image] not in [name for name, kind in expected.items() if kind in config["objectless_classes"]]
    assert table.masks == masks
