"""ImageNet (ILSVRC 2012 CLS-LOC) in the layouts that ``imagenet_layouts`` finds, with the devkit's ids."""

import os
import re
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from camloc.data.datasets.imagenet_layouts import (
    Devkit,
    boxes_of,
    find_layout,
    read_objects,
    read_synsets,
    refuse_resized,
    unique_names,
)
from camloc.data.datasets.imagenet_validation import official_validation, validation_files
from camloc.data.datasets.wsol_splits import wsol_split
from camloc.data.loading.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.loading.files import FileSplit
from camloc.data.loading.index import FolderIndex, index_class_folders
from camloc.data.loading.split import Split, SplitName

WNID = re.compile(r"n\d+")


class ImageNet(LocalizationDataModule):
    """ImageNet; the 50,000 official validation images in the order of their names are ``test``.

    Class indices follow the sorted WordNet ids. ``test`` has boxes from ``LOC_val_solution.csv``, else from XML files
    ``val/*.xml``, else from none. ``val`` is the first images of each training class that have an XML file, or the
    first of all where there are no XML files of training images.

    Args:
        root: The folder unpacked from Kaggle, or the one with ``train/<wnid>`` and ``val``.
        devkit: Folder of the devkit's ``map_clsloc.txt`` and ground truth, which labels a ``val`` without class folders
            and without boxes.
        annotations: Folder with ``val/*.xml`` and optionally ``train/<wnid>/*.xml``; null for ``Annotations/CLS-LOC``
            below ``root``, if it is there.
        metadata: ``metadata/ILSVRC`` of wsolevaluation, for its boxes of ``test``, and of ImageNetV2, which is ``val``
            then; null for the boxes above.
        val_root: ImageNetV2's folder of class folders 0 to 999; without ``metadata`` it makes a ``val`` without boxes.
            Null holds ``val`` out of train or, with ``metadata``, is ``val2`` next to ``val``.
        val_per_class: How many training images of each class are held out, unless ``val`` is ImageNetV2.
        options: See ``LoaderOptions``.

    Attributes:
        wnids: (C,) the classes' WordNet ids, sorted.
        devkit_ids: (C,) the classes' ids in the devkit and its submission files; null without ``devkit``.

    Raises:
        FileNotFoundError: If a folder, a file of the layout or an image is missing.
        ValueError: If a line is malformed, or two files disagree on images or classes.
    """

    def __init__(
        self,
        root: str,
        devkit: str | None = None,
        annotations: str | None = None,
        metadata: str | None = None,
        val_root: str | None = None,
        val_per_class: int = 10,
        **options: Unpack[LoaderOptions],
    ) -> None:
        if val_per_class < 1:
            raise ValueError(f"datamodule.val_per_class must be at least 1, got {val_per_class}")
        self.val_per_class = val_per_class
        self.layout = find_layout(Path(root), annotations)
        self.metadata = None if metadata is None else Path(metadata)
        self.val_root = None if val_root is None else Path(val_root)
        self._devkit = None if devkit is None else Devkit(Path(devkit))
        names = self._names()
        self.wnids = tuple(sorted(names))
        self.devkit_ids = None if self._devkit is None else self._devkit.ids_of(self.wnids)
        super().__init__(unique_names(names), **options)

    def load_split(self, name: SplitName) -> Split:
        """List a split's images and read their labels and boxes."""
        if name == "test":
            if self.metadata is not None:
                return self._metadata_test(self.metadata)
            return official_validation(self.layout, self._index("val"), self._devkit, self.wnids)
        if name == "train" or (self.metadata is None and self.val_root is None):
            return self._train(held_out=name == "val")
        if self.metadata is None:
            return self._numbered_folders(Path(str(self.val_root)))
        return self._metadata_val(self.metadata)

    def _names(self) -> dict[str, str]:
        """Return the classes' names by WordNet id."""
        if self.layout.synsets is not None:
            return read_synsets(self.layout.synsets)
        if self._devkit is not None:
            return self._devkit.names
        for folder in (self.layout.images / "train", self.layout.images / "val"):
            if folder.is_dir():
                wnids = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
                other = [wnid for wnid in wnids if not WNID.fullmatch(wnid)]
                if other:
                    raise ValueError(
                        f"{folder} has a folder {other[0]}, which is not a WordNet id like n01440764, and would be a "
                        "class; move it elsewhere, or give what lists the classes: datamodule.devkit, or "
                        "LOC_synset_mapping.txt in the root"
                    )
                if wnids:
                    return {wnid: wnid for wnid in wnids}
        raise FileNotFoundError(
            f"{self.layout.images} has no class folders in train or val; give datamodule.devkit, whose "
            "map_clsloc.txt lists the classes"
        )

    def _train(self, *, held_out: bool) -> FileSplit:
        index = self._index("train")
        targets = np.searchsorted(self.wnids, index.classes)[index.targets]
        chosen = np.arange(len(targets))
        if self.metadata is None and self.val_root is None:
            for_val = self._held_out(index)
            chosen = for_val if held_out else np.setdiff1d(chosen, for_val)
        image_ids, targets = index.image_ids[chosen], targets[chosen]
        boxes = self._train_boxes(image_ids, targets) if self.reads_boxes("val" if held_out else "train") else None
        return FileSplit(self.layout.images, image_ids, targets, boxes)

    def _train_boxes(
        self, image_ids: NDArray[np.bytes_], targets: NDArray[np.int64]
    ) -> list[NDArray[np.float64]] | None:
        """Return the boxes of training images, (0,4) of one without an XML file; null without such files."""
        if self.layout.xml("train") is None:
            return None
        names = [os.fsdecode(image_id) for image_id in image_ids.tolist()]
        having = [index for index, name in enumerate(names) if self._train_xml(name).is_file()]
        objects = read_objects([self._train_xml(names[index]) for index in having])
        refuse_resized([self.layout.images / names[index] for index in having], objects)
        boxes = [np.zeros((0, 4))] * len(names)
        for index, found in zip(having, objects, strict=True):
            boxes[index] = boxes_of(found, self.wnids[int(targets[index])])
        return boxes

    def _held_out(self, index: FolderIndex) -> NDArray[np.int64]:
        """Return the positions of the training images that are for validation."""
        held_out: list[int] = []
        xml = self.layout.xml("train")
        starts = np.searchsorted(index.targets, np.arange(len(index.classes) + 1)).tolist()
        for wnid, start, end in zip(index.classes, starts[:-1], starts[1:], strict=True):
            having_boxes = (
                position
                for position in range(start, end)
                if xml is None or self._train_xml(os.fsdecode(index.image_ids[position])).is_file()
            )
            first = list(islice(having_boxes, self.val_per_class))
            if len(first) < self.val_per_class:
                lacking = "" if xml is None else f" with a file in {xml / wnid}"
                raise ValueError(
                    f"{self.layout.images / 'train' / wnid} holds {len(first)} images{lacking}, fewer than "
                    f"datamodule.val_per_class={self.val_per_class}"
                )
            if end - start == self.val_per_class:
                raise ValueError(
                    f"{self.layout.images / 'train' / wnid} holds {end - start} images; "
                    f"datamodule.val_per_class={self.val_per_class} leaves none for training"
                )
            held_out += first
        return np.array(held_out, dtype=np.int64)

    def _metadata_test(self, metadata: Path) -> FileSplit:
        file_of = {PurePosixPath(file).name: file for file in validation_files(self.layout, self._index("val"))}
        return wsol_split(
            self.layout.images,
            metadata / "test",
            self.wnids,
            locate=lambda image_id: file_of.get(image_id.removeprefix("val/"), image_id),
        )

    def _metadata_val(self, metadata: Path) -> FileSplit:
        root = self.layout.images / "val2" if self.val_root is None else self.val_root
        if (root / "0").is_dir() and not (root / "0" / "0.jpeg").is_file():
            raise FileNotFoundError(
                f"{root} has a folder 0 without 0.jpeg: later copies of ImageNetV2 have other file names, by which no "
                f"box in {metadata / 'val'} can be found; give a copy with files 0.jpeg to 9.jpeg as "
                "datamodule.val_root, or set datamodule.metadata=null"
            )
        numbers = [str(target) for target in range(self.num_classes)]
        return wsol_split(
            root,
            metadata / "val",
            numbers,
            lambda image_id: image_id.removeprefix("val2/"),
            "datamodule.val_root",
            with_boxes=self.reads_boxes("val"),
        )

    def _numbered_folders(self, root: Path) -> FileSplit:
        """Return the images of class folders 0 to C-1; sorted as text, 10 would come before 9."""
        index = index_class_folders(root, root)
        known = {str(target) for target in range(self.num_classes)}
        unknown = [name for name in index.classes if name not in known]
        if unknown:
            raise ValueError(
                f"datamodule.val_root={root} has a folder {unknown[0]}; ImageNetV2's class folders are 0 to "
                f"{self.num_classes - 1}"
            )
        targets = np.array([int(name) for name in index.classes], dtype=np.int64)[index.targets]
        order = np.argsort(targets, kind="stable")
        return FileSplit(root, index.image_ids[order], targets[order])

    def _index(self, name: str) -> FolderIndex:
        """Return the images in a split's class folders."""
        if not (self.layout.images / name).is_dir():
            raise FileNotFoundError(f"{self.layout.images} has no folder {name}; see datamodule.root")
        index = index_class_folders(self.layout.images / name, self.layout.images)
        unknown = sorted(set(index.classes) - set(self.wnids))
        if unknown:
            raise ValueError(
                f"{self.layout.images / name} has a folder {unknown[0]}, which is not among the {len(self.wnids)} "
                "classes of the data set"
            )
        return index

    def _train_xml(self, image_id: str) -> Path:
        return (Path(str(self.layout.annotations)) / image_id).with_suffix(".xml")
