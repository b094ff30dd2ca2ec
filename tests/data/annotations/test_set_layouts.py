"""The layouts of published sets, through their files in conf/datamodule."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from camloc.data.datasets.annotated import Annotated

CONF = Path(__file__).parents[3] / "conf"
BOX = (3, 2, 8, 4)
"""Half-open, the piece that every mask here outlines."""


def draw(root: Path, *names: str) -> None:
    """Images or masks of 6 by 9 pixels, no two with the same bytes."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((6, 9), np.uint8)
        pixels[2:4, 3:8] = 255
        if "mask" not in name.lower():
            pixels[5] = number
        assert cv2.imwrite(str(root / name), pixels)


def layout(name: str, root: Path, **options: Any) -> Annotated:  # noqa: ANN401 - values of a configuration
    overrides = [f"datamodule={name}", f"datamodule.root={root}", "datamodule.input_size=32"]
    overrides += [f"datamodule.{key}={value}" for key, value in options.items()]
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("train", overrides)
    made = instantiate(config.datamodule)
    assert isinstance(made, Annotated)
    return made


def found(datamodule: Annotated) -> dict[str, tuple[list[str], list[list[float]]]]:
    """Classes and boxes by image, of all splits."""
    datamodule.train_with_boxes()
    images = {}
    for name in datamodule.split_names:
        split = datamodule.split(name)
        for i in range(len(split)):
            target = split.target(i)
            classes = [target] if isinstance(target, int) else np.flatnonzero(target.numpy()).tolist()
            boxes = [box for of_pair in split.gt_boxes(i) for box in of_pair.tolist()]
            images[split.image_id(i)] = [datamodule.class_names[kind] for kind in classes], boxes
    return images


def test_mvtec_ad(tmp_path: Path) -> None:
    good = [f"{split}/good/{i:03}.png" for split in ("train", "test") for i in range(30)]
    bad = [f"test/{kind}/{i:03}.png" for kind in ("cut", "hole") for i in range(30)]
    draw(tmp_path, *good, *bad, *(f"ground_truth/{name[5:-4]}_mask.png" for name in bad))
    datamodule = layout("mvtec_ad", tmp_path)
    assert datamodule.class_names == ("cut", "good", "hole")
    assert datamodule.objectless == {1}
    assert found(datamodule) == {name: (["good"], []) for name in good} | {
        name: ([name.split("/")[1]], [list(map(float, BOX))]) for name in bad
    }
    assert not datamodule.several_labels


def test_visa(tmp_path: Path) -> None:
    good, bad = ([f"Data/Images/{kind}/{i:04}.JPG" for i in range(30)] for kind in ("Normal", "Anomaly"))
    draw(tmp_path, *good, *bad, *(f"Data/Masks/Anomaly/{i:04}.png" for i in range(30)))
    datamodule = layout("visa", tmp_path)
    assert datamodule.class_names == ("Anomaly", "Normal")
    assert datamodule.objectless == {1}
    assert found(datamodule) == {name: (["Normal"], []) for name in good} | {
        name: (["Anomaly"], [list(map(float, BOX))]) for name in bad
    }


@pytest.mark.parametrize("ending", ["_mask.png", "_label.bmp"])
def test_a_mask_beside_each_image(tmp_path: Path, ending: str) -> None:
    good, bad = ([f"kos{i:02}/Part{part}.jpg" for i in range(30)] for part in (0, 1))
    draw(tmp_path, *good, *bad)
    for name in bad:
        mask = cv2.imread(str(tmp_path / name), cv2.IMREAD_GRAYSCALE)
        assert mask is not None
        mask[:] = 0
        mask[2:4, 3:8] = 255
        assert cv2.imwrite(str(tmp_path / name.replace(".jpg", ending)), mask)
    datamodule = layout("mask_beside", tmp_path, **{"format.masks": f"'{{folder}}/{{stem}}{ending}'"})
    assert datamodule.class_names == ("defect", "good")
    assert datamodule.objectless == {1}
    assert found(datamodule) == {name: (["good"], []) for name in good} | {
        name: (["defect"], [list(map(float, BOX))]) for name in bad
    }


def test_neu_det(tmp_path: Path) -> None:
    expected = {}
    for split, numbers in (("train", range(4)), ("validation", range(4, 24))):
        for kind in ("crazing", "scratches"):
            for i in numbers:
                image = f"{split}/images/{kind}/{kind}_{i}.png"
                draw(tmp_path, image)
                pixels = np.full((6, 9), i + 100 * (kind == "crazing"), np.uint8)
                assert cv2.imwrite(str(tmp_path / image), pixels)
                xml = tmp_path / split / "annotations" / f"{kind}_{i}.xml"
                xml.parent.mkdir(exist_ok=True)
                xml.write_text(
                    f"<annotation><folder>x</folder><filename>{kind}_{i}.png</filename><size><width>9</width>"
                    f"<height>6</height><depth>1</depth></size><object><name>{kind}</name><bndbox><xmin>4</xmin>"
                    "<ymin>3</ymin><xmax>8</xmax><ymax>4</ymax></bndbox></object></annotation>"
                )
                expected[image] = [kind], [list(map(float, BOX))]
    datamodule = layout("neu_det", tmp_path)
    assert found(datamodule) == expected
    train = datamodule.split("train")
    assert {train.image_id(i).split("/")[0] for i in range(len(train))} == {"train"}


def test_nih_chestxray14(tmp_path: Path) -> None:
    rows, names = [], []
    for patient in range(40):
        for visit in range(2):
            name = f"{patient:08}_{visit:03}.png"
            names.append(name)
            labels = ("No Finding", "Infiltration|Mass")[patient % 2]
            rows.append(f"{name},{labels},{visit},{patient},057Y,M,PA,2682,2749,0.143,0.143,")
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    )
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join([header, *rows]))
    boxed = names[2]
    (tmp_path / "BBox_List_2017.csv").write_text(
        f"Image Index,Finding Label,Bbox [x,y,w,h],,,\n{boxed},Infiltrate,3,2,5,2,,,\n"
    )
    draw(tmp_path, *(f"images_001/images/{name}" for name in names))
    datamodule = layout("nih_chestxray14", tmp_path)
    assert datamodule.several_labels
    assert found(datamodule) == {
        f"images_001/images/{name}": (
            ["Infiltration", "Mass"] if int(name[:8]) % 2 else [],
            [list(map(float, BOX))] if name == boxed else [],
        )
        for name in names
    }
    for split in datamodule.split_names:
        images = datamodule.split(split)
        patients = {images.image_id(i).split("/")[-1][:8] for i in range(len(images))}
        assert len(images) == 2 * len(patients), "both images of a patient"
