"""OpenImages30k: the subset of OpenImages V5 with which weakly supervised localization is measured by masks.

``{split}/{class}/{id}.jpg`` with ``train``, ``val`` and ``test`` (29,819, 2,500 and 5,000 images of 100 classes), and
below the folder of masks ``{split}/{class}/{id}_m{class}_{hash}.png`` per object and ``{id}_ignore.png`` (Choe et al.,
CVPR 2020). A class is an OpenImages machine id without its ``/m/``.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.mask_files import InstanceMasks, mask_split, refuse_missing
from camloc.data.datasets.wsol_metadata import WsolMetadata
from camloc.data.loading.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.loading.files import FileSplit
from camloc.data.loading.index import index_class_folders
from camloc.data.loading.split import Split, SplitName


class OpenImages(LocalizationDataModule):
    """OpenImages30k with masks, and a box around each of them, for ``val`` and ``test``.

    Args:
        root: Folder with ``train``, ``val`` and ``test``.
        masks: Folder of the masks' ``val`` and ``test``; null: next to the images, in ``root``.
        metadata: ``metadata/OpenImages`` of wsolevaluation, whose ``val`` and ``test`` then say which images and
            masks there are; null takes what the folders hold. Training images are always what the folder holds.
        options: See ``LoaderOptions``.

    Raises:
        FileNotFoundError: If a folder, an image or a mask is missing.
        ValueError: If a mask cannot be read, or the metadata and the folders disagree.
    """

    def __init__(
        self, root: str, masks: str | None = None, metadata: str | None = None, **options: Unpack[LoaderOptions]
    ) -> None:
        self.root = Path(root)
        self.mask_root = self.root if masks is None else Path(masks)
        self.metadata = None if metadata is None else Path(metadata)
        if not self.mask_root.is_dir():
            raise FileNotFoundError(
                f"datamodule.masks={masks} is not a folder; give the one with the masks' val and test"
            )
        super().__init__(_class_folders(self.root), **options)

    def load_split(self, name: SplitName) -> Split:
        """List a split's images and masks, and find the boxes around them."""
        if self.metadata is not None and name != "train":
            return self._named_split(self.metadata / name, with_masks=self.reads_boxes(name))
        image_ids, targets = self._listed(name)
        if name == "train" or not self.reads_boxes(name):
            return FileSplit(self.root, image_ids, targets)
        return mask_split(self.root, image_ids, targets, self._found_masks(name, image_ids))

    def _named_split(self, folder: Path, *, with_masks: bool) -> Split:
        """Return the images and masks that the metadata name."""
        if not folder.is_dir():
            raise FileNotFoundError(
                f"datamodule.metadata={folder.parent} has no folder {folder.name}; "
                "give metadata/OpenImages of wsolevaluation, or null to take what the folders hold"
            )
        metadata = WsolMetadata(str(folder), str(self.mask_root), unannotated=not with_masks)
        image_ids = [metadata.image_id(index) for index in range(len(metadata))]
        targets = [metadata.target(index) for index in range(len(metadata))]
        for image_id, target in zip(image_ids, targets, strict=True):
            if image_id.split("/")[:-1] != [folder.name, *self.class_names[target : target + 1]]:
                raise ValueError(
                    f"{folder}: {image_id} has class {target}, but class {target} of the {self.num_classes} folders in "
                    f"{self.root} is {', '.join(self.class_names[target : target + 1]) or 'missing'}; "
                    "give all class folders of the data set"
                )
        encoded = np.array([image_id.encode() for image_id in image_ids])
        refuse_missing(self.root, encoded, f"{folder / 'image_ids.txt'} names; see datamodule.root")
        if not with_masks:
            return FileSplit(self.root, encoded, targets)
        masks = metadata.instance_masks
        refuse_missing(masks.root, np.concatenate([masks.files, masks.ignore_files]), masks.named_in)
        return mask_split(self.root, encoded, targets, masks)

    def _listed(self, name: SplitName) -> tuple[NDArray[np.bytes_], NDArray[np.int64]]:
        """Return the images in a split's folder with their classes."""
        if not (self.root / name).is_dir():
            raise FileNotFoundError(f"datamodule.root={self.root} has no folder {name}")
        index = index_class_folders(self.root / name, self.root)
        unknown = sorted(set(index.classes) - set(self.class_names))
        if unknown:
            raise ValueError(f"{self.root / name} has class folders that {self.root}/train lacks: {', '.join(unknown)}")
        # Masks may lie next to the images.
        names = np.char.lower(index.image_ids)
        images = np.char.endswith(names, b".jpg") | np.char.endswith(names, b".jpeg")
        target_of = np.searchsorted(self.class_names, index.classes)
        return index.image_ids[images], target_of[index.targets[images]]

    def _found_masks(self, name: SplitName, image_ids: NDArray[np.bytes_]) -> InstanceMasks:
        """Return the masks whose file names name the images."""
        images = [os.fsdecode(image_id) for image_id in image_ids.tolist()]
        index_of: dict[str, int] = {}
        for index, image in enumerate(images):
            other = index_of.setdefault(_stem(image), index)
            if other != index:
                raise ValueError(
                    f"{self.root}: {images[other]} and {image} would have the same masks; remove or rename one"
                )
        ignore_files = [b""] * len(image_ids)
        files: list[bytes] = []
        owners: list[int] = []
        for class_name in self.class_names:
            for image, file, is_ignore in _mask_files(self.mask_root, f"{name}/{class_name}"):
                owner = index_of.get(image)
                if owner is None:
                    continue
                if is_ignore:
                    ignore_files[owner] = file.encode()
                else:
                    files.append(file.encode())
                    owners.append(owner)
        num_files = np.bincount(np.array(owners, dtype=np.int64), minlength=len(image_ids))
        without = np.flatnonzero(num_files == 0)
        if len(without):
            first = images[int(without[0])]
            raise FileNotFoundError(
                f"{len(without)} of {len(image_ids)} images in {self.root / name} have no mask in {self.mask_root}: "
                f"{first}, ... needs {_stem(first)}_m{first.split('/')[1]}_*.png; see datamodule.masks"
            )
        order = np.argsort(owners, kind="stable")
        firsts = np.concatenate([[0], np.cumsum(num_files)])
        named_in = f"was in {self.mask_root / name} at the start; see datamodule.masks"
        return InstanceMasks(self.mask_root, np.array(files)[order], firsts, np.array(ignore_files), named_in)


def _class_folders(root: Path) -> Sequence[str]:
    """Return the sorted classes of the first split that is there: an evaluation needs no training images."""
    for name in ("train", "val", "test"):
        if (root / name).is_dir():
            classes = sorted(path.name for path in (root / name).iterdir() if path.is_dir() and path.name[0] != ".")
            if classes:
                return classes
    raise FileNotFoundError(
        f"datamodule.root={root} has no class folder in train, val or test; "
        "give the folder of OpenImages30k, with images {split}/{class}/{id}.jpg"
    )


def _stem(image: str) -> str:
    return PurePosixPath(image).with_suffix("").as_posix()


def _mask_files(root: Path, folder: str) -> Iterator[tuple[str, str, bool]]:
    """Yield ``(image, file, is_ignore)`` for the mask files of a class in order, images without their suffix."""
    # A class may hold an underscore: 0bt_c3.
    pattern = re.compile(rf"(.+)_(ignore|m{re.escape(folder.rpartition('/')[2])}_[^_]+)\.png")
    names = sorted(path.name for path in (root / folder).iterdir()) if (root / folder).is_dir() else []
    for name in names:
        if match := pattern.fullmatch(name):
            yield f"{folder}/{match[1]}", f"{folder}/{name}", match[2] == "ignore"
