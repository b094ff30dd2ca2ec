from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from camloc.data.datasets.imagenet import ImageNet

TENCH, SETTER, FOX = "n01440764", "n02100735", "n02119789"
# The devkit counts in another order than that of the WordNet ids.
DEVKIT_MAP = [f"{FOX} 1 kit_fox", f"{SETTER} 2 English_setter", f"{TENCH} 3 tench"]
SYNSETS = [f"{TENCH} tench, Tinca tinca", f"{SETTER} English setter", f"{FOX} kit fox, Vulpes macrotis"]
# By number; images have 6x8 pixels, and a box may reach beyond them.
VAL = [
    ("ILSVRC2012_val_00000001", FOX, [[0, 0, 7, 5]]),
    ("ILSVRC2012_val_00000002", TENCH, [[1, 2, 3, 4], [5, 5, 5, 5]]),
    ("ILSVRC2012_val_00000003", SETTER, [[2, 1, 8, 6]]),
    ("ILSVRC2012_val_00000004", FOX, [[0, 3, 4, 4]]),
]
NAMES = [name for name, _, _ in VAL]
TARGETS = [2, 0, 1, 2]
HALF_OPEN = [[[0, 0, 8, 6]], [[1, 2, 4, 5], [5, 5, 6, 6]], [[2, 1, 9, 7]], [[0, 3, 5, 5]]]


def image(path: Path, level: int = 90, size: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path.with_suffix(".jpg")), np.full(size, level, dtype=np.uint8))
    path.with_suffix(".jpg").rename(path)


def xml(path: Path, wnid: str, boxes: list[list[int]]) -> None:
    objects = "".join(
        f"<object><name>{wnid}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for x0, y0, x1, y1 in boxes
    )
    size = "<size><width>8</width><height>6</height><depth>3</depth></size>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation><folder>val</folder><filename>{path.stem}</filename>{size}{objects}</annotation>")


def train(folder: Path, *wnids: str) -> None:
    for wnid in wnids:
        for number in (9, 10, 11, 8):
            image(folder / wnid / f"{wnid}_{number}.JPEG")


def solution(path: Path) -> None:
    rows = []
    for name, wnid, corners in VAL[::-1]:
        tokens = [f"{wnid} {x0} {y0} {x1} {y1} " for x0, y0, x1, y1 in corners]
        rows.append(f"{name},{''.join(tokens)}")
    path.write_text("\n".join(["ImageId,PredictionString", *rows]) + "\n")


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """As unpacked from Kaggle, without training images."""
    root = tmp_path / "kaggle"
    for name, wnid, boxes in VAL:
        image(root / "ILSVRC/Data/CLS-LOC/val" / f"{name}.JPEG")
        xml(root / "ILSVRC/Annotations/CLS-LOC/val" / f"{name}.xml", wnid, boxes)
    solution(root / "LOC_val_solution.csv")
    (root / "LOC_synset_mapping.txt").write_text("\n".join(SYNSETS) + "\n")
    return root


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """As torchvision has it: class folders in train and val."""
    root = tmp_path / "folders"
    for name, wnid, _ in VAL:
        image(root / "val" / wnid / f"{name}.JPEG")
    train(root / "train", TENCH, SETTER, FOX)
    return root


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """As unpacked from the archives: class folders in train, none in val."""
    root = tmp_path / "flat"
    for name in NAMES:
        image(root / "val" / f"{name}.JPEG")
    train(root / "train", TENCH, SETTER, FOX)
    return root


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    folder = tmp_path / "devkit"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "map_clsloc.txt").write_text("\n".join(DEVKIT_MAP) + "\n")
    (folder / "data" / "ILSVRC2014_clsloc_validation_ground_truth.txt").write_text("1\n3\n2\n1\n")
    return folder


def metadata(folder: Path, boxes: dict[str, tuple[int, str]]) -> str:
    """Write metadata from a target and a box per image id."""
    folder.mkdir(parents=True)
    (folder / "image_ids.txt").write_text("\n".join(boxes))
    (folder / "class_labels.txt").write_text("\n".join(f"{i},{target}" for i, (target, _) in boxes.items()))
    (folder / "image_sizes.txt").write_text("\n".join(f"{i},8,6" for i in boxes))
    (folder / "localization.txt").write_text("\n".join(f"{i},{box}" for i, (_, box) in boxes.items()))
    return str(folder.parent)


