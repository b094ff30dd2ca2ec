"""Images with more than eight bits per channel, against NumPy by hand."""

import io
from collections.abc import Callable
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from camloc.data.images.decode import check_image, read_clipped_image, read_image, read_image_size, read_stored_image
from camloc.data.images.intensity import Intensity

FILES = run_path(str(Path(__file__).parent / "deep_files.py"))
tiff, grey_tiff, packed, png16 = (FILES[name] for name in ("tiff", "grey_tiff", "packed", "png16"))
File = Callable[[bytes], Path]

TWELVE = Intensity(0, 4095, is_given=False)
GREY = np.array([[0, 1, 15, 16], [255, 256, 4094, 4095]], np.uint16)
COLOURS = np.arange(24, dtype=np.uint16).reshape(2, 4, 3) * 170


@pytest.fixture
def file(tmp_path: Path) -> File:
    def write(content: bytes) -> Path:
        path = tmp_path / "image.png"
        path.write_bytes(content)
        return path

    return write


def levels(path: Path, intensity: Intensity | None) -> NDArray[np.uint8]:
    image = read_image(path, None, intensity)
    assert image.shape[0] == 3
    assert tuple(image.shape[1:]) == read_image_size(path)
    check_image(path)
    return image.permute(1, 2, 0).numpy()


def pnm(kind: bytes, pixels: NDArray[np.uint16], white: int, comment: bytes = b"") -> bytes:
    height, width = pixels.shape[:2]
    values = pixels.astype(">u2").tobytes() if kind in (b"P5", b"P6") else b" ".join(b"%d" % v for v in pixels.ravel())
    return b"%s\n%s%d %d\n%d\n" % (kind, comment, width, height, white) + values


