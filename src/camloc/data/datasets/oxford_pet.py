"""Oxford-IIIT Pet in its official layout: 37 breeds of cats and dogs, every image with a trimap of the animal.

``images/{Breed}_{number}.jpg``, ``annotations/{trainval,test}.txt`` with lines ``Image CLASS SPECIES BREED`` (CLASS
from 1) and comments behind ``#``, and ``annotations/trimaps/{Image}.png`` with 1 on the animal, 2 behind it and 3 on
the border between the two, which is annotated as neither (Parkhi et al., CVPR 2012).
"""

import re
from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.data.annotations.mask_files import (
    mask_split,
    read_levels,
    refuse_missing,
    refuse_other_aspect,
    resize_levels,
    tight_box,
)
from camloc.data.annotations.text_files import located_lines
from camloc.data.loading.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, SplitName

FOREGROUND, BACKGROUND, BORDER = 1, 2, 3
LINE = re.compile(r"(?P<image>(?P<breed>\w+)_(?P<number>\d+))\s+(?P<label>[1-9]\d{0,3})\s+\d+\s+\d+")
TRIMAPS = "annotations/trimaps"


class OxfordPet(LocalizationDataModule):
    """Oxford-IIIT Pet with a ``val`` split held out from ``trainval``.

    Masks are the trimap's foreground, its border is ignored, and the box is tight around the mask, one for all animals
    of an image. The boxes that come with the data set are of heads, and are not used.

    Args:
        root: Folder with ``images`` and ``annotations``.
        val_per_class: How many trainval images of each class, the first by number, are held out for ``val``.
        options: See ``LoaderOptions``.

    Raises:
        FileNotFoundError: If the folder lacks a file of the layout.
        ValueError: If a line is malformed, an image is listed twice, or a trimap cannot be read, has other values
            or another shape than its image.
    """

    def __init__(self, root: str, val_per_class: int = 10, **options: Unpack[LoaderOptions]) -> None:
        self.root = Path(root)
        if val_per_class < 1:
            raise ValueError(f"datamodule.val_per_class must be at least 1, got {val_per_class}")
        self.val_per_class = val_per_class
        self._listed = self._read_lists()
        breed_of: dict[int, str] = {}
        for image in self._listed:
            if breed_of.setdefault(image.target, image.breed) != image.breed:
                raise ValueError(
                    f"{image.where}: class {image.target + 1} is {image.breed}, "
                    f"and {breed_of[image.target]} in an earlier line"
                )
        missing = sorted(set(range(max(breed_of) + 1)) - set(breed_of))
        if missing:
            raise ValueError(f"{self.root / 'annotations'}: no image has class {missing[0] + 1}; classes run from 1")
        super().__init__([breed_of[target] for target in range(len(breed_of))], **options)

    def load_split(self, name: SplitName) -> Split:
        """Find the boxes around a split's trimaps; training reads none unless it is to see boxes."""
        images = [image for image in self._listed if (image.list_name == "test") == (name == "test")]
        if name != "test":
            held_out = self._held_out(images)
            images = [image for image in images if (image.name in held_out) == (name == "val")]
        image_ids = np.array([f"images/{image.name}.jpg".encode() for image in images], dtype=np.bytes_)
        targets = [image.target for image in images]
        lists = self.root / "annotations" / ("test.txt" if name == "test" else "trainval.txt")
        named_in = f"{lists} names; give all of images and annotations as datamodule.root"
        refuse_missing(self.root, image_ids, named_in)
        if not self.reads_boxes(name):
            return FileSplit(self.root, image_ids, targets)
        trimaps = np.array([f"{TRIMAPS}/{image.name}.png".encode() for image in images], dtype=np.bytes_)
        refuse_missing(self.root, trimaps, named_in)
        return mask_split(self.root, image_ids, targets, Trimaps(self.root, trimaps, named_in))

    def _held_out(self, images: list["_ListedImage"]) -> set[str]:
        """Return the names of the images that are for validation."""
        held_out: set[str] = set()
        for target, breed in enumerate(self.class_names):
            # Images with neighbouring numbers may show one animal, so neighbours are held out together.
            of_class = sorted((image for image in images if image.target == target), key=lambda p: p.number)
            if len(of_class) <= self.val_per_class:
                raise ValueError(
                    f"{self.root}/annotations/trainval.txt lists {len(of_class)} images of {breed}; "
                    f"datamodule.val_per_class={self.val_per_class} leaves none for training"
                )
            held_out.update(image.name for image in of_class[: self.val_per_class])
        return held_out

    def _read_lists(self) -> list["_ListedImage"]:
        images: dict[str, _ListedImage] = {}
        for list_name in ("trainval", "test"):
            path = self.root / "annotations" / f"{list_name}.txt"
            try:
                lines = located_lines(path)
            except FileNotFoundError:
                raise FileNotFoundError(
                    f"datamodule.root={self.root} has no annotations/{list_name}.txt; "
                    "give the folder with images and annotations"
                ) from None
            for where, line in lines:
                if not line.strip() or line.startswith("#"):
                    continue
                match = LINE.fullmatch(line.strip())
                if not match:
                    raise ValueError(f"{where}: expected Breed_number CLASS SPECIES BREED, found {line!r}")
                image = _ListedImage(
                    match["image"], match["breed"], int(match["number"]), int(match["label"]) - 1, list_name, where
                )
                if image.name in images:
                    raise ValueError(f"{where}: {image.name} is listed in {images[image.name].where} already")
                images[image.name] = image
        if not images:
            raise ValueError(f"{self.root / 'annotations'}: trainval.txt and test.txt list no image")
        return list(images.values())


class Trimaps:
    """One file per image: foreground, background and the border between, which is ignored.

    Args:
        root: Folder that the files are relative to.
        files: (N,) trimaps.
        named_in: What names the files and which option to change, for messages.
    """

    def __init__(self, root: Path, files: NDArray[np.bytes_], named_in: str) -> None:
        self._root, self._files, self._named_in = root, files, named_in

    def read(self, index: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return ``(mask, ignore)``, each (height,width) bool: foreground, border.

        Raises:
            FileNotFoundError: If the trimap is missing.
            ValueError: If it cannot be read, or holds other values.
        """
        levels = torch.from_numpy(resize_levels(self._levels(index), size))
        return levels == FOREGROUND, levels == BORDER

    def boxes(self, index: int, size: tuple[int, int] | None) -> Tensor:
        """Return (1,4) float32, the tight half-open box around the foreground; (0,4) where there is none.

        Raises:
            FileNotFoundError: If the trimap is missing.
            ValueError: If it cannot be read, holds other values, or is not of its image's shape.
        """
        levels = self._levels(index)
        refuse_other_aspect(levels, size, self._path(index))
        return tight_box((levels == FOREGROUND).astype(np.uint8), size)

    def _path(self, index: int) -> Path:
        return self._root / bytes(self._files[index]).decode()

    def _levels(self, index: int) -> NDArray[np.uint8]:
        path = self._path(index)
        levels = read_levels(path, self._named_in)
        if levels.min() < FOREGROUND or levels.max() > BORDER:
            raise ValueError(
                f"{path} is not a trimap: its pixels are {FOREGROUND} (object), {BACKGROUND} (background) or "
                f"{BORDER} (border), found {levels.min()} to {levels.max()}"
            )
        return levels


class _ListedImage(NamedTuple):
    """A line of a list."""

    name: str
    breed: str
    number: int
    target: int
    list_name: str
    where: str
