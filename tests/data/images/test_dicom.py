"""DICOM files that the tests write, against the standard's formulas by hand."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from camloc.data.images import dicom
from camloc.data.images.decode import check_image, is_deep, read_image, read_image_size, read_stored_image
from camloc.data.images.intensity import Intensity

File = Callable[..., Path]
VALUES = np.array([[0, 1, 1023, 1024], [2048, 3000, 4094, 4095]], np.uint16)
GIVEN = Intensity(0, 4095, is_given=True)


def dataset(pixels: NDArray[np.generic], **elements: object) -> Dataset:
    """A monochrome image of twelve bits, or of eight, or in colour."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = SecondaryCaptureImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    made.BitsAllocated = 8 * pixels.itemsize
    made.BitsStored = 8 if pixels.itemsize == 1 else 12
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def file(tmp_path: Path) -> File:
    def write(pixels: NDArray[np.generic], **elements: object) -> Path:
        path = tmp_path / "scan.dcm"
        dataset(pixels, **elements).save_as(path, enforce_file_format=True)
        return path

    return write


def levels(path: Path, intensity: Intensity | None = None) -> list[list[int]]:
    image = read_image(path, None, intensity)
    assert tuple(image.shape[1:]) == read_image_size(path)
    check_image(path)
    assert is_deep(path)
    assert (image == image[:1]).all()
    found: list[list[int]] = image[0].tolist()
    return found


