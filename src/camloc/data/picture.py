"""Picture files to tensors: OpenCV for speed, Pillow for what OpenCV cannot do, nothing decoded halfway."""

import io
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")  # Pillow would start Ghostscript for an EPS
_EIGHT_BIT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "La", "RGBa"})
_JPEG, _TIFF = b"\xff\xd8\xff", (b"II*\0", b"MM\0*")
_FILL, _SCAN, _END = 0xFF, 0xDA, b"\xff\xd9"
_SIDEWAYS = frozenset({5, 6, 7, 8})
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_picture(path: Path) -> Tensor:
    """Decode a picture file, upright where EXIF says that it was taken rotated.

    Alpha is dropped, 16 bits are scaled to 8, and an animation gives its first frame. Not torchvision's decoders: they
    are deprecated, and no faster.

    Args:
        path: JPEG, PNG, BMP, WebP, TIFF or GIF, whatever its name says.

    Returns:
        (3,H,W) uint8 RGB, laid out in memory row by row and pixel by pixel, as decoders write and ``cv2.resize`` reads;
        a grayscale picture has three equal channels.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is empty, cut off, or in a format or depth that is not read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (3, 2), (200, 10, 30)).save(Path(folder, "red.png"))
        ...     picture = read_picture(Path(folder, "red.png"))
        >>> picture.shape, picture[:, 0, 0].tolist()
        (torch.Size([3, 2, 3]), [200, 10, 30])
    """
    encoded = path.read_bytes()
    if not encoded:
        raise _unreadable(path, "it is empty")
    if encoded.startswith(_JPEG) and not _is_whole_jpeg(encoded):
        raise _unreadable(path, f"the JPEG is cut off after {len(encoded)} bytes")
    picture = _by_opencv(encoded)
    if picture is None:
        picture = _by_pillow(path, encoded)
    return torch.from_numpy(picture).permute(2, 0, 1)


def picture_size(path: Path) -> tuple[int, int]:
    """Return the ``(height, width)`` that ``read_picture`` will give, from the file's header alone.

    That a header is sound does not say that the pixels are.

    Args:
        path: JPEG, PNG, BMP, WebP, TIFF or GIF, whatever its name says.

    Returns:
        ``(height, width)``, pixels.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the header cannot be read.
    """
    with path.open("rb") as file, _opened(path, file) as image:
        width, height = image.size
        return (width, height) if _orientation(image) in _SIDEWAYS else (height, width)


def _is_whole_jpeg(encoded: bytes) -> bool:
    """Whether the end marker comes after the pixels; OpenCV would paint what is missing grey and only warn.

    The segments before the pixels are skipped, for a thumbnail in one of them has an end marker of its own. Bytes after
    the end are harmless, and some ImageNet pictures have them.
    """
    position = len(_JPEG) - 1
    while 0 <= (position := encoded.find(b"\xff", position)) < len(encoded) - 3:
        marker = encoded[position + 1]
        if marker == _SCAN:
            return encoded.rfind(_END, position) >= 0
        length = int.from_bytes(encoded[position + 2 : position + 4])
        position += 1 if marker == _FILL else 2 + length
    return False


def _by_opencv(encoded: bytes) -> NDArray[np.uint8] | None:
    """Return (H,W,3) RGB; null where OpenCV refuses, or gets it wrong."""
    if encoded.startswith(_TIFF) and _has_alpha(encoded):
        return None  # it would multiply the colours by alpha
    try:
        picture: NDArray[np.uint8] | None = cv2.imdecode(  # type: ignore[assignment] # the flag makes it uint8
            np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB
        )
    except cv2.error:  # too many pixels, say
        return None
    return picture


def _has_alpha(encoded: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            return image.has_transparency_data
    except OSError:  # 16 bit RGB is one of the kinds that only OpenCV reads
        return False


def _by_pillow(path: Path, encoded: bytes) -> NDArray[np.uint8]:
    with _opened(path, io.BytesIO(encoded)) as image:
        if image.mode not in _EIGHT_BIT:
            raise _unreadable(path, f"it does not have 8 or 16 bits per channel (Pillow's mode {image.mode})")
        orientation = _orientation(image)
        try:
            rgb = image.convert("RGB")
        except Exception as error:
            raise _unreadable(path, str(error)) from error
        upright = rgb.transpose(_TURNS[orientation]) if orientation in _TURNS else rgb
        return np.array(upright)


def _opened(path: Path, file: io.BufferedReader | io.BytesIO) -> Image.Image:
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        raise _unreadable(path, "it is cut off, or in none of the formats " + ", ".join(_FORMATS)) from None
    except Exception as error:  # Pillow raises whatever a broken header provokes
        raise _unreadable(path, str(error)) from error


def _orientation(image: Image.Image) -> int:
    """Return EXIF's 1 to 8 as OpenCV understands it: XMP does not count, and a TIFF's size is upright already."""
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 # EXIF data that cannot be understood turn nothing
        return 1


def _unreadable(path: Path, reason: str) -> ValueError:
    return ValueError(f"cannot read the picture {path}: {reason}; replace the file, or take it off the data set")
