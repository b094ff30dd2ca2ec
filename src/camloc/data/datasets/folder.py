"""Images of your own in class folders, with annotation from other tools where localization is to be measured.

Either ``train/<class>/*.jpg`` with ``val/`` and ``test/`` or one of them, or class folders at once, which are then
split. Annotation lies in ``annotations/<split's folder>/`` or ``annotations/``, flat or in class folders, or beside the
images; COCO json and CSV may be ``annotations/<split's folder>.json`` or one ``annotations.json`` for all. Boxes and
masks are taken to be drawn on the image as it is shown, upright where its EXIF data says that it was rotated.
"""

import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar, Unpack, get_args

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.clipping import clip_to_images
from camloc.data.annotations.coco import read_coco
from camloc.data.annotations.csv_boxes import read_csv
from camloc.data.annotations.image_masks import ImageMaskFiles
from camloc.data.annotations.mask_files import mask_split
from camloc.data.annotations.matching import below, file_names, files_below, match, stems
from camloc.data.annotations.objects import Objects
from camloc.data.annotations.voc import read_voc
from camloc.data.datasets.folder_layout import ANNOTATIONS, FolderLayout, Part
from camloc.data.loading.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, SplitName

Format = Literal["voc", "coco", "csv", "masks"]
MASK_SUFFIXES = (".png",)
MASK_ENDINGS = (".png", "_mask.png")
Value = TypeVar("Value")