def ids(data: ImageNet, name: str) -> list[str]:
    split = data.split(name)  # type: ignore[arg-type] # a split's name
    return [split.image_id(i) for i in range(len(split))]


def targets(data: ImageNet, name: str) -> list[int]:
    split = data.split(name)  # type: ignore[arg-type] # a split's name
    return [int(split.target(i)) for i in range(len(split))]


def boxes(data: ImageNet, name: str) -> list[object]:
    split = data.split(name)  # type: ignore[arg-type] # a split's name
    return [split.gt_boxes(i)[0].tolist() for i in range(len(split))]


@pytest.mark.parametrize("with_solution", [True, False])
@pytest.mark.parametrize("given", [".", "ILSVRC"])
def test_kaggles_layout(kaggle: Path, given: str, with_solution: bool) -> None:
    if with_solution:
        for file in (kaggle / "ILSVRC/Annotations/CLS-LOC/val").iterdir():
            file.unlink()
    else:
        (kaggle / "LOC_val_solution.csv").unlink()
    data = ImageNet(str(kaggle / given))
    assert data.wnids == (TENCH, SETTER, FOX)
    assert data.class_names == ("tench", "English setter", "kit fox")
    assert data.devkit_ids is None
    assert ids(data, "test") == [f"val/{name}.JPEG" for name in NAMES]
    assert targets(data, "test") == TARGETS
    assert boxes(data, "test") == HALF_OPEN
    assert data.split("test").image(0).shape == (3, 6, 8)


def test_class_folders_say_the_class_and_names_the_order(folders: Path) -> None:
    (folders / "val" / "valprep.sh").touch()
    data = ImageNet(str(folders))
    assert data.class_names == (TENCH, SETTER, FOX)
    assert ids(data, "test") == [f"val/{wnid}/{name}.JPEG" for name, wnid, _ in VAL]
    assert targets(data, "test") == TARGETS
    assert boxes(data, "test") == [[]] * 4


def test_boxes_next_to_class_folders(folders: Path, tmp_path: Path) -> None:
    for name, wnid, corners in VAL:
        xml(tmp_path / "bbox/val" / f"{name}.xml", wnid, corners)
    # Boxes of images that are not there do not matter: class folders may be a part of the data set.
    xml(tmp_path / "bbox/val/ILSVRC2012_val_00000005.xml", FOX, [[0, 0, 1, 1]])
    assert boxes(ImageNet(str(folders), annotations=str(tmp_path / "bbox")), "test") == HALF_OPEN


def test_the_devkit_labels_images_without_class_folders(flat: Path, devkit: Path) -> None:
    data = ImageNet(str(flat), devkit=str(devkit))
    assert data.devkit_ids == (3, 2, 1)
    assert data.class_names == ("tench", "English setter", "kit fox")
    assert targets(data, "test") == TARGETS
    assert boxes(data, "test") == [[]] * 4


def test_the_devkit_of_2012_names_its_ground_truth_otherwise(flat: Path, devkit: Path) -> None:
    for file in (devkit / "data").iterdir():
        file.rename(devkit / file.name.replace("2014_clsloc", "2012"))
    assert targets(ImageNet(str(flat), devkit=str(devkit)), "test") == TARGETS


def test_boxes_label_images_where_nothing_else_does(flat: Path) -> None:
    for name, wnid, corners in VAL:
        xml(flat / "Annotations/CLS-LOC/val" / f"{name}.xml", wnid, corners)
    data = ImageNet(str(flat))
    assert targets(data, "test") == TARGETS
    assert boxes(data, "test") == HALF_OPEN


def test_val_is_held_out_by_name(folders: Path) -> None:
    data = ImageNet(str(folders), val_per_class=2)
    assert ids(data, "val") == [f"train/{w}/{w}_{n}.JPEG" for w in (TENCH, SETTER, FOX) for n in (10, 11)]
    assert ids(data, "train") == [f"train/{w}/{w}_{n}.JPEG" for w in (TENCH, SETTER, FOX) for n in (8, 9)]
    assert targets(data, "val") == targets(data, "train") == [0, 0, 1, 1, 2, 2]
    assert boxes(data, "val") == [[]] * 6


