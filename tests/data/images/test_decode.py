import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from camloc.data.images.decode import check_image, read_image, read_image_size
from camloc.data.images.headers import FORMATS

END = b"\xff\xd9"


def colours() -> Image.Image:
    """Smooth colours, 64 wide and 48 high, no two corners alike."""
    y, x = np.mgrid[0:48, 0:64]
    return Image.fromarray(np.stack([4 * x, 5 * y, 255 - 2 * x - 2 * y], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def with_thumbnail() -> bytes:
    """A JPEG whose EXIF data hold another, smaller JPEG, as cameras write it."""
    return encoded(colours(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + encoded(colours(), "JPEG"))


def decoded(path: Path) -> NDArray[np.int64]:
    image = read_image(path)
    assert image.shape[0] == 3
    assert tuple(image.shape[1:]) == read_image_size(path)
    return image.permute(1, 2, 0).numpy().astype(np.int64)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write bytes to a file whose name says nothing true about them."""

    def write(content: bytes) -> Path:
        path = tmp_path / "image.JPEG"
        path.write_bytes(content)
        return path

    return write


File = Callable[[bytes], Path]


def palette() -> bytes:
    return encoded(colours().quantize(200), "PNG", transparency=3)


def alpha(form: str, **options: object) -> bytes:
    image = colours()
    image.putalpha(Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))))
    return encoded(image, form, **options)


def sixteen_bits(form: str) -> bytes:
    pixels = np.asarray(colours())[..., ::-1].astype(np.uint16) * 257
    return bytes(cv2.imencode(form, pixels)[1])


@pytest.mark.parametrize(
    ("content", "tolerance"),
    [
        (encoded(colours(), "PNG"), 0),
        (encoded(colours(), "BMP"), 0),
        (encoded(colours(), "WEBP", lossless=True), 0),
        (encoded(colours(), "TIFF"), 0),
        (encoded(colours(), "TIFF", compression="tiff_lzw"), 0),
        (encoded(colours(), "JPEG", quality=95, subsampling=0), 4),
        (encoded(colours(), "JPEG", quality=95, subsampling=0, progressive=True), 4),
        (encoded(colours().convert("CMYK"), "JPEG", quality=95), 6),
        (encoded(colours().convert("CMYK"), "TIFF"), 1),
        (palette(), 24),
        (alpha("PNG"), 0),
        (alpha("WEBP", lossless=True, exact=True), 0),
        (alpha("TIFF"), 0),
        (encoded(colours(), "PPM"), 0),
        (encoded(colours(), "AVIF", quality=100, subsampling="4:4:4"), 3),
        (encoded(colours(), "JPEG2000"), 0),
        (sixteen_bits(".png"), 0),
        (sixteen_bits(".tiff"), 0),
    ],
    ids=(
        *("PNG", "BMP", "WebP", "TIFF", "LZW", "JPEG", "progressive JPEG", "CMYK JPEG", "CMYK TIFF"),
        *("palette", "RGBA PNG", "RGBA WebP", "RGBA TIFF", "PPM", "AVIF", "JPEG 2000", "16 bit PNG", "16 bit TIFF"),
    ),
)
def test_every_kind_of_image_has_its_colours(file: File, content: bytes, tolerance: int) -> None:
    assert np.abs(decoded(file(content)) - np.asarray(colours(), np.int64)).max() <= tolerance


@pytest.mark.parametrize("transform", [None, 0, 2], ids=["no Adobe marker", "Adobe CMYK", "Adobe YCCK"])
def test_cmyk_is_inverted_and_converted_as_pillow_does(file: File, transform: int | None) -> None:
    content = encoded(colours().convert("CMYK"), "JPEG", quality=95)
    start = content.index(b"\xff\xee")
    end = start + 2 + int.from_bytes(content[start + 2 : start + 4])
    marker = b"" if transform is None else content[start : end - 1] + bytes([transform])
    content = content[:start] + marker + content[end:]
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.int64)
    assert np.abs(decoded(file(content)) - expected).max() <= 1


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "TIFF"])
def test_grayscale_has_three_equal_channels(file: File, form: str) -> None:
    image = decoded(file(encoded(colours().convert("L"), form)))
    assert (image == image[..., :1]).all()
    assert np.abs(image[..., 0] - np.asarray(colours().convert("L"), np.int64)).max() <= 4


def test_sixteen_bits_are_scaled_and_not_clipped(file: File) -> None:
    pixels = np.array([[0, 257, 32896, 65535]], np.uint16)
    image = decoded(file(bytes(cv2.imencode(".png", pixels)[1])))
    assert image[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floating_point_pixels_are_refused_with_the_fix(file: File) -> None:
    path = file(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))
    with pytest.raises(
        ValueError, match=r"image\.JPEG: its pixels are floating point, .* datamodule\.intensity=\[1,2\]"
    ):
        read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("form", "mode"),
    [
        ("JPEG", "RGB"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("WEBP", "RGB"),
        ("WEBP", "RGBA"),
        ("TIFF", "RGB"),
        ("TIFF", "RGBA"),
    ],
)
def test_exif_turns_an_image_upright(file: File, form: str, mode: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if form == "WEBP" else {}
    content = encoded(colours().convert(mode), form, exif=exif, **lossless)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    assert expected.size == ((48, 64) if orientation >= 5 else (64, 48))
    assert np.abs(decoded(file(content)) - np.asarray(expected, np.int64)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_what_only_pillow_reads(file: File, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(colours(), "PNG", exif=exif)
    assert (decoded(file(content.removesuffix(content[-12:]))) == decoded(file(content))).all()


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense"])
def test_broken_exif_data_turn_nothing(file: File, exif: bytes) -> None:
    assert decoded(file(encoded(colours(), "JPEG", exif=exif))).shape == (48, 64, 3)


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_a_jpeg_may_be_decoded_smaller_and_is_upright_all_the_same(
    file: File, factor: int, orientation: int | None
) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path = file(encoded(colours().resize((639, 481)), "JPEG", quality=95, exif=exif))
    asked: list[tuple[int, int]] = []

    def shrink(size: tuple[int, int]) -> int:
        asked.append(size)
        return factor

    height, width = whole = read_image_size(path)
    small = read_image(path, shrink)
    assert asked == [whole]
    assert tuple(small.shape[1:]) == (-(-height // factor), -(-width // factor))
    expected = cv2.resize(
        read_image(path).permute(1, 2, 0).numpy(), small.shape[:0:-1], interpolation=cv2.INTER_AREA
    ).astype(np.int64)
    assert np.abs(small.permute(1, 2, 0).numpy() - expected).max() <= 8


def test_other_formats_are_decoded_whole(file: File) -> None:
    path = file(encoded(colours(), "PNG"))
    assert read_image(path, lambda _size: 8).shape == (3, 48, 64)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}, {"restart_marker_blocks": 1}])
def test_a_jpeg_has_the_pixels_that_opencv_gives(file: File, mode: str, options: dict[str, object]) -> None:
    content = encoded(colours().resize((95, 61)).convert(mode), "JPEG", **options)
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert (decoded(file(content)) == expected).all()


def test_bytes_that_libjpeg_warns_of_are_read_as_opencv_reads_them(file: File) -> None:
    content = encoded(colours(), "JPEG")
    start = content.index(b"\xff\xdb")
    stray = content[:start] + bytes(9) + content[start:]
    with pytest.raises(ValueError, match="extraneous bytes"):
        simplejpeg.decode_jpeg(stray)
    assert (decoded(file(stray)) == decoded(file(content))).all()


def test_no_byte_less_is_a_jpeg(file: File) -> None:
    content = with_thumbnail()
    assert content.count(END) == 2, "the thumbnail has an end of its own"
    assert decoded(file(content)).shape == (48, 64, 3)
    for length in range(3, len(content)):
        with pytest.raises(ValueError, match=f"the JPEG is cut off after {length} bytes"):
            read_image(file(content[:length]))


@pytest.mark.parametrize("share", [0.8, 0.9, 0.97])
def test_a_jpeg_that_was_cut_off_and_closed_is_not_an_image(file: File, share: float) -> None:
    content = encoded(colours(), "JPEG")
    with pytest.raises(ValueError, match=r"cannot read the image .*pixels end too soon"):
        read_image(file(content[: int(len(content) * share)] + END))


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(file: File) -> None:
    content = encoded(colours(), "JPEG")
    for trailing in (b"\0", b"\n\n", END, b"\xff" * 9, os.urandom(1000)):
        assert (decoded(file(content + trailing)) == decoded(file(content))).all()


def test_fill_bytes_and_restart_markers_are_not_an_end(file: File) -> None:
    content = encoded(colours(), "JPEG", restart_marker_blocks=1)
    assert b"\xff\xd0" in content
    start = content.index(b"\xff\xdb")
    filled = content[:start] + b"\xff\xff\xff" + content[start:]
    assert (decoded(file(filled)) == decoded(file(content))).all()
    with pytest.raises(ValueError, match="is cut off"):
        read_image(file(filled[:-2]))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "AVIF", "JPEG2000"])
def test_of_other_formats_all_pixels_are_read_or_none(file: File, form: str) -> None:
    content = encoded(colours(), form)
    whole = decoded(file(content))
    read = []
    for length in range(1, len(content), 1 + len(content) // 200):
        path = file(content[:length])
        if outcome(read_image, path) == "an image":
            read.append(length)
            assert (decoded(path) == whole).all()
    # A PNG may go without its last checksum and end, a GIF without its end.
    assert all(length >= len(content) - 20 for length in read)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(1, 1), (5000, 20), (20, 5000)])
def test_odd_shapes(file: File, form: str, size: tuple[int, int]) -> None:
    image = decoded(file(encoded(Image.new("RGB", size, (200, 10, 30)), form)))
    assert image.shape == (size[1], size[0], 3)
    assert np.abs(image - [200, 10, 30]).max() <= 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"id,label\n1,cat\n", "it is cut off, or in none of the formats JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n", "in none of the formats"),
        (b"\xff\xd8\xff", "the JPEG is cut off after 3 bytes"),
        (b"\xff\xd8\xff\xd9", "the JPEG is cut off after 4 bytes"),
        (b"\x89PNG\r\n\x1a\n", "cannot read the image"),
        (b"BM", "cannot read the image"),
    ],
)
def test_what_is_not_an_image_is_named_with_the_fix(file: File, content: bytes, message: str) -> None:
    path = file(content)
    with pytest.raises(ValueError, match=rf"cannot read the image {path}: .*; replace the file, or remove it") as error:
        read_image(path)
    assert message in str(error.value)
    with pytest.raises(ValueError, match=rf"cannot read the image {path}: "):
        read_image_size(path)


def test_an_image_too_large_to_hold_is_refused(file: File) -> None:
    content = bytearray(encoded(Image.new("L", (8, 8)), "BMP"))
    content[18:26] = struct.pack("<ii", 100_000, 100_000)
    for read in (read_image, read_image_size):
        with pytest.raises(ValueError, match=r"cannot read the image .*10000000000 pixels"):
            read(file(bytes(content)))


@pytest.mark.parametrize("form", FORMATS)
def test_too_many_pixels_are_refused_by_the_header_and_nothing_is_decoded(
    form: str, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(encoded(colours(), form))
    monkeypatch.setattr("camloc.data.images.headers.MAX_PIXELS", 64 * 48 - 1)
    monkeypatch.setattr("camloc.data.images.decode.MAX_PIXELS", 64 * 48 - 1)
    for module, decoder in ((cv2, "imdecode"), (simplejpeg, "decode_jpeg"), (Image.Image, "convert")):
        monkeypatch.setattr(module, decoder, never)
    for read in (read_image, read_image_size, check_image):
        with pytest.raises(ValueError, match=r"image\.JPEG: it is 64 by 48 pixels, and 3,071 are the most .*; replace"):
            read(path)


def never(*_: object, **__: object) -> None:
    pytest.fail("it was decoded")


def test_the_larger_of_two_widths_of_a_tiff_counts(file: File) -> None:
    # libtiff takes the first of two and Pillow the last.
    content = encoded(colours(), "TIFF")
    width, bits = struct.pack("<HHI", 256, 4, 1), struct.pack("<HHI", 258, 3, 3)
    place = content.index(bits)
    assert width in content
    path = file(content[:place] + width + struct.pack("<I", 2**30) + content[place + 12 :])
    with pytest.raises(ValueError, match="it is 1073741824 by 48 pixels"):
        read_image(path)


def test_other_formats_that_opencv_reads_are_refused(file: File) -> None:
    path = file(bytes(cv2.imencode(".ras", np.asarray(colours()))[1]))
    with pytest.raises(ValueError, match="in none of the formats JPEG, PNG"):
        read_image(path)


def test_what_is_no_regular_file_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "fifo")
    (tmp_path / "zeros.jpg").symlink_to("/dev/zero")
    for name, kind in (("link", "FIFO"), ("zeros", "device")):
        for read in (read_image, read_image_size, check_image):
            with pytest.raises(ValueError, match=rf"{name}\.jpg is a {kind} and not a regular file; replace"):
                read(tmp_path / f"{name}.jpg")


def test_a_missing_file_is_not_a_bad_image(tmp_path: Path) -> None:
    for read in (read_image, read_image_size):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read(tmp_path / "nowhere.png")


@given(
    start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM"]), rest=st.binary(max_size=200)
)
def test_arbitrary_bytes_give_an_image_or_one_kind_of_error(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.png"
    path.write_bytes(start + rest)
    for read in (read_image, read_image_size):
        assert outcome(read, path) in ("an image", f"cannot read the image {path}")


def outcome(read: Callable[[Path], object], path: Path) -> str:
    try:
        read(path)
    except ValueError as error:
        return str(error).partition(": ")[0]
    return "an image"


def test_photographs_are_as_pillow_reads_them_and_none_can_be_cut(
    file: File, shared_data: Callable[[str], Path]
) -> None:
    photos = sorted(shared_data("photos").glob("*.JPEG"))
    assert photos
    for photo in photos:
        content = photo.read_bytes()
        expected = np.asarray(Image.open(photo).convert("RGB"), np.int64)
        assert np.abs(decoded(photo) - expected).max() <= 1, photo
        for share in np.linspace(0.001, 0.999, 40):
            with pytest.raises(ValueError, match="is cut off after"):
                read_image(file(content[: max(3, int(len(content) * share))]))
        assert (decoded(file(content + bytes(100))) == decoded(photo)).all(), photo
