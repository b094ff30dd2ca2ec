"""The 50,000 official validation images of ILSVRC: their files, classes and boxes, wherever they are listed."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from camloc.data.annotations.objects import Objects
from camloc.data.datasets.imagenet_layouts import (
    Devkit,
    Layout,
    boxes_of,
    class_of,
    read_objects,
    read_solution,
    refuse_resized,
)
from camloc.data.loading.files import FileSplit
from camloc.data.loading.index import FolderIndex

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")


def official_validation(layout: Layout, index: FolderIndex, devkit: Devkit | None, classes: Sequence[str]) -> FileSplit:
    """Read the images in the order of their names, with boxes if there are any.

    The classes come from the class folders, the devkit's ground truth or the boxes, and must agree.

    Args:
        layout: Where things are.
        index: The images in class folders of ``val``.
        devkit: Null for none.
        classes: (C,) WordNet ids in the order of ``target``.

    Raises:
        FileNotFoundError: If an image is missing, or nothing gives the classes.
        ValueError: If sources disagree, or a file is malformed.
    """
    image_ids = validation_files(layout, index)
    names = [PurePosixPath(image_id).stem for image_id in image_ids]
    in_folders = any(image_id.count("/") > 1 for image_id in image_ids)
    objects = _objects(layout, names, in_folders=in_folders)
    sources: list[tuple[Path, Sequence[str]]] = []
    if in_folders:
        sources.append((layout.images / "val", [PurePosixPath(image_id).parts[1] for image_id in image_ids]))
    if devkit is not None and (truth := devkit.ground_truth()) is not None:
        wnid_of = {f"ILSVRC2012_val_{number:08}": wnid for number, wnid in enumerate(truth[1], start=1)}
        _refuse_unlisted(layout, names, wnid_of, truth[0], all_listed=not in_folders)
        sources.append((truth[0], [wnid_of[name] for name in names]))
    if not sources and objects is not None:
        sources.append((layout.images / "val", [class_of(found) for found in objects]))
    if not sources:
        raise FileNotFoundError(
            f"{layout.images / 'val'} has no class folders, and nothing gives its images' classes; give "
            "datamodule.devkit with a ground truth, datamodule.annotations, or LOC_val_solution.csv in the root"
        )
    _refuse_disagreement(names, sources)
    wnids = sources[0][1]
    target_of = {wnid: target for target, wnid in enumerate(classes)}
    unknown = [(name, wnid) for name, wnid in zip(names, wnids, strict=True) if wnid not in target_of]
    if unknown:
        name, wnid = unknown[0]
        raise ValueError(
            f"{name} is of class {wnid} according to {sources[0][0]}, which is not among the {len(classes)} classes of "
            "the data set; give all of them"
        )
    boxes = None
    if objects is not None:
        refuse_resized([layout.images / image_id for image_id in image_ids], objects)
        boxes = [boxes_of(found, wnid) for found, wnid in zip(objects, wnids, strict=True)]
    return FileSplit(layout.images, image_ids, [target_of[wnid] for wnid in wnids], boxes)


def validation_files(layout: Layout, index: FolderIndex) -> list[str]:
    """Return the official validation images below ``layout.images``, in the order of their names.

    Raises:
        ValueError: If some are in class folders and others are not, or an image is there twice.
    """
    folder = layout.images / "val"
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".")]
    loose = sorted(name for name in names if name.lower().endswith(IMAGE_SUFFIXES))
    if loose and len(index.image_ids):
        raise ValueError(
            f"{folder} holds {len(loose)} images, {loose[0]}, ..., and class folders with "
            f"{len(index.image_ids)}; move all images into class folders or none"
        )
    image_ids = [f"val/{name}" for name in loose] or [os.fsdecode(image_id) for image_id in index.image_ids.tolist()]
    by_stem: dict[PurePosixPath, str] = {}
    for image_id in image_ids:
        other = by_stem.setdefault(PurePosixPath(image_id).with_suffix(""), image_id)
        if other != image_id:
            raise ValueError(
                f"{layout.images} has {other} and {image_id}, and one image must not count twice; remove one"
            )
    return sorted(image_ids, key=lambda image_id: PurePosixPath(image_id).name)


def _objects(layout: Layout, names: Sequence[str], *, in_folders: bool) -> list[Objects] | None:
    """Return what is annotated in the images; null where nothing is."""
    if layout.solution is not None:
        solution = read_solution(layout.solution)
        _refuse_unlisted(layout, names, solution, layout.solution, all_listed=not in_folders)
        return [solution[name] for name in names]
    xml = layout.xml("val")
    if xml is None:
        return None
    with os.scandir(xml) as entries:
        listed = {entry.name.removesuffix(".xml") for entry in entries if entry.name.endswith(".xml")}
    _refuse_unlisted(layout, names, listed, xml, all_listed=not in_folders)
    return read_objects([xml / f"{name}.xml" for name in names])


def _refuse_unlisted(
    layout: Layout, names: Sequence[str], listed: Collection[str], where: Path, *, all_listed: bool
) -> None:
    """Raise unless a file lists all images of ``val`` and, where ``all_listed``, no others."""
    folder = layout.images / "val"
    unlisted = [name for name in names if name not in listed]
    if unlisted:
        raise ValueError(f"{where} lacks {len(unlisted)} of {len(names)} images in {folder}: {unlisted[0]}, ...")
    if all_listed and len(listed) > len(names):
        first = min(set(listed) - set(names))
        raise FileNotFoundError(
            f"{folder} lacks {len(listed) - len(names)} of {len(listed)} images that {where} lists: {first}, ..."
        )


def _refuse_disagreement(names: Sequence[str], sources: Sequence[tuple[Path, Sequence[str]]]) -> None:
    """Raise if two sources give an image two classes."""
    where, wnids = sources[0]
    for other_where, others in sources[1:]:
        for name, wnid, other in zip(names, wnids, others, strict=True):
            if wnid != other:
                raise ValueError(
                    f"{name} is of class {wnid} according to {where} and of {other} according to {other_where}; "
                    "correct one"
                )