def test_val_is_held_out_among_the_images_with_boxes(folders: Path, tmp_path: Path) -> None:
    for name, wnid, corners in VAL:
        xml(tmp_path / "bbox/val" / f"{name}.xml", wnid, corners)
    for wnid, number in ((TENCH, 9), (TENCH, 11), (SETTER, 8), (FOX, 8), (FOX, 9)):
        xml(tmp_path / "bbox/train" / wnid / f"{wnid}_{number}.xml", wnid, [[number - 8, 0, 9, 5], [1, 1, 1, 1]])
    data = ImageNet(str(folders), annotations=str(tmp_path / "bbox"), val_per_class=1)
    assert ids(data, "val") == [
        f"train/{wnid}/{wnid}_{number}.JPEG" for wnid, number in ((TENCH, 11), (SETTER, 8), (FOX, 8))
    ]
    assert boxes(data, "val") == [[[x, 0, 10, 6], [1, 1, 2, 2]] for x in (3, 0, 0)]
    assert len(ids(data, "train")) == 9
    assert not set(ids(data, "train")) & set(ids(data, "val"))
    assert boxes(data, "train") == [[]] * 9
    seeing = ImageNet(str(folders), annotations=str(tmp_path / "bbox"), val_per_class=1)
    seeing.train_with_boxes()  # two of nine have an XML file
    assert ids(seeing, "train") == ids(data, "train")
    assert [found for found in boxes(seeing, "train") if found] == [[[1, 0, 10, 6], [1, 1, 2, 2]]] * 2
    with pytest.raises(ValueError, match=rf"train/{SETTER} holds 1 images with a file in .*bbox/train/{SETTER}, few"):
        ImageNet(str(folders), annotations=str(tmp_path / "bbox"), val_per_class=2).split("val")


def test_imagenet_v2_has_numbered_folders(folders: Path, tmp_path: Path) -> None:
    # With eleven classes 10 would come before 2.
    extra = [f"n0300000{number}" for number in range(8)]
    train(folders / "train", *extra)
    for number in (10, 2, 9):
        image(tmp_path / "v2" / str(number) / f"{number}f.jpeg")
    data = ImageNet(str(folders), val_root=str(tmp_path / "v2"))
    assert ids(data, "val") == ["2/2f.jpeg", "9/9f.jpeg", "10/10f.jpeg"]
    assert targets(data, "val") == [2, 9, 10]
    assert boxes(data, "val") == [[], [], []]
    assert len(ids(data, "train")) == 11 * 4  # nothing is held out
    image(tmp_path / "v2/11/a.jpeg")
    with pytest.raises(ValueError, match=r"datamodule\.val_root=.*v2 has a folder 11; .* class folders are 0 to 10"):
        ImageNet(str(folders), val_root=str(tmp_path / "v2")).split("val")


@pytest.mark.parametrize("layout", ["folders", "flat"])
def test_the_splits_of_wsolevaluation(
    request: pytest.FixtureRequest, layout: str, devkit: Path, tmp_path: Path
) -> None:
    root: Path = request.getfixturevalue(layout)
    metadata(tmp_path / "m/test", {f"val/{NAMES[2]}.JPEG": (1, "1,1,7,5"), f"val/{NAMES[0]}.JPEG": (2, "0,0,3,3")})
    given = metadata(tmp_path / "m/val", {"val2/0/0.jpeg": (0, "1,2,3,4"), "val2/2/7.jpeg": (2, "0,0,7,5")})
    for image_id in ("0/0.jpeg", "2/7.jpeg"):
        image(root / "val2" / image_id)
        image(tmp_path / "v2" / image_id, level=200)
    for val_root, level in ((None, 90), (str(tmp_path / "v2"), 200)):
        data = ImageNet(str(root), devkit=str(devkit), metadata=given, val_root=val_root)
        assert ids(data, "val") == ["val2/0/0.jpeg", "val2/2/7.jpeg"]
        assert targets(data, "val") == [0, 2]
        assert boxes(data, "val") == [[[1, 2, 4, 5]], [[0, 0, 8, 6]]]
        assert round(data.split("val").image(1).float().mean().item()) == level
    # The ids are the metadata's, also where images lie in class folders.
    assert ids(data, "test") == [f"val/{NAMES[2]}.JPEG", f"val/{NAMES[0]}.JPEG"]
    assert boxes(data, "test") == [[[1, 1, 8, 6]], [[0, 0, 4, 4]]]
    assert data.split("test").image(0).shape == (3, 6, 8)
    assert len(ids(data, "train")) == 12