def test_without_a_window_the_stored_bits_are_the_full_range(file: File) -> None:
    assert levels(file(VALUES)) == (VALUES // 16).tolist()


def test_a_range_holds_for_the_rescaled_values(file: File) -> None:
    path = file(VALUES, RescaleSlope=2, RescaleIntercept=-1024)
    assert (read_stored_image(path).pixels == 2 * VALUES.astype(int) - 1024).all()
    shown = levels(path, Intensity(-1024, 1023, is_given=True))
    assert shown == np.minimum(VALUES // 4, 255).tolist()
    # From -1024 to 2 * 4095 - 1024, 8191 whole numbers.
    assert levels(path) == [[int(256 * 2 * int(v) / 8191) for v in row] for row in VALUES]


def test_a_fractional_slope_gives_floating_point(file: File) -> None:
    path = file(VALUES, RescaleSlope="0.5", RescaleIntercept="0.25")
    assert (read_stored_image(path).pixels == VALUES * 0.5 + 0.25).all()


def test_a_linear_window_is_that_of_the_standard(file: File) -> None:
    path = file(VALUES, WindowCenter=2048, WindowWidth=2049)
    # C.11.2.1.2: ((x - (c - 0.5)) / (w - 1) + 0.5), 0 up to 1023.5 and 1 above 3071.5.
    expected = [[min(255, max(0, int(256 * ((v - 2047.5) / 2048 + 0.5)))) for v in row] for row in VALUES.tolist()]
    assert expected == [[0, 0, 0, 0], [128, 247, 255, 255]]
    assert levels(path) == expected
    assert levels(path, Intensity(0, 255, is_given=False)) == expected, "the file's own window goes first"
    assert levels(path, GIVEN) == (VALUES // 16).tolist(), "unless a range is given"


def test_a_window_is_applied_after_the_slope(file: File) -> None:
    one = file(VALUES, WindowCenter=100, WindowWidth=400)
    plain = levels(one)
    path = file(VALUES, RescaleSlope=1, RescaleIntercept=-1000, WindowCenter=-900, WindowWidth=400)
    assert levels(path) == plain


@pytest.mark.parametrize(
    ("function", "expected"),
    [("LINEAR_EXACT", [0, 64, 128, 192, 255]), ("SIGMOID", [30, 68, 128, 187, 225])],
)
def test_other_window_functions(file: File, function: str, expected: list[int]) -> None:
    # Exact: (x - c) / w + 0.5; sigmoid: 1 / (1 + exp(-4 (x - c) / w)), times 256.
    pixels = np.array([[500, 750, 1000, 1250, 1500]], np.uint16)
    path = file(pixels, WindowCenter=1000, WindowWidth=1000, VOILUTFunction=function)
    assert levels(path) == [expected]


def test_a_window_one_wide_is_a_step(file: File) -> None:
    pixels = np.array([[9, 10, 11]], np.uint16)
    assert levels(file(pixels, WindowCenter=10, WindowWidth=1)) == [[0, 255, 255]]
    with pytest.raises(ValueError, match="its window is 0 wide"):
        read_image(file(pixels, WindowCenter=10, WindowWidth=0))


def test_of_several_windows_the_first_is_taken(file: File) -> None:
    pixels = np.array([[0, 500, 1000]], np.uint16)
    one = levels(file(pixels, WindowCenter=500, WindowWidth=1001))
    assert one == [[0, 128, 255]]
    assert levels(file(pixels, WindowCenter=[500, 7], WindowWidth=[1001, 9])) == one


def test_a_voi_table_is_looked_up(file: File) -> None:
    table = Dataset()
    table.LUTDescriptor = [4, 10, 16]
    table.LUTData = (256 * np.array([0, 100, 200, 255], "<u2")).tobytes()
    path = file(np.array([[9, 10, 11, 12, 13, 14]], np.uint16), VOILUTSequence=[table], WindowCenter=1, WindowWidth=2)
    assert levels(path) == [[0, 0, 100, 200, 255, 255]]


def test_monochrome1_is_inverted(file: File) -> None:
    path = file(VALUES, PhotometricInterpretation="MONOCHROME1")
    assert levels(path) == (255 - VALUES // 16).tolist()
    windowed = file(VALUES, PhotometricInterpretation="MONOCHROME1", WindowCenter=2048, WindowWidth=2049)
    assert levels(windowed) == [[255, 255, 255, 255], [127, 8, 0, 0]]


def test_signed_values(file: File) -> None:
    pixels = np.array([[-2048, -1, 0, 2047]], np.int16)
    assert levels(file(pixels)) == [[0, 127, 128, 255]]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_eight_bits_stay_as_they_are(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 6) * 23
    made = dataset(pixels)
    made.file_meta.TransferSyntaxUID = syntax
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert levels(tmp_path / "a.dcm") == pixels.tolist()


def test_colours_are_colours(file: File) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert (read_image(file(pixels)).permute(1, 2, 0).numpy() == pixels).all()


def test_lossless_compression_is_read(tmp_path: Path) -> None:
    made = dataset(VALUES)
    made.compress(RLELossless)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert levels(tmp_path / "a.dcm") == (VALUES // 16).tolist()


def test_a_syntax_without_a_decoder_is_named_by_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = dataset(VALUES, PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    path = tmp_path / "a.dcm"
    made.save_as(path, enforce_file_format=True)
    decoder = get_decoder(JPEGLosslessSV1)
    monkeypatch.setattr(type(decoder), "is_available", property(lambda _self: False))
    for read in (read_image, check_image):
        with pytest.raises(ValueError, match=r"a\.dcm: its transfer syntax is JPEG Lossless.*; decompress") as error:
            read(path)
        assert "\n" not in str(error.value)


def test_broken_compressed_pixels_are_one_line(tmp_path: Path) -> None:
    made = dataset(VALUES, PixelData=encapsulate([b"\xff\x4f\xff\x51" + bytes(60)]))
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = JPEG2000Lossless
    path = tmp_path / "a.dcm"
    made.save_as(path, enforce_file_format=True)
    with pytest.raises(ValueError, match=r"cannot read the image .*a\.dcm: ") as error:
        read_image(path)
    assert "\n" not in str(error.value)


def test_a_deflated_file_is_refused_before_it_is_expanded(tmp_path: Path) -> None:
    made = dataset(np.zeros((2000, 2000), np.uint16))
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = tmp_path / "a.dcm"
    made.save_as(path, enforce_file_format=True)
    assert path.stat().st_size < 20_000
    with pytest.raises(ValueError, match="its transfer syntax is Deflated Explicit VR Little Endian; expand it"):
        check_image(path)


def test_several_frames_are_refused(file: File) -> None:
    path = file(VALUES, NumberOfFrames=2, PixelData=2 * VALUES.tobytes())
    for read in (read_image, read_image_size, check_image):
        with pytest.raises(ValueError, match=r"scan\.dcm: it is a DICOM file of 2 frames; save each frame"):
            read(path)


def test_too_many_pixels_are_refused_by_the_header(file: File) -> None:
    path = file(VALUES, Rows=60_000, Columns=60_000)
    for read in (read_image, read_image_size, check_image):
        with pytest.raises(ValueError, match="it is 60000 by 60000 pixels, and 178,956,970 are the most"):
            read(path)


def test_no_part_of_a_file_passes_for_it(file: File, tmp_path: Path) -> None:
    content = file(VALUES).read_bytes()
    path = tmp_path / "cut.dcm"
    for length in range(132, len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=rf"cannot read the image {path}: ") as error:
            read_image(path)
        assert "\n" not in str(error.value)


def test_a_file_without_an_image_is_told_so(tmp_path: Path) -> None:
    made = dataset(VALUES)
    for name in ("Rows", "Columns", "PixelData", "BitsAllocated"):
        delattr(made, name)
    made.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    with pytest.raises(ValueError, match=r"report\.dcm: its DICOM header is broken or holds no image"):
        check_image(tmp_path / "report.dcm")


def test_without_pydicom_the_extra_is_named(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(VALUES)
    dicom._pydicom.cache_clear()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for read in (read_image, read_image_size, check_image):
        with pytest.raises(ValueError, match=r"scan\.dcm: DICOM needs .*pydicom: pip install 'camloc\[medical\]'$"):
            read(path)


def test_a_name_says_nothing(tmp_path: Path) -> None:
    content = io.BytesIO()
    dataset(VALUES).save_as(content, enforce_file_format=True)
    path = tmp_path / "photo.jpg"
    path.write_bytes(content.getvalue())
    assert levels(path) == (VALUES // 16).tolist()
