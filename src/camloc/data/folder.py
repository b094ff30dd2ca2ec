"""Pictures of your own in class folders, with annotation from other tools where localization is to be measured.

Either ``train/<class>/*.jpg`` with ``val/`` and ``test/`` or one of them, or class folders at once, which are then
split. Annotation lies in ``annotations/<train|val|test>/`` (in ``annotations/`` where the class folders come first),
flat or in class folders, or beside the pictures; COCO json and CSV may be ``annotations/<train|val|test>.json``. Boxes
and masks are taken to be drawn on the picture as it is shown, upright where its EXIF data says that it was rotated.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Unpack, get_args

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.clipping import clip_to_pictures
from camloc.data.annotations.coco import read_coco
from camloc.data.annotations.csv_boxes import read_csv
from camloc.data.annotations.matching import below, file_names, files_below, match, stems
from camloc.data.annotations.objects import Objects
from camloc.data.annotations.picture_masks import PictureMaskFiles
from camloc.data.annotations.voc import read_voc
from camloc.data.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.files import FileSplit
from camloc.data.index import FolderIndex, index_class_folders
from camloc.data.mask_files import mask_split
from camloc.data.split import Split, SplitName

Format = Literal["voc", "coco", "csv", "masks"]
ANNOTATIONS = "annotations"
MASK_ENDINGS = (".png", "_mask.png")


class _Part(NamedTuple):
    """Some pictures of one folder."""

    source: str
    """``train``, ``val``, ``test``, or empty where class folders lie in the root."""
    image_ids: NDArray[np.bytes_]
    targets: NDArray[np.int64]


class Folder(LocalizationDataModule):
    """Pictures in class folders.

    Args:
        root: Holds ``train/<class>/`` and perhaps ``val/`` and ``test/``, or the class folders.
        annotations: ``voc``, ``coco``, ``csv`` or ``masks``; null trains and draws heatmaps without measuring boxes.
        val_share: Of each class, what is held out for ``val`` where there is neither ``val/`` nor ``test/``.
        test_share: The same for ``test``. Where one of the two folders is there, half of each class becomes the other.
        voc_one_based: Whether the first pixel of VOC files is 1, as the format's description says.
        options: See ``LoaderOptions``; ``seed`` also settles what is held out.

    Raises:
        FileNotFoundError: If a folder or the annotation is missing.
        ValueError: If a class is not trained on, an annotation is broken or could belong to two pictures, or no object
            of a picture has its class's name.
    """

    def __init__(
        self,
        root: str,
        annotations: Format | None = None,
        val_share: float = 0.15,
        test_share: float = 0.15,
        voc_one_based: bool = True,
        **options: Unpack[LoaderOptions],
    ) -> None:
        self.root, self.format, self.voc_one_based = Path(root), annotations, voc_one_based
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"datamodule.root={root} is no folder; give the one with train/ or the class folders"
            )
        if annotations is not None and annotations not in get_args(Format):
            raise ValueError(f"datamodule.annotations must be one of {get_args(Format)} or null, found {annotations!r}")
        if not (val_share > 0 and test_share > 0 and val_share + test_share < 1):
            raise ValueError(
                f"datamodule.val_share={val_share} and test_share={test_share} must leave pictures to train"
            )
        self.shares = (val_share, test_share)
        self._train_source = "train" if (self.root / "train").is_dir() else ""
        self._index = self._class_folders(self._train_source)
        if not len(self._index.image_ids):
            folder = self.root / self._train_source
            raise ValueError(f"{folder} has no class folder with pictures; put them in {folder}/<class>/")
        super().__init__(self._index.classes, **options)

    def load_split(self, name: SplitName) -> Split:
        """List a split's pictures; annotation is read for ``val`` and ``test`` alone."""
        part = self._part(name)
        if name == "train" or self.format is None:
            return FileSplit(self.root, part.image_ids, part.targets)
        everything = [os.fsdecode(image_id) for image_id in self._class_folders(part.source).image_ids]
        if self.format == "masks":
            files = self._files(part.source, everything, (".png",), MASK_ENDINGS)
            masks = [files[os.fsdecode(image_id)] for image_id in part.image_ids]
            return mask_split(self.root, part.image_ids, part.targets, PictureMaskFiles(masks))
        chosen = [os.fsdecode(image_id) for image_id in part.image_ids]
        own = self._objects(part.source, everything, chosen)
        where = [picture if found is None else found.where for picture, found in zip(chosen, own, strict=True)]
        pictures = [self.root / picture for picture in chosen]
        boxes, cut = clip_to_pictures(self._of_class(own, part.targets), pictures, where)
        if cut:
            self.notes.append(f"{name}: {cut} true boxes reached beyond their pictures and were cut off at the edge")
        return FileSplit(self.root, part.image_ids, part.targets, boxes)

    def _part(self, name: SplitName) -> _Part:
        """Return the pictures of a split, held out where it has no folder of its own."""
        given = [split for split in ("val", "test") if self._train_source and (self.root / split).is_dir()]
        train = _Part(self._train_source, self._index.image_ids, self._index.targets)
        if not given:
            return self._drawn(train, [*self.shares, 1.0], ("val", "test", "train").index(name))
        if name == "train":
            return train
        source = name if name in given else given[0]
        index = self._class_folders(source)
        unknown = sorted(set(index.classes) - set(self.class_names))
        if unknown:
            raise ValueError(
                f"{self.root / source}: no training picture is of class {', '.join(unknown[:3])}; found "
                f"{', '.join(self.class_names[:5])} in {self.root / 'train'}"
            )
        renumbered = np.array([self.class_names.index(c) for c in index.classes], dtype=np.int64)[index.targets]
        part = _Part(source, index.image_ids, renumbered)
        return part if len(given) > 1 else self._drawn(part, [0.5, 1.0], ("val", "test").index(name))

    def _drawn(self, part: _Part, shares: Sequence[float], place: int) -> _Part:
        """Deal each class's pictures in an order that follows from the seed, and return one of the hands.

        Args:
            part: The pictures.
            shares: Of each hand; the last one takes what is left. None is empty where a class has enough pictures.
            place: Which hand.
        """
        chosen = []
        for target in range(self.num_classes):
            members = np.flatnonzero(part.targets == target)
            order = np.random.default_rng([self.seed, target]).permutation(members)
            sizes = [max(round(share * len(members)), len(members) >= len(shares)) for share in shares[:-1]]
            chosen.append(np.split(order, np.cumsum(sizes))[place])
        places = np.sort(np.concatenate(chosen))
        return _Part(part.source, part.image_ids[places], part.targets[places])

    def _class_folders(self, source: str) -> FolderIndex:
        index = index_class_folders(self.root / source, self.root)
        if source or ANNOTATIONS not in index.classes:
            return index
        kept = [c for c in index.classes if c != ANNOTATIONS]
        place = index.classes.index(ANNOTATIONS)
        pictures = index.targets != place
        targets = index.targets[pictures]
        return FolderIndex(tuple(kept), index.image_ids[pictures], targets - (targets > place))

    def _files(
        self, source: str, pictures: Sequence[str], suffixes: Sequence[str], endings: Sequence[str]
    ) -> dict[str, Path | None]:
        """Find the annotation file of each picture of a folder."""
        folder = self.root / ANNOTATIONS / source
        if not folder.is_dir():  # beside the pictures
            folder = self.root / source
        inside = [os.path.relpath(picture, source or ".") for picture in pictures]
        files = files_below(folder, suffixes)
        if folder == self.root / source:
            files = {name: path for name, path in files.items() if name not in set(inside)}
        found, left = match(inside, files, lambda picture: stems(picture, endings), str(folder))
        self._tell(folder, found, left)
        return dict(zip(pictures, found, strict=True))

    def _objects(self, source: str, everything: Sequence[str], chosen: Sequence[str]) -> list[Objects | None]:
        """Read the objects of some pictures of a folder; a file is found among those of all of them."""
        if self.format == "voc":
            files = self._files(source, everything, (".xml",), (".xml",))
            return [None if (file := files[picture]) is None else self._voc(file) for picture in chosen]
        file = self._table(source)
        inside = [os.path.relpath(picture, source or ".") for picture in everything]
        read = read_coco if self.format == "coco" else read_csv
        found, left = match(inside, below(source, read(file), str(file)), file_names, str(file))
        self._tell(file, found, left)
        objects = dict(zip(everything, found, strict=True))
        return [objects[picture] for picture in chosen]

    def _voc(self, file: Path) -> Objects:
        content = read_voc(file, one_based=self.voc_one_based)
        return Objects(content.boxes, content.names, str(file))

    def _table(self, source: str) -> Path:
        ending = "json" if self.format == "coco" else "csv"
        name = source or ANNOTATIONS
        wanted = [self.root / ANNOTATIONS / f"{name}.{ending}", self.root / f"{ANNOTATIONS}.{ending}"]
        wanted += [
            self.root / ANNOTATIONS / f"instances_{name}.{ending}",
            self.root / source / f"{ANNOTATIONS}.{ending}",
        ]
        found = next((file for file in wanted if file.is_file()), None)
        if found is None:
            raise FileNotFoundError(f"datamodule.annotations={self.format}: there is no {wanted[0]}, nor {wanted[1]}")
        return found

    def _of_class(self, objects: Sequence[Objects | None], targets: NDArray[np.int64]) -> list[NDArray[np.float64]]:
        """Keep the objects of each picture's class; where no object is named like any class, all of them."""
        named = {name for found in objects if found is not None for name in found.names}
        if named.isdisjoint(self.class_names):
            return [np.zeros((0, 4)) if found is None else found.boxes for found in objects]
        boxes = []
        for found, target in zip(objects, targets.tolist(), strict=True):
            wanted = self.class_names[target]
            own = None if found is None else np.array([name in (None, wanted) for name in found.names], dtype=bool)
            if found is not None and own is not None and len(own) and not own.any():
                raise ValueError(
                    f"{found.where}: the picture lies in the folder {wanted} and its objects are called "
                    f"{', '.join(sorted(map(str, set(found.names))))}; make the label maps agree"
                )
            boxes.append(np.zeros((0, 4)) if found is None or own is None else found.boxes[own])
        return boxes

    def _tell(self, where: Path, found: Sequence[object | None], left: Sequence[str]) -> None:
        if all(item is None for item in found):
            raise FileNotFoundError(
                f"datamodule.annotations={self.format}: {where} annotates none of the {len(found)} pictures; an "
                "annotation is found by the picture's name"
            )
        if left:
            self.notes.append(f"{where}: {len(left)} annotations belong to no picture, first {', '.join(left[:3])}")
