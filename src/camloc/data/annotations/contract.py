"""The contract of annotation readers: a reader turns the files of one format into boxes or masks.

A reader says which files it looks for and reads one of them. The rest is the same for every format: finding the file
of an image, choosing the objects of its class, cutting boxes at the image's edges, drawing boxes around masks. Tools
write annotation in three ways, so there are three kinds of readers::

    BoxFileReader    a file per image with its boxes           Pascal VOC
    BoxTableReader   a file with the boxes of many images      COCO, CSV
    MaskFileReader   a file per image with a mask              mask images

A new format is a class and ``conf/datamodule/annotations/<name>.yaml`` with its ``_target_``, chosen by
``datamodule/annotations=<name>``. Readers raise ``ValueError`` with the file, what was found and the fix.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.objects import Objects
from camloc.data.annotations.problems import DataProblems, collecting

OUTSIDE, INSIDE, IGNORED = 0, 1, 2
"""Levels of a mask's pixels: background, the object, and what counts as neither."""


class BoxFileReader(ABC):
    """Boxes in a file per image, which has the image's name and lies in ``annotations/`` or next to the image.

    Example:
        >>> class OneBox(BoxFileReader):
        ...     endings = (".box.txt",)
        ...
        ...     def read(self, file, image):
        ...         x0, y0, x1, y1 = map(float, file.read_text().split())
        ...         return Objects.checked([(x0, y0, x1, y1)], [None], str(file))
    """

    endings: tuple[str, ...]
    """Of its files, in small letters: ``(".xml",)`` finds ``cat/1.xml`` for ``cat/1.jpg``. The first file that exists
    is read.
    """

    @abstractmethod
    def read(self, file: Path, image: Path) -> Objects:
        """Read the objects of an image.

        Args:
            file: The annotation.
            image: The image, for formats whose boxes are fractions of its sides.
        """

    def read_all(self, files: Sequence[Path | None], images: Sequence[Path]) -> list[Objects | None]:
        """Read the objects of the N images of a split, null for those without a file.

        Raises:
            DataProblems: With everything that is wrong in any of the files.
        """
        problems: list[tuple[str, str]] = []
        found: list[Objects | None] = []
        for file, image in zip(files, images, strict=True):
            found.append(None)
            if file is not None:
                with collecting(problems):
                    found[-1] = self.read(file, image)
        if problems:
            raise DataProblems(problems)
        return found


class BoxTableReader(ABC):
    """Boxes of many images in one file, which names the images."""

    files: tuple[str, ...]
    """Paths below the data set's root, of which the first that exists is read; ``{split}`` is the split's folder. A
    path without it covers all splits: ``("annotations/{split}.json", "annotations.json")``.
    """

    @abstractmethod
    def read(self, file: Path) -> Mapping[str, Objects]:
        """Read the objects of all images, by the path or the bare name that the file gives an image."""


class MaskFileReader(ABC):
    """A mask in a file per image, in ``annotations/`` or next to the image; every piece of it gets a box."""

    endings: tuple[str, ...]
    """Of its files, in small letters: ``(".png", "_mask.png")`` finds either for ``1.jpg``. The first file that exists
    is read; such files next to the images are not images.
    """

    @abstractmethod
    def read(self, file: Path) -> NDArray[np.uint8]:
        """Return the (H,W) mask, each pixel ``OUTSIDE``, ``INSIDE`` or ``IGNORED``.

        It may be smaller or larger than its image, and must have its shape. Loader workers are sent the reader, so it
        must be picklable.
        """


AnnotationReader = BoxFileReader | BoxTableReader | MaskFileReader