def test_renamed_files_of_imagenet_v2_are_explained(folders: Path, tmp_path: Path) -> None:
    given = metadata(tmp_path / "m/val", {"val2/0/0.jpeg": (0, "1,2,3,4")})
    image(folders / "val2/0/3f2b.jpeg")
    with pytest.raises(
        FileNotFoundError, match=r"val2 has a folder 0 without 0\.jpeg: later copies of ImageNetV2 have"
    ):
        ImageNet(str(folders), metadata=given).split("val")


def test_metadata_that_contradict_class_folders_are_refused(folders: Path, tmp_path: Path) -> None:
    given = metadata(tmp_path / "m/test", {f"val/{NAMES[0]}.JPEG": (0, "0,0,3,3")})
    with pytest.raises(ValueError, match=rf"{NAMES[0]}\.JPEG has class 0, {TENCH}, and lies in {FOX}, class 2"):
        ImageNet(str(folders), metadata=given).split("test")


def test_classes_of_one_name_are_distinguished(kaggle: Path) -> None:
    (kaggle / "LOC_synset_mapping.txt").write_text("n03126707 crane\nn02119789 kit fox\nn02012849 crane, bird\n")
    assert ImageNet(str(kaggle)).class_names == ("crane (n02012849)", "kit fox", "crane (n03126707)")


def test_a_root_without_the_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"datamodule\.root={tmp_path} has neither ILSVRC/Data/CLS-LOC nor"):
        ImageNet(str(tmp_path))


def test_missing_parts_are_named_with_the_fix(flat: Path, kaggle: Path, devkit: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"val has no class folders, and nothing gives .*; give datamodule\.devk"
    ):
        ImageNet(str(flat)).split("test")
    with pytest.raises(FileNotFoundError, match=r"datamodule\.annotations=.* has no folder val; give the one with"):
        ImageNet(str(flat), annotations=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"datamodule\.devkit=.* has no map_clsloc\.txt, nor has its folder"):
        ImageNet(str(flat), devkit=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"CLS-LOC has no folder train; see datamodule\.root"):
        ImageNet(str(kaggle)).split("train")
    (devkit / "data" / "ILSVRC2014_clsloc_validation_ground_truth.txt").unlink()
    with pytest.raises(FileNotFoundError, match="nothing gives its images' classes"):
        ImageNet(str(flat), devkit=str(devkit)).split("test")
    for folder in (flat / "train").iterdir():
        folder.rename(tmp_path / folder.name)
    with pytest.raises(FileNotFoundError, match=r"has no class folders in train or val; give datamodule\.devkit"):
        ImageNet(str(flat))


