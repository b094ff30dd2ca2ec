"""The report page: one HTML file next to its images and data, readable from disk without a network."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from camloc.export.replaced import replaced
from camloc.report.class_table import ClassTable
from camloc.report.explorer import files
from camloc.report.explorer.files import Explored
from camloc.report.misses import MissRow
from camloc.report.table import ReportedNumber, SplitSize, split_results


@dataclass(frozen=True)
class Figure:
    """A chart and what it shows."""

    path: Path
    """PNG in the page's directory or below."""
    caption: str


@dataclass(frozen=True)
class GalleryItem:
    """A gallery tile, what it shows, and the image's name in the data set."""

    path: Path
    """PNG in the page's directory or below."""
    caption: str
    """From :func:`camloc.report.gallery_tile.gallery_caption`."""
    image_id: str


def write_page(
    directory: Path,
    *,
    title: str,
    notes: Sequence[str] = (),
    numbers: Sequence[ReportedNumber] | None = None,
    num_images: Mapping[str, SplitSize] = MappingProxyType({}),
    figures: Sequence[Figure] = (),
    gallery: Sequence[GalleryItem] = (),
    misses: Mapping[str, Sequence[MissRow]] = MappingProxyType({}),
    config_yaml: str = "",
    by_class: ClassTable | None = None,
    explorer: Explored | None = None,
) -> Path:
    """Write ``index.html``: all images to look at, results, gallery, misses, charts, configuration.

    Args:
        directory: Where the page goes; its images are there already. Links are relative, so that the directory can be
            moved or zipped.
        title: Heading, such as the run's name.
        notes: Sentences to be read before the numbers.
        numbers: The results, as in :func:`camloc.report.table.split_results`; null where nothing was to be measured.
        num_images: Likewise.
        figures: Charts; paths are absolute or relative to ``directory``.
        gallery: Tiles; paths likewise.
        misses: Rows of each table of causes, by what its groups are, such as ``object size``.
        config_yaml: The resolved configuration.
        by_class: Numbers of each class on the last split; null where none are counted by themselves.
        explorer: Images to look at, whose thumbnails lie in
            :func:`camloc.report.explorer.files.thumbnails_folder` already.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: If an image does not exist.
        ValueError: If an image lies outside ``directory``, or several runs are to be explored that have no image in
            common.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as directory:
        ...     page = write_page(Path(directory), title="A <b>bold</b> claim", config_yaml="seed: 0")
        ...     "<h1>A &lt;b&gt;bold&lt;/b&gt; claim</h1>" in page.read_text(encoding="utf-8")
        True
    """
    if explorer is not None:
        files.write_data(directory, explorer)
    html = template("page.html").render(
        title=title,
        has_results=numbers is not None,
        results=split_results(numbers or (), num_images),
        has_heatmaps=not any(number.supervision for number in numbers or ()),
        figures=[(link(directory, figure.path), figure) for figure in figures],
        gallery=[(link(directory, item.path), item) for item in gallery],
        misses=[(title, rows) for title, rows in misses.items() if rows],
        by_class=by_class,
        config_yaml=config_yaml,
        notes=notes,
        explorer=None if explorer is None else {"style": files.STYLE, "scripts": files.LOADED_SCRIPTS},
    )
    page = directory / "index.html"
    # File names may contain bytes that are not valid text; the report is written all the same.
    with replaced(page) as partial:
        partial.write_text(html, encoding="utf-8", errors="backslashreplace")
    return page


def template(name: str) -> Template:
    """Return a page's template, which shows whatever it is given as text."""
    environment = Environment(
        loader=PackageLoader("camloc", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def link(directory: Path, path: Path) -> str:
    """Return the URL of an image relative to the page.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it lies outside ``directory``.
    """
    file = (directory / path).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"the report links to {file}, which does not exist; save the image first")
    if not file.is_relative_to(directory.resolve()):
        raise ValueError(f"the report in {directory} cannot link to {file}, which is outside it; save the image inside")
    return quote(os.fsencode(file.relative_to(directory.resolve()).as_posix()))