def jpeg_2000(pixels: NDArray[np.uint16]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG2000")
    return content.getvalue()


TALL = np.arange(32 * 40, dtype=np.uint16).reshape(32, 40) * 51  # JPEG 2000 has no smaller tiles

DEEP = {
    "PNG": (png16(GREY), GREY),
    "PNG in colour": (png16(COLOURS), COLOURS),
    "PNG with alpha": (png16(np.dstack([COLOURS, 9 * GREY])), COLOURS),
    "grey PNG with alpha": (png16(np.dstack([GREY, 9 * GREY])), GREY),
    "TIFF": (grey_tiff(GREY), GREY),
    "big-endian TIFF": (grey_tiff(GREY, ">"), GREY),
    "TIFF in colour": (grey_tiff(COLOURS), COLOURS),
    "TIFF with alpha": (grey_tiff(np.dstack([COLOURS, 9 * GREY]), tag338=(2,)), COLOURS),
    "BigTIFF": (tiff([(GREY.tobytes(), {})], (2, 4), big=True), GREY),
    "BigTIFF in colour": (
        tiff([(COLOURS.tobytes(), {258: (16, 16, 16), 262: (2,), 277: (3,)})], (2, 4), big=True),
        COLOURS,
    ),
    "PGM": (pnm(b"P5", GREY, 4095), GREY),
    "PGM with a comment": (pnm(b"P5", GREY, 65535, b"# 9 9\n"), GREY),
    "PPM": (pnm(b"P6", COLOURS, 4095), COLOURS),
    "PGM as text": (pnm(b"P2", GREY, 4095), GREY),
    "PPM as text": (pnm(b"P3", COLOURS, 4095), COLOURS),
    "JPEG 2000": (jpeg_2000(TALL // 16), TALL // 16),
}


@pytest.mark.parametrize("kind", DEEP)
def test_one_range_holds_for_every_format(file: File, kind: str) -> None:
    content, stored = DEEP[kind]
    shown = levels(file(content), TWELVE)
    expected = stored // 16
    assert (shown == (expected[..., None] if stored.ndim == 2 else expected)).all()
    pixels = read_stored_image(file(content)).pixels
    assert (pixels == (stored[..., None] if pixels.ndim > stored.ndim else stored)).all()


@pytest.mark.parametrize(("kind", "white"), [("PNG", 65535), ("TIFF", 65535), ("PGM", 4095), ("JPEG 2000", 65535)])
def test_the_full_range_is_that_of_the_type(file: File, kind: str, white: int) -> None:
    content, stored = DEEP[kind]
    assert (levels(file(content), None)[..., 0] == stored // ((white + 1) // 256)).all()


def test_a_range_that_was_given_cuts_what_is_outside(file: File) -> None:
    pixels = np.array([[0, 100, 101, 355, 356, 9000]], np.uint16)
    shown = levels(file(png16(pixels)), Intensity(100, 355, is_given=True))
    assert shown[0, :, 0].tolist() == [0, 0, 1, 255, 255, 255]


def test_a_value_above_a_sampled_range_is_an_error_with_the_fix(file: File) -> None:
    path = file(png16(np.array([[7, 5000]], np.uint16)))
    with pytest.raises(ValueError, match=r"image\.png: it has the value 5000, outside of 0 to 4095") as error:
        read_image(path, None, TWELVE)
    assert str(error.value).endswith(
        "; set datamodule.intensity=full, or the range of all images, such as datamodule.intensity=[0,5000]"
    )


def test_a_value_outside_of_a_sampled_range_is_clipped_and_counted_where_that_is_asked(file: File) -> None:
    path = file(png16(np.array([[7, 4095, 4096, 60000, 0]], np.uint16)))
    image, outside = read_clipped_image(path, TWELVE)
    assert image[0].tolist() == [[0, 255, 255, 255, 0]]
    assert outside == 2 / 5
    assert read_clipped_image(path, TWELVE._replace(is_given=True))[1] == 0  # a person cuts there
    assert read_clipped_image(path, None)[0][0].tolist() == [[0, 15, 16, 234, 0]]
    eight, outside = read_clipped_image(file(tiff([(bytes([0, 255]), {258: (8,)})], (1, 2))), Intensity(9, 99, False))
    assert (eight[0].tolist(), outside) == ([[0, 255]], 0)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits_have_their_own_white(file: File, bits: int) -> None:
    white = 2**bits - 1
    values = [0, 1, white // 2 + 1, white, white - 1, 5]
    path = file(tiff([(packed(values, bits), {258: (bits,)})], (1, 6)))
    assert read_stored_image(path).pixels.tolist() == [values]
    assert levels(path, None)[0, :, 0].tolist() == [value >> (bits - 8) for value in values]


def test_where_white_is_zero_small_values_are_bright(file: File) -> None:
    content = grey_tiff(GREY, tag262=(0,))
    assert (levels(file(content), TWELVE)[..., 0] == 255 - GREY // 16).all()
    eight = grey_tiff((GREY // 16).astype(np.uint8), tag262=(0,))
    assert (levels(file(eight), TWELVE)[..., 0] == 255 - GREY // 16).all()


def test_signed_values_need_a_range_or_take_that_of_their_type(file: File) -> None:
    path = file(grey_tiff(np.array([[-32768, -1, 0, 32767]], np.int16)))
    assert levels(path, None)[0, :, 0].tolist() == [0, 127, 128, 255]
    assert levels(path, Intensity(-1, 254, is_given=True))[0, :, 0].tolist() == [0, 0, 1, 255]
    with pytest.raises(ValueError, match=r"it has the value -32768, outside of 0 to 4095.*intensity=\[-32768,32767\]"):
        read_image(path, None, TWELVE)


def test_thirty_two_bits_are_whole(file: File) -> None:
    path = file(grey_tiff(np.array([[0, 2**24, 2**32 - 1]], np.uint32)))
    assert levels(path, None)[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_floating_point_is_read_with_a_range(file: File, kind: type, channels: int) -> None:
    values: NDArray[np.floating] = np.array([[-0.5, 0, 0.25, 0.5, 1, 2]], kind)
    pixels = values if channels == 1 else np.dstack([values, values / 2, values])
    path = file(grey_tiff(pixels))
    shown = levels(path, Intensity(0, 1, is_given=True))
    assert shown[0, :, 0].tolist() == [0, 0, 64, 128, 255, 255]
    assert shown[0, :, 1].tolist() == ([0, 0, 64, 128, 255, 255] if channels == 1 else [0, 0, 32, 64, 128, 255])
    with pytest.raises(ValueError, match=r"floating point, here from -0\.5 to 2, .*datamodule\.intensity=\[-0\.5,2\]$"):
        read_image(path)


def test_what_is_no_number_is_not_black(file: File) -> None:
    path = file(grey_tiff(np.array([[0, np.nan, np.inf]], np.float32)))
    with pytest.raises(ValueError, match=r"image\.png: 2 of its values are no finite numbers; replace them"):
        read_image(path, None, Intensity(0, 1, is_given=True))


def test_half_floats_are_refused(file: File) -> None:
    path = file(grey_tiff(np.array([[0, 1]], np.float16)))
    with pytest.raises(ValueError, match=r"cannot read the image .*of a kind that is not read; save it as"):
        read_image(path, None, Intensity(0, 1, is_given=True))


@pytest.mark.parametrize("bits", [8, 16])
def test_several_pages_are_refused_by_the_header(file: File, bits: int) -> None:
    page = (GREY.astype(np.uint8 if bits == 8 else np.uint16).tobytes(), {258: (bits,)})
    path = file(tiff([page] * 3, (2, 4)))
    for read in (read_image, check_image):
        with pytest.raises(ValueError, match=r"image\.png: it is a TIFF of 3 pages; save each page that matters"):
            read(path)


def test_a_smaller_copy_and_a_mask_are_no_further_images(file: File) -> None:
    page = GREY.tobytes()
    path = file(tiff([(page, {}), (page, {254: (1,)}), (page, {254: (4,)})], (2, 4)))
    assert (levels(path, TWELVE)[..., 0] == GREY // 16).all()


def test_pages_that_lead_back_end(file: File) -> None:
    content = tiff([(GREY.tobytes(), {})], (2, 4))
    start = int.from_bytes(content[4:8], "little")
    looped = content[:-4] + start.to_bytes(4, "little")
    assert (levels(file(looped), TWELVE)[..., 0] == GREY // 16).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_images_are_upright(file: File, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    eight = Image.fromarray((GREY // 16).astype(np.uint8))
    content = io.BytesIO()
    eight.save(content, "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(content)))
    turned = (
        png16(GREY, exif.tobytes().removeprefix(b"Exif\0\0")),
        grey_tiff(GREY, tag274=(orientation,)),
        grey_tiff((GREY // 16).astype(np.uint8), tag274=(orientation,)),
    )
    for deep in turned:
        assert (levels(file(deep), TWELVE)[..., 0] == expected).all()


@pytest.mark.parametrize("kind", DEEP)
def test_no_part_of_a_deep_image_passes_for_it(file: File, kind: str) -> None:
    content, _ = DEEP[kind]
    whole = levels(file(content), TWELVE)
    last = 4 if "as text" in kind else 1  # a number that is cut off is a number
    for length in range(1, len(content) - last, 1 + len(content) // 60):
        path = file(content[:length])
        try:
            cut = read_image(path, None, TWELVE).permute(1, 2, 0).numpy()
        except ValueError as error:
            assert str(error).startswith(f"cannot read the image {path}: ")  # noqa: PT017 - or all pixels are there
        else:
            assert (cut == whole).all()


def test_a_value_above_the_white_that_its_header_states_is_an_error(file: File) -> None:
    with pytest.raises(ValueError, match="it has the value 4095, and its header says that 1000 is white"):
        read_image(file(pnm(b"P5", GREY, 1000)))


def test_deep_jpeg_2000_in_colour_is_refused_with_the_fix(file: File) -> None:
    content = io.BytesIO()
    Image.new("RGB", (40, 32)).save(content, "JPEG2000")
    place = content.getvalue().index(b"\xff\x4f\xff\x51") + 42
    deep = bytearray(content.getvalue())
    deep[place] = 15
    with pytest.raises(ValueError, match="in colour with more than eight bits; save it as a 16-bit PNG or TIFF"):
        read_image(file(bytes(deep)))


def test_images_of_eight_bits_stay_as_they_are(file: File) -> None:
    content = io.BytesIO()
    eight = (GREY // 16).astype(np.uint8)
    Image.fromarray(eight).save(content, "PNG")
    for intensity in (None, TWELVE, Intensity(100, 200, is_given=True)):
        assert (levels(file(content.getvalue()), intensity)[..., 0] == eight).all()