class Folder(LocalizationDataModule):
    """Images in class folders.

    Args:
        root: Holds ``train/<class>/`` and perhaps ``val/`` (or ``valid/``, ``validation/``) and ``test/``, or the class
            folders.
        annotations: ``voc``, ``coco``, ``csv`` or ``masks``; null trains and draws heatmaps without measuring boxes.
        val_share: Of each class, what is held out for ``val`` where there is neither ``val/`` nor ``test/``.
        test_share: The same for ``test``. Where one of the two folders is there, half of each class becomes the other.
        voc_one_based: Whether the first pixel of VOC files is 1, as the format's description says.
        options: See ``LoaderOptions``; ``seed`` also settles what is held out.

    Raises:
        FileNotFoundError: If a folder or the annotation is missing.
        ValueError: If a class is not trained on, an annotation is broken, could belong to two images or is of a
            image of another shape, or no object of an image has its class's name.
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
        self.root, self.format, self.voc_one_based = Path(str(root)).expanduser(), annotations, voc_one_based
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"datamodule.root={root} is no folder; give the one with train/ or the class folders"
            )
        if annotations is not None and annotations not in get_args(Format):
            raise ValueError(f"datamodule.annotations must be one of {get_args(Format)} or null, found {annotations!r}")
        shares = (val_share, test_share)
        if not (all(isinstance(share, int | float) and share > 0 for share in shares) and sum(shares) < 1):
            raise ValueError(f"datamodule.val_share={val_share} and test_share={test_share} must leave images to train")
        beside = annotations == "masks" and not files_below(self.root / ANNOTATIONS, MASK_SUFFIXES)
        seed = options.get("seed", 0)
        self._layout = FolderLayout(self.root, shares, seed, masks_beside=beside)
        super().__init__(self._layout.class_names, **options)

    def load_split(self, name: SplitName) -> Split:
        """List a split's images; annotation is read for ``val`` and ``test`` alone."""
        part = self._layout.part(name)
        self.notes += [note for note in self._layout.notes if note not in self.notes]
        if name == "train" or self.format is None:
            return FileSplit(self.root, part.image_ids, part.targets)
        chosen = [os.fsdecode(image_id) for image_id in part.image_ids]
        if self.format == "masks":
            masks = self._files(part.source, MASK_SUFFIXES, MASK_ENDINGS)
            found = ImageMaskFiles([masks[image] for image in chosen])
            split = mask_split(self.root, part.image_ids, part.targets, found)
        else:
            split = FileSplit(self.root, part.image_ids, part.targets, self._boxes(name, part, chosen))
        if not any(len(split.gt_boxes(index)) for index in range(len(split))):
            raise ValueError(
                f"datamodule.annotations={self.format}: no true box for any of the {len(split)} images of {name}; "
                "annotate them, or set datamodule.annotations=null to go without"
            )
        return split

    def _boxes(self, name: SplitName, part: Part, chosen: Sequence[str]) -> list[NDArray[np.float64]]:
        """Return the boxes of a split's images, of their classes and cut at their edges."""
        objects = self._objects(part.source, chosen)
        boxes = self._of_class(name, objects, part.targets)
        clipped = clip_to_images(boxes, [self.root / image for image in chosen], objects)
        if clipped.num_cut:
            self.notes.append(f"{name}: {clipped.num_cut} true boxes reached beyond their images and were cut off")
        if clipped.other_sizes:
            count, first = len(clipped.other_sizes), clipped.other_sizes[0]
            self.notes.append(f"{name}: {count} annotations tell another size than their images have, first {first}")
        return clipped.boxes

    def _objects(self, source: str, chosen: Sequence[str]) -> list[Objects | None]:
        """Read the objects of some images of a split's folder; a file is found among those of all its images."""
        if self.format == "voc":
            files = self._files(source, (".xml",), (".xml",))
            return [None if (file := files[image]) is None else self._voc(file) for image in chosen]
        file, is_shared = self._table(source)
        read = read_coco if self.format == "coco" else read_csv
        table = below("" if is_shared else source, read(file), str(file))
        objects = self._matched(source, is_shared, table, file_names, file)
        return [objects[image] for image in chosen]

    def _voc(self, file: Path) -> Objects:
        content = read_voc(file, one_based=self.voc_one_based)
        return Objects(content.boxes, content.names, str(file), content.image_size)

    def _files(self, source: str, suffixes: Sequence[str], endings: Sequence[str]) -> dict[str, Path | None]:
        """Find the annotation file of each image of a folder."""
        own, flat, beside = self.root / ANNOTATIONS / source, self.root / ANNOTATIONS, self.root / source
        candidates = ((folder, files_below(folder, suffixes)) for folder in (own, flat))
        folder, files = next(((folder, files) for folder, files in candidates if files), (beside, {}))
        if folder == beside:
            images = {os.fsdecode(image_id) for image_id in self._layout.index(source).image_ids}
            lie_there = files_below(beside, suffixes)
            files = {name: file for name, file in lie_there.items() if str(Path(source, name)) not in images}

        def names(image: str, source: str) -> list[str]:
            return stems(image, endings, source)

        return self._matched(source, folder == flat and folder != own, files, names, folder)

    def _table(self, source: str) -> tuple[Path, bool]:
        """Return the file with the boxes of a split's folder, and whether it is of all splits."""
        ending = "json" if self.format == "coco" else "csv"
        name = source or ANNOTATIONS
        shared = self.root / f"{ANNOTATIONS}.{ending}"
        wanted = [
            self.root / ANNOTATIONS / f"{name}.{ending}",
            self.root / ANNOTATIONS / f"instances_{name}.{ending}",
            self.root / source / f"{ANNOTATIONS}.{ending}",
            self.root / source / f"_{ANNOTATIONS}.{self.format}.{ending}",  # as Roboflow exports COCO
            shared,
        ]
        found = next((file for file in wanted if file.is_file()), None)
        if found is None:
            raise FileNotFoundError(f"datamodule.annotations={self.format}: there is no {wanted[0]}, nor {shared}")
        return found, found == shared and source != ""

    def _matched(
        self,
        source: str,
        is_shared: bool,
        annotated: Mapping[str, Value],
        names: Callable[[str, str], list[str]],
        where: Path,
    ) -> dict[str, Value | None]:
        """Find what annotates each image of a folder; what is of all splits must not fit images of two."""
        sources = list(self._layout.sources.values()) if is_shared else [source]
        of = {os.fsdecode(image_id): one for one in sources for image_id in self._layout.index(one).image_ids.tolist()}
        images = list(of)
        found, left = match(images, annotated, lambda image: names(image, of[image]), str(where))
        if all(item is None for item in found):
            wanted = names(images[0], of[images[0]])[0]
            shown = f"it has {', '.join(left[:3])}" if left else "it has nothing of the kind"
            raise FileNotFoundError(
                f"datamodule.annotations={self.format}: {where} annotates none of the {len(found)} images; "
                f"{images[0]} for one would be {wanted} there, and {shown}"
            )
        if left:
            self.notes.append(f"{where}: {len(left)} annotations belong to no image, first {', '.join(left[:3])}")
        return dict(zip(images, found, strict=True))

    def _of_class(
        self, split: SplitName, objects: Sequence[Objects | None], targets: NDArray[np.int64]
    ) -> list[NDArray[np.float64]]:
        """Keep the objects of each image's class; where no object is named like any class, all of them."""
        named = {_plain(name): name for found in objects if found is not None for name in found.names if name}
        if named.keys().isdisjoint(map(_plain, self.class_names)):
            if named:
                shown = ", ".join(list(named.values())[:3])
                self.notes.append(f"{split}: no object is called like a class, but {shown}; all boxes are taken")
            return [np.zeros((0, 4)) if found is None else found.boxes for found in objects]
        boxes = []
        for found, target in zip(objects, targets.tolist(), strict=True):
            wanted = self.class_names[target]
            own = None if found is None else [name is None or _plain(name) == _plain(wanted) for name in found.names]
            if found is not None and found.names and not any(own or []):
                raise ValueError(
                    f"{found.where}: the image lies in the folder {wanted} and its objects are called "
                    f"{', '.join(sorted(map(str, set(found.names))))}; make the label maps agree"
                )
            boxes.append(np.zeros((0, 4)) if found is None or own is None else found.boxes[np.array(own, dtype=bool)])
        return boxes


def _plain(name: str) -> str:
    """Return a class's name without what tools write differently: case, outer spaces, the composition of accents."""
    return unicodedata.normalize("NFC", name).strip().casefold()