def test_images_and_lists_must_agree(kaggle: Path, flat: Path, devkit: Path) -> None:
    data = ImageNet(str(kaggle))
    images = kaggle / "ILSVRC/Data/CLS-LOC/val"
    (images / f"{NAMES[1]}.JPEG").rename(images / "other.JPEG")
    with pytest.raises(ValueError, match=r"LOC_val_solution\.csv lacks 1 of 4 images in .*/val: other, \.\.\."):
        data.split("test")
    (images / "other.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match=rf"val lacks 1 of 4 images that .*\.csv lists: {NAMES[1]}, \.\.\."):
        data.split("test")
    (kaggle / "LOC_val_solution.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"val lacks 1 of 4 images that .*Annotations/CLS-LOC/val lists"):
        ImageNet(str(kaggle)).split("test")
    (flat / "val" / f"{NAMES[3]}.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match=rf"val lacks 1 of 4 images that .*ground_truth\.txt lists: {NAMES[3]}"):
        ImageNet(str(flat), devkit=str(devkit)).split("test")


def test_classes_must_agree(folders: Path, kaggle: Path, devkit: Path) -> None:
    truth = devkit / "data" / "ILSVRC2014_clsloc_validation_ground_truth.txt"
    truth.write_text("1\n3\n1\n1\n")
    with pytest.raises(
        ValueError,
        match=rf"{NAMES[2]} is of class {SETTER} according to .*/val and of {FOX} according to .*_truth\.txt",
    ):
        ImageNet(str(folders), devkit=str(devkit)).split("test")
    with pytest.raises(ValueError, match=rf"csv, line 3: the image is of class {FOX}, and no object is; .* {SETTER}"):
        ImageNet(str(kaggle), devkit=str(devkit)).split("test")
    (devkit / "data" / "map_clsloc.txt").write_text(f"{FOX} 1 kit_fox\n{TENCH} 3 tench\n")
    with pytest.raises(ValueError, match=rf"map_clsloc\.txt lacks 1 classes: {SETTER}, \.\.\."):
        ImageNet(str(kaggle), devkit=str(devkit))


def test_a_folder_of_no_class_is_refused(folders: Path, kaggle: Path) -> None:
    train(kaggle / "ILSVRC/Data/CLS-LOC/train", "n99")
    with pytest.raises(ValueError, match=r"train has a folder n99, which is not among the 3 classes of the data set"):
        ImageNet(str(kaggle)).split("train")
    image(folders / "val" / "n98" / "ILSVRC2012_val_00000009.JPEG")
    with pytest.raises(ValueError, match=r"val has a folder n98, which is not among the 3 classes of the data set"):
        ImageNet(str(folders)).split("test")


def test_a_class_that_no_training_folder_has_is_refused(flat: Path) -> None:
    (flat / "train" / TENCH).rename(flat / TENCH)
    for name, wnid, corners in VAL:
        xml(flat / "Annotations/CLS-LOC/val" / f"{name}.xml", wnid, corners)
    with pytest.raises(
        ValueError, match=rf"{NAMES[1]} is of class {TENCH} according to .*, which is not among the 2 classes"
    ):
        ImageNet(str(flat)).split("test")


def test_a_val_moved_halfway_into_class_folders_is_refused(folders: Path) -> None:
    image(folders / "val" / "ILSVRC2012_val_00000009.JPEG")
    with pytest.raises(ValueError, match=r"val holds 1 images, ILSVRC2012_val_00000009\.JPEG, \.\.\., and class fold"):
        ImageNet(str(folders)).split("test")


def test_two_files_of_one_image_are_refused(flat: Path, folders: Path, devkit: Path) -> None:
    for root, folder in ((flat, "val"), (folders, f"val/{FOX}")):
        image(root / folder / f"{NAMES[0]}.png")
        with pytest.raises(ValueError, match=rf"has {folder}/{NAMES[0]}\.JPEG and {folder}/{NAMES[0]}\.png, and one "):
            ImageNet(str(root), devkit=str(devkit)).split("test")


def test_boxes_of_images_that_were_resized_are_refused(flat: Path, tmp_path: Path) -> None:
    for name, wnid, corners in VAL:
        xml(flat / "Annotations/CLS-LOC/val" / f"{name}.xml", wnid, corners)
    for number in (8, 9, 10):
        xml(flat / "Annotations/CLS-LOC/train" / FOX / f"{FOX}_{number}.xml", FOX, [[0, 0, 1, 1]])
    for wnid in (TENCH, SETTER):
        (flat / "train" / wnid).rename(tmp_path / wnid)
    (flat / "LOC_synset_mapping.txt").write_text("\n".join(SYNSETS))
    for name in NAMES[:2]:
        image(flat / "val" / f"{name}.JPEG", size=(3, 4))
    assert boxes(ImageNet(str(flat)), "test") == HALF_OPEN  # two files of four may be wrong about their images
    image(flat / "val" / f"{NAMES[3]}.JPEG", size=(3, 4))
    says = rf"{NAMES[0]}\.xml states 8 by 6 pixels, and .*{NAMES[0]}\.JPEG has 4 by 3; give the images as they were"
    with pytest.raises(ValueError, match=rf"3 of 4 images have another size than their XML files state: .*{says}"):
        ImageNet(str(flat)).split("test")
    for number in (8, 9, 10):
        image(flat / "train" / FOX / f"{FOX}_{number}.JPEG", size=(3, 4))
    with pytest.raises(ValueError, match=r"3 of 3 images have another size than their XML files state"):
        ImageNet(str(flat), val_per_class=3).split("val")


def test_a_size_that_is_not_stated_or_a_broken_image_is_not_a_contradiction(flat: Path) -> None:
    for name, wnid, corners in VAL:
        file = flat / "Annotations/CLS-LOC/val" / f"{name}.xml"
        xml(file, wnid, corners)
        image(flat / "val" / f"{name}.JPEG", size=(3, 4))
        file.write_text(file.read_text().replace("<width>8</width>", "<width>0</width>"))
    assert boxes(ImageNet(str(flat)), "test") == HALF_OPEN
    xml(flat / "Annotations/CLS-LOC/val" / f"{NAMES[0]}.xml", *VAL[0][1:])
    (flat / "val" / f"{NAMES[0]}.JPEG").write_bytes(b"no image")
    assert boxes(ImageNet(str(flat)), "test") == HALF_OPEN


def test_hidden_files_in_val_are_left_out(flat: Path, folders: Path, devkit: Path) -> None:
    for root in (flat, folders):
        (root / "val" / f"._{NAMES[0]}.JPEG").write_bytes(b"\0\5\x16\7")
        assert targets(ImageNet(str(root), devkit=str(devkit)), "test") == TARGETS


@pytest.mark.parametrize("name", ["train", "val"])
def test_a_folder_that_is_not_a_wordnet_id_is_refused(folders: Path, devkit: Path, tmp_path: Path, name: str) -> None:
    if name == "val":
        (folders / "train").rename(tmp_path / "elsewhere")
    (folders / name / "notes").mkdir()
    with pytest.raises(ValueError, match=rf"/{name} has a folder notes, which is not a WordNet id .*; move it elsewhe"):
        ImageNet(str(folders))
    with pytest.raises(ValueError, match=rf"/{name} has a folder notes, which is not among the 3 classes"):
        ImageNet(str(folders), devkit=str(devkit)).split("train" if name == "train" else "test")


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\r\n"])
def test_a_mark_and_blank_lines_at_the_end_do_not_matter(
    kaggle: Path, flat: Path, devkit: Path, start: bytes, end: bytes
) -> None:
    for file in [*kaggle.glob("LOC_*"), *(devkit / "data").iterdir()]:
        file.write_bytes(start + file.read_bytes().rstrip(b"\n").replace(b"\n", b"\r\n") + end)
    data = ImageNet(str(kaggle))
    assert data.class_names == ("tench", "English setter", "kit fox")
    assert boxes(data, "test") == HALF_OPEN
    assert targets(ImageNet(str(flat), devkit=str(devkit)), "test") == TARGETS


@pytest.mark.parametrize(
    "file",
    [
        "LOC_val_solution.csv",
        "LOC_synset_mapping.txt",
        "map_clsloc.txt",
        "ILSVRC2014_clsloc_validation_ground_truth.txt",
    ],
)
def test_lines_that_are_not_utf8_are_named(kaggle: Path, devkit: Path, file: str) -> None:
    path = next(path for path in (kaggle / file, devkit / "data" / file) if path.is_file())
    line = path.read_bytes().count(b"\n") + 1
    with path.open("ab") as lines:
        lines.write(b"M\xf6we\n")
    with pytest.raises(ValueError, match=rf"{file}, line {line}: this is not UTF-8 text; save the file as UTF-8"):
        ImageNet(str(kaggle), devkit=str(devkit)).split("test")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"x,{FOX} 1 2 3", r"csv, line 6: expected an image, once, and boxes WNID x0 y0 x1 y1; found \['x'"),
        ("x,", r"csv, line 6: expected an image, once, and boxes"),
        ("x", r"csv, line 6: expected an image, once, and boxes"),
        (f"{NAMES[0]},{FOX} 1 2 3 4", r"csv, line 6: expected an image, once"),
        (f"x,{FOX} 1 2 3 y", r"csv, line 6: expected boxes WNID x0 y0 x1 y1 of whole numbers; found"),
        (f"x,{FOX} 3 2 1 4", r"csv, line 6: the box 3 2 2 5 \(half-open x0 y0 x1 y1\) is inverted"),
    ],
)
def test_broken_lines_of_the_solution_are_named(kaggle: Path, row: str, message: str) -> None:
    with (kaggle / "LOC_val_solution.csv").open("a") as file:
        file.write(row + "\n")
    with pytest.raises(ValueError, match=message):
        ImageNet(str(kaggle)).split("test")


