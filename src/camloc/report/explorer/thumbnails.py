"""The thumbnails beside a page: one small JPEG for each image."""

import io
from pathlib import Path

from PIL import Image
from torch import Tensor

from camloc.export.replaced import replaced
from camloc.report.rgb import as_rgb

MAX_SIDE = 256
"""Pixels of a thumbnail's longer side."""
_QUALITY = 75


def save_thumbnail(
    folder: Path, position: int, image: Tensor, aspect: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Write an image's thumbnail.

    Args:
        folder: The page's :func:`~camloc.report.explorer.files.thumbnails_folder`; made where it is missing.
        position: Names the file.
        image: (3,H,W) uint8 RGB.
        aspect: ``(height, width)`` whose proportions the thumbnail gets, where ``image`` was warped; null: its own.

    Returns:
        ``(height, width)`` of the thumbnail, the longer side as long as the image's, at most 256.

    Example:
        >>> import torch
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     save_thumbnail(Path(folder), 7, torch.zeros(3, 64, 64, dtype=torch.uint8), (100, 200))
        (32, 64)
    """
    height, width = aspect or (image.shape[1], image.shape[2])
    scale = min(MAX_SIDE, max(image.shape[1:])) / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    thumbnail = Image.fromarray(as_rgb(image.cpu()))
    if thumbnail.size != size[::-1]:
        thumbnail = thumbnail.resize(size[::-1], Image.Resampling.BICUBIC)
    encoded = io.BytesIO()
    thumbnail.save(encoded, "JPEG", quality=_QUALITY)
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(folder / thumbnail_name(position)) as partial:
        partial.write_bytes(encoded.getvalue())
    return size


def thumbnail_name(position: int) -> str:
    """Return the name of a thumbnail's file.

    Example:
        >>> thumbnail_name(7)
        '00000007.jpg'
    """
    return f"{position:08d}.jpg"
