"""Which annotation belongs to which image of a folder, whatever the format."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from camloc.data.annotations.contract import AnnotationReader, BoxFileReader, BoxTableReader, MaskFileReader
from camloc.data.annotations.matching import below, file_names, files_below, match, stems
from camloc.data.annotations.objects import Objects
from camloc.data.datasets.folder_layout import ANNOTATIONS, FolderLayout

Value = TypeVar("Value")


def masks_next_to_images(root: Path, reader: AnnotationReader | None) -> tuple[str, ...]:
    """Return the endings of mask files that lie next to their images; none where ``annotations/`` has masks."""
    if not isinstance(reader, MaskFileReader) or files_below(root / ANNOTATIONS, suffixes_of(reader.endings)):
        return ()
    return reader.endings


def suffixes_of(endings: Sequence[str]) -> set[str]:
    """Return the suffixes of files with some endings.

    Example:
        >>> sorted(suffixes_of([".png", "_mask.png"]))
        ['.png']
    """
    return {f".{ending.rpartition('.')[2]}" for ending in endings}


class FolderAnnotations:
    """Finds the annotation of images.

    A file per image lies in ``annotations/<split's folder>/`` or ``annotations/``, flat or in class folders, or next to
    the image. An annotation in a place that all splits share must not fit images of two splits.

    Args:
        layout: The images.
        option: What names the reader in messages.

    Attributes:
        notes: Remarks for the summary before a run.
    """

    def __init__(self, layout: FolderLayout, option: str) -> None:
        self.root, self._layout, self._option = layout.root, layout, option
        self.notes: list[str] = []

    def objects(
        self, reader: BoxFileReader | BoxTableReader, source: str, images: Sequence[str]
    ) -> list[Objects | None]:
        """Return the objects of some images of a split's folder; null for images without annotation.

        Raises:
            FileNotFoundError: If there is no annotation of any image of the folder.
            ValueError: If one is broken, or could belong to two images.
        """
        if isinstance(reader, BoxFileReader):
            files = self.files(reader.endings, source)
            return reader.read_all([files[image] for image in images], [self.root / image for image in images])
        file, is_shared = self._table(reader, source)
        table = below("" if is_shared else source, reader.read(file), str(file))
        found = self._matched(source, is_shared, table, file_names, file)
        return [found[image] for image in images]

    def files(self, endings: Sequence[str], source: str) -> dict[str, Path | None]:
        """Return the annotation file of each image of a split's folder; null for images without.

        Raises:
            FileNotFoundError: If no image has one.
            ValueError: If one could belong to two images.
        """
        own, flat, beside = self.root / ANNOTATIONS / source, self.root / ANNOTATIONS, self.root / source
        suffixes = suffixes_of(endings)
        candidates = ((folder, files_below(folder, suffixes)) for folder in (own, flat))
        folder, files = next(((folder, files) for folder, files in candidates if files), (beside, {}))
        if folder == beside:
            images = {os.fsdecode(image_id) for image_id in self._layout.index(source).image_ids}
            lie_there = files_below(beside, suffixes)
            files = {name: file for name, file in lie_there.items() if str(Path(source, name)) not in images}
        if not files:
            wanted = " or ".join(f"<image>{ending}" for ending in endings)
            places = ", ".join(dict.fromkeys(map(str, (own, flat))))
            raise FileNotFoundError(
                f"{self._option}: there is no {wanted} in {places} or next to the images in {beside}"
            )

        def names(image: str, source: str) -> list[str]:
            return stems(image, endings, source)

        return self._matched(source, folder == flat and folder != own, files, names, folder)

    def _table(self, reader: BoxTableReader, source: str) -> tuple[Path, bool]:
        """Return the file with the boxes of a split's folder, and whether it is of several splits."""
        wanted = [self.root / _located(name, source) for name in reader.files]
        for name, file in zip(reader.files, wanted, strict=True):
            if file.is_file():
                return file, source != "" and "{split}" not in name
        others = f", nor {wanted[-1]}" if len(wanted) > 1 else ""
        raise FileNotFoundError(f"{self._option}: there is no {wanted[0]}{others}")

    def _matched(
        self,
        source: str,
        is_shared: bool,
        annotated: Mapping[str, Value],
        names: Callable[[str, str], list[str]],
        where: Path,
    ) -> dict[str, Value | None]:
        """Find what annotates each image of a folder, or of all folders where annotation is shared by splits."""
        sources = list(self._layout.sources.values()) if is_shared else [source]
        of = {os.fsdecode(image_id): one for one in sources for image_id in self._layout.index(one).image_ids.tolist()}
        images = list(of)
        found, left = match(images, annotated, lambda image: names(image, of[image]), str(where))
        if all(item is None for item in found):
            wanted = names(images[0], of[images[0]])[0]
            shown = f"it has {', '.join(left[:3])}" if left else "it is empty"
            raise FileNotFoundError(
                f"{self._option}: {where} annotates none of the {len(found)} images; {images[0]}, for example, would "
                f"be {wanted} there, and {shown}"
            )
        if left:
            self.notes.append(f"{where}: {len(left)} annotations belong to no image, first {', '.join(left[:3])}")
        return dict(zip(images, found, strict=True))


def _located(name: str, source: str) -> str:
    """Return where a table lies: without split folders, ``{split}/`` is left out and ``{split}`` is ``annotations``.

    Example:
        >>> _located("annotations/{split}.json", "val"), _located("{split}/a.json", ""), _located("{split}.json", "")
        ('annotations/val.json', 'a.json', 'annotations.json')
    """
    return name.replace("{split}/", f"{source}/" if source else "").replace("{split}", source or ANNOTATIONS)