def test_a_solution_without_its_header_is_refused(kaggle: Path) -> None:
    (kaggle / "LOC_val_solution.csv").write_text(f"{NAMES[0]},{FOX} 1 2 3 4\n")
    with pytest.raises(ValueError, match=r"LOC_val_solution\.csv, line 1: expected ImageId,PredictionString"):
        ImageNet(str(kaggle)).split("test")


def test_objects_of_several_classes_name_no_class(kaggle: Path) -> None:
    rows = (kaggle / "LOC_val_solution.csv").read_text()
    (kaggle / "LOC_val_solution.csv").write_text(rows.replace(f" {TENCH} 5", f" {FOX} 5"))
    with pytest.raises(ValueError, match=rf"line 4: the objects of an image have one class; found {TENCH}, {FOX}"):
        ImageNet(str(kaggle)).split("test")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{FOX} 4 kit_fox", r"map_clsloc\.txt, line 4: expected a WordNet id and a number, each once, and a name"),
        ("n02111889 1 samoyed", r"map_clsloc\.txt, line 4: expected a WordNet id and a number, each once"),
        ("n02111889 samoyed", r"map_clsloc\.txt, line 4: .* as in n02119789 1 kit_fox; found 'n02111889 samoyed'"),
        ("n02111889 four samoyed", r"map_clsloc\.txt, line 4: expected"),
    ],
)
def test_broken_lines_of_the_devkit_are_named(flat: Path, devkit: Path, line: str, message: str) -> None:
    (devkit / "data" / "map_clsloc.txt").write_text("\n".join([*DEVKIT_MAP, line]))
    with pytest.raises(ValueError, match=message):
        ImageNet(str(flat), devkit=str(devkit))


