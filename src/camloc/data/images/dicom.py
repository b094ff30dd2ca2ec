"""DICOM: what a file's own window, slope and photometric interpretation say, by pydicom (the extra ``medical``)."""

import io
from functools import cache
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from camloc.data.images.deep import StoredImage
from camloc.data.images.headers import FixNamed, check_pixels
from camloc.data.images.intensity import to_levels

DICOM_START = 132
"""Bytes by which a DICOM file is recognised."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
_META_GROUP = 2
_MAX_BITS = 32
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})


def is_dicom(start: bytes) -> bool:
    """Whether the first :data:`DICOM_START` bytes of a file are those of a DICOM file."""
    return start[128:DICOM_START] == b"DICM"


def check_dicom(file: BinaryIO) -> tuple[int, int]:
    """Read the header alone.

    Args:
        file: At its start.

    Returns:
        ``(height, width)``, pixels.

    Raises:
        ValueError: If it is broken, holds several frames or no image, states too many pixels, or is compressed in a way
            that nothing installed decodes; the file is not named.
    """
    dataset = _header(file)
    return int(dataset.Rows), int(dataset.Columns)


def read_dicom(encoded: bytes) -> StoredImage:
    """Decode a DICOM file of one frame; its values are rescaled by its slope and intercept or its lookup table.

    Where it has a window or a VOI lookup table, the first is taken: linear windows are those of the standard, part 3,
    section C.11.2.1.2. Small values of MONOCHROME1 are bright.

    Raises:
        ValueError: See :func:`check_dicom`; the file is not named.
    """
    _header(io.BytesIO(encoded))
    pixels_of = _pydicom().pixels
    try:
        dataset = _pydicom().dcmread(io.BytesIO(encoded))
        pixels = pixels_of.pixel_array(dataset, raw=False)  # colours as RGB
        photometric = str(dataset.PhotometricInterpretation)
        if photometric == "PALETTE COLOR":
            pixels = pixels_of.apply_color_lut(pixels, dataset)
            return StoredImage(pixels, 0, np.iinfo(pixels.dtype).max)
        if photometric not in _GREY:
            return StoredImage(pixels, 0, 2 ** int(dataset.BitsStored) - 1)
        return _grey(pixels, dataset, photometric == "MONOCHROME1")
    except FixNamed:
        raise
    except Exception as error:  # pydicom raises whatever a broken file provokes
        raise ValueError(f"{error}".split("\n")[0]) from error


@cache
def _pydicom() -> ModuleType:
    try:
        import pydicom  # noqa: PLC0415 - an extra, and a third of a second
        import pydicom.pixels  # noqa: PLC0415
    except ImportError as error:
        raise FixNamed("DICOM needs the package pydicom: pip install 'camloc[medical]'") from error
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # a patient's odd name is not our concern
    return pydicom


def _header(file: BinaryIO) -> Any:  # noqa: ANN401 - pydicom's elements have no static types
    """Return a data set without pixels, once it is certain that they may be decoded."""
    pydicom = _pydicom()
    try:
        _refuse_deflated(file)
        file.seek(0)
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        height, width, frames = int(dataset.Rows), int(dataset.Columns), int(dataset.get("NumberOfFrames") or 1)
        samples, bits = int(dataset.SamplesPerPixel), int(dataset.BitsAllocated)
        syntax = dataset.file_meta.TransferSyntaxUID
    except FixNamed:
        raise
    except Exception as error:
        raise ValueError(f"its DICOM header is broken or holds no image ({error})".replace("\n", " ")) from error
    check_pixels(width, height)
    if frames > 1:
        raise FixNamed(f"it is a DICOM file of {frames} frames; save each frame that matters as a file of its own")
    if samples not in (1, 3) or not 1 <= bits <= _MAX_BITS or not height or not width:
        raise ValueError(f"it is {width} by {height} pixels of {samples} samples with {bits} bits")
    _refuse_undecodable(syntax)
    return dataset


def _refuse_deflated(file: BinaryIO) -> None:
    """Refuse a data set that is compressed as a whole: pydicom would expand it without a limit."""
    from pydicom.filereader import read_dataset, read_preamble  # noqa: PLC0415 - an extra

    read_preamble(file, force=False)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != _META_GROUP)
    if str(meta.get("TransferSyntaxUID", "")) == _DEFLATED:
        raise FixNamed("its transfer syntax is Deflated Explicit VR Little Endian; expand it, as by dcmconv +te")


def _refuse_undecodable(syntax: Any) -> None:  # noqa: ANN401 - a UID of pydicom
    if not syntax.is_compressed:
        return
    try:
        decoder = _pydicom().pixels.get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        raise FixNamed(
            f"its transfer syntax is {syntax.name}, for which no decoder is installed; decompress the files, as by "
            "gdcmconv --raw, or install one of those that pydicom's documentation lists for it"
        )


def _grey(stored: NDArray[np.generic], dataset: Any, is_inverted: bool) -> StoredImage:  # noqa: ANN401 - as above
    bits, is_signed = int(dataset.BitsStored), bool(dataset.get("PixelRepresentation"))
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if is_signed else [0, 2**bits - 1])
    lut = dataset.get("ModalityLUTSequence")
    range_of = np.array([0, 2 ** int(lut[0].LUTDescriptor[2]) - 1]) if lut else _rescaled(ends, dataset)
    pixels = _rescaled(stored, dataset)
    black, white = float(range_of.min()), float(range_of.max())
    return StoredImage(pixels, black, white, is_inverted, _windowed(pixels, dataset))


def _rescaled(stored: NDArray[np.generic], dataset: Any) -> NDArray[np.generic]:  # noqa: ANN401 - as above
    slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
    if dataset.get("ModalityLUTSequence"):
        return np.asarray(_pydicom().pixels.apply_modality_lut(stored, dataset))
    if (slope, intercept) == (1, 0):
        return stored
    if slope.is_integer() and intercept.is_integer():  # Hounsfield units are whole numbers
        return stored.astype(np.int64) * int(slope) + int(intercept)
    return stored.astype(np.float64) * slope + intercept


def _windowed(pixels: NDArray[np.generic], dataset: Any) -> NDArray[np.uint8] | None:  # noqa: ANN401 - as above
    lut = dataset.get("VOILUTSequence")
    if lut and lut[0].get("LUTData") is not None:
        shown = _pydicom().pixels.apply_voi(pixels, dataset)
        return to_levels(shown, 0, 2 ** int(lut[0].LUTDescriptor[2]) - 1)
    centres, widths = dataset.get("WindowCenter"), dataset.get("WindowWidth")
    if centres in (None, "") or widths in (None, ""):
        return None
    centre, width = (
        float(found[0] if dataset[name].VM > 1 else found)
        for name, found in (("WindowCenter", centres), ("WindowWidth", widths))
    )
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if width < (1 if function == "LINEAR" else np.finfo(float).tiny):
        raise ValueError(f"its window is {width:g} wide")
    values = pixels.astype(np.float64)
    if function == "SIGMOID":
        shares = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    elif function == "LINEAR_EXACT":
        shares = (values - centre) / width + 0.5
    elif width == 1:
        shares = np.where(values > centre - 0.5, 1.0, 0.0)
    else:
        shares = (values - (centre - 0.5)) / (width - 1) + 0.5
    return to_levels(shares, 0, 1)
