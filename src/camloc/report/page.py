"""The report as one HTML file beside its images: read from disk, sent as a folder, no network needed."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from camloc.report.misses import MissRow
from camloc.report.table import ResultRow


@dataclass(frozen=True)
class Figure:
    """A plot and what it shows."""

    path: Path
    """PNG in the page's directory or below."""
    caption: str


@dataclass(frozen=True)
class GalleryItem:
    """A gallery tile, what it shows, and which image of the data set it is."""

    path: Path
    """PNG in the page's directory or below."""
    caption: str
    """See :func:`camloc.report.drawing.gallery_caption`."""
    image_id: str


def write_page(
    directory: Path,
    *,
    title: str,
    rows: Sequence[ResultRow],
    figures: Sequence[Figure],
    gallery: Sequence[GalleryItem],
    misses: Mapping[str, Sequence[MissRow]],
    config_yaml: str,
    notes: Sequence[str],
) -> Path:
    """Write ``index.html``: results, gallery, curves, configuration.

    Args:
        directory: Where the page goes; its images are already there. Links are relative, so that the
            directory may be moved or zipped.
        title: Heading, such as the experiment's name.
        rows: The results table, see :func:`camloc.report.table.result_rows`.
        figures: Plots; paths are absolute or relative to ``directory``.
        gallery: Tiles; paths likewise.
        misses: What the groups are, such as ``object size``, to the rows of a table of causes.
        config_yaml: The resolved configuration.
        notes: Sentences a reader must know before the numbers.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: If an image is not there.
        ValueError: If an image lies outside ``directory``.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> parts = {"rows": [], "figures": [], "gallery": [], "misses": {}, "config_yaml": "seed: 0", "notes": []}
        >>> with TemporaryDirectory() as directory:
        ...     page = write_page(Path(directory), title="A <b>bold</b> claim", **parts)
        ...     "<h1>A &lt;b&gt;bold&lt;/b&gt; claim</h1>" in page.read_text(encoding="utf-8")
        True
    """
    environment = Environment(
        loader=PackageLoader("camloc", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("page.html").render(
        title=title,
        results=[(split, list(group)) for split, group in groupby(rows, key=lambda row: row.split)],
        figures=[(_link(directory, figure.path), figure) for figure in figures],
        gallery=[(_link(directory, item.path), item) for item in gallery],
        misses=[(title, rows) for title, rows in misses.items() if rows],
        config_yaml=config_yaml,
        notes=notes,
    )
    page = directory / "index.html"
    # Names read from a file system may hold bytes that are no text; they must not cost the report.
    page.write_text(html, encoding="utf-8", errors="backslashreplace")
    return page


def _link(directory: Path, path: Path) -> str:
    """Return the URL of an image relative to the page."""
    file = (directory / path).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"the report links to {file}, which is not there; save the image first")
    if not file.is_relative_to(directory.resolve()):
        raise ValueError(f"the report in {directory} cannot link to {file} outside it; save the image below it")
    return quote(os.fsencode(file.relative_to(directory.resolve()).as_posix()))