def test_a_ground_truth_of_other_ids_is_refused(flat: Path, devkit: Path) -> None:
    (devkit / "data" / "ILSVRC2014_clsloc_validation_ground_truth.txt").write_text("1\n3\n4\n1\n")
    with pytest.raises(ValueError, match=r"ground_truth\.txt, line 3: expected an id of map_clsloc\.txt, .*found '4'"):
        ImageNet(str(flat), devkit=str(devkit)).split("test")


@pytest.mark.parametrize("line", [FOX, f"{FOX} kit fox"])
def test_broken_lines_of_the_synsets_are_named(kaggle: Path, line: str) -> None:
    (kaggle / "LOC_synset_mapping.txt").write_text("\n".join([*SYNSETS, line]))
    with pytest.raises(ValueError, match=rf"mapping\.txt, line 4: expected a WordNet id, once, .* found '{line}'"):
        ImageNet(str(kaggle))


def test_holding_out_everything_is_refused(folders: Path) -> None:
    with pytest.raises(ValueError, match=rf"train/{TENCH} holds 4 images; datamodule\.val_per_class=4 leaves none"):
        ImageNet(str(folders), val_per_class=4).split("train")
    with pytest.raises(ValueError, match=rf"train/{TENCH} holds 4 images, fewer than datamodule\.val_per_class=5"):
        ImageNet(str(folders), val_per_class=5).split("val")
    with pytest.raises(ValueError, match=r"datamodule\.val_per_class must be at least 1, got 0"):
        ImageNet(str(folders), val_per_class=0)


@pytest.mark.slow
def test_real_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Callable[[str], Path]) -> None:
    metadata = shared_data("wsolevaluation-metadata/ILSVRC")
    for image_id in (metadata / "val" / "image_ids.txt").read_text().splitlines():
        path = tmp_path / image_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "val").mkdir()
    wnids = [f"n{number:08}" for number in range(1000)]
    (tmp_path / "LOC_synset_mapping.txt").write_text("\n".join(f"{wnid} {wnid}" for wnid in wnids))
    data = ImageNet(str(tmp_path), metadata=str(metadata))
    val = data.split("val")
    assert (len(val), val.image_id(9999), val.target(9999)) == (10000, "val2/999/9.jpeg", 999)
    with pytest.raises(
        FileNotFoundError, match=r"lacks 50000 of 50000 files, val/ILSVRC2012_val_00000001\.JPEG, which"
    ):
        data.split("test")
    # Making 50,000 images takes longer than all other tests here.
    monkeypatch.setattr("camloc.data.datasets.wsol_splits.refuse_missing", lambda *_: None)
    test = data.split("test")
    assert (len(test), test.image_id(0), test.target(0)) == (50000, "val/ILSVRC2012_val_00000001.JPEG", 65)
    assert test.gt_boxes(0)[0].tolist() == [[111, 108, 442, 194]]
    assert test.gt_boxes(1)[0].tolist() == [[45, 49, 500, 163], [2, 69, 438, 208]]
