"""Bad and odd images: read correctly, or refused with one clear sentence."""

import base64
import io
import struct
import time
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from reid_demo import occlude
from reid_demo.config import PIXEL_MEAN, PIXEL_STD
from reid_demo.errors import ImageError, OcclusionError, ReidError, ShapeError
from reid_demo.images import (
    FORMATS,
    MAX_BYTES,
    PROBE_SIDE,
    formats,
    image_or_placeholder,
    lacks_colour,
    normalised,
    read_image,
    read_named,
    read_probe,
    shrunk,
    suffixes,
    to_model_input,
)
from reid_demo.records import Occlusion
from reid_demo.serving import api_calls

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8)


def encode(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_plain_png_is_exact():
    assert np.array_equal(read_image(encode(Image.fromarray(PICTURE))), PICTURE)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA", "RGBA"])
def test_odd_modes_become_rgb(mode):
    form = "TIFF" if mode == "CMYK" else "PNG"
    out = read_image(encode(Image.fromarray(PICTURE).convert(mode), form))
    assert out.shape == (40, 20, 3) and out.dtype == np.uint8


def test_alpha_is_laid_on_white():
    clear = np.dstack([PICTURE, np.zeros((40, 20), np.uint8)])
    assert (read_image(encode(Image.fromarray(clear))) == 255).all()


def test_sixteen_bits_keep_their_range():
    wide = (PICTURE[:, :, 0].astype(np.uint16)) * 257
    out = read_image(encode(Image.fromarray(wide)))
    assert np.array_equal(out[:, :, 1], PICTURE[:, :, 0])


def test_exif_rotation_is_undone():
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    out = read_image(encode(Image.fromarray(PICTURE), "JPEG", exif=exif))
    assert out.shape == (20, 40, 3)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (32, 32), c) for c in ("red", "blue")]
    out = read_image(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert out[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"hello, I am no picture", "not an image"),
        (b"", "not an image"),
        (encode(Image.fromarray(PICTURE.repeat(20, 0).repeat(20, 1)), "JPEG")[:2000], "damaged"),
        (encode(Image.new("RGB", (15, 40))), "at least 16"),
        (encode(Image.new("1", (20_000, 20))), "at most"),
        (encode(Image.new("L", (800, 20))), "long and thin"),
        (b"\x89PNG" + b"0" * MAX_BYTES, "20 MB"),
    ],
    ids=["text", "empty", "truncated", "small", "wide", "thin", "heavy"],
)
def test_refused_with_a_reason(data, words):
    with pytest.raises(ImageError, match=words):
        read_image(data)


def test_a_missing_file_is_an_image_error(tmp_path):
    with pytest.raises(ImageError, match="could not be opened"):
        read_image(tmp_path / "nobody.jpg")


def test_arrays_are_copied_and_checked():
    out = read_image(PICTURE)
    out[:] = 0
    assert PICTURE.any()
    with pytest.raises(ImageError, match="array must be"):
        read_image(np.zeros((4, 4, 7), np.uint8))


def test_model_input_is_normalised():
    flat = np.full((256, 128, 3), (124, 116, 104), np.uint8)
    out = to_model_input(flat)
    assert out.shape == (3, 256, 128) and out.dtype == np.float32
    wanted = (np.array([124, 116, 104]) / 255 - PIXEL_MEAN) / PIXEL_STD
    np.testing.assert_allclose(out[:, 7, 7], wanted, atol=1e-6)
    with pytest.raises(ShapeError):
        to_model_input(flat.astype(np.float32))


def test_a_batch_of_bytes_gets_the_numbers_of_the_model_input():
    every_byte = np.arange(256 * 128 * 3).reshape(256, 128, 3).astype(np.uint8)
    batch = normalised(torch.from_numpy(np.stack([every_byte, every_byte[::-1].copy()])))
    assert batch.shape == (2, 3, 256, 128) and batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(batch[0].numpy(), to_model_input(every_byte))


POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 128\n%%EndComments\n{ 1 1 add pop } loop\n"  # it never ends
)


@pytest.fixture
def postscript(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(POSTSCRIPT)
    return path


# Every way in for a picture, given PostScript: refused with one sentence, and no interpreter is started.
HOSTILE = {
    "bytes": lambda path: read_image(POSTSCRIPT),
    "file": read_image,
    "probe": read_probe,
    "mask": lambda path: occlude.apply(
        np.zeros((64, 32, 3), np.uint8), [Occlusion("brush", mask_png=base64.b64encode(POSTSCRIPT).decode())]
    ),
    "data URL": lambda path: api_calls.picture(
        "data:image/jpeg;base64," + base64.b64encode(POSTSCRIPT).decode(), path.parent
    ),
    "upload": lambda path: api_calls.picture({"path": str(path)}, path.parent),
}


@pytest.mark.parametrize("way", HOSTILE)
def test_postscript_is_refused_and_never_run(way, postscript):
    start = time.monotonic()
    with pytest.raises(ReidError, match="not an image|damaged"):
        HOSTILE[way](postscript)
    assert time.monotonic() - start < 5


def test_the_formats_are_decoded_in_this_process():
    assert {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"} <= set(formats()) <= set(FORMATS)
    assert not {".eps", ".ps", ".wmf", ".emf", ".pdf"} & suffixes()
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm"} <= suffixes()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG"])
def test_every_format_is_read(form):
    assert read_image(encode(Image.fromarray(PICTURE), form)).shape == PICTURE.shape


def _with_chunk(kind: bytes, body: bytes) -> bytes:
    """Insert a chunk before the pixels of a PNG."""
    data = encode(Image.fromarray(PICTURE))
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk + data[33:]


def _with_segment(kind: int, body: bytes, picture: bytes | None = None) -> bytes:
    """Insert a segment after the start of a JPEG."""
    data = picture or encode(Image.fromarray(PICTURE), "JPEG", quality=95)
    return data[:2] + b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize(
    "data",
    [
        _with_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(3 << 20))),
        _with_chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(3 << 20))),
        _with_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(3 << 20))),
        _with_chunk(b"iCCP", b"icc"),
        _with_chunk(b"eXIf", b"junk that is no EXIF"),
        _with_chunk(b"tEXt", b"k\0" + bytes(2 << 20)),
        encode(Image.fromarray(PICTURE), "WEBP", lossless=True, exif=b"Exif\0\0junk"),
        encode(Image.fromarray(PICTURE), exif=b"Exif\0\0MM\0*\0\0\0\xff"),
    ],
    ids=["zTXt", "iTXt", "large profile", "junk profile", "junk EXIF", "text", "WebP junk EXIF", "torn EXIF"],
)
def test_metadata_that_fails_is_dropped(data):
    assert np.array_equal(read_image(data), PICTURE)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (0xE0, b"JFIF"),
        (0xE1, b"Exif\0\0junk"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"ICC_PROFILE\0\x05\x02junk"),
        (0xE2, b"MPF\0junk"),
        (0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\0\0\xff\xff"),
        (0xEE, b"Adobe\0"),
        (0xFE, bytes(60_000)),
    ],
    ids=["JFIF", "EXIF", "short profile", "profile", "frames", "Photoshop", "Adobe", "comment"],
)
def test_metadata_of_a_jpeg_that_fails_is_dropped(kind, body):
    wanted = read_image(encode(Image.fromarray(PICTURE), "JPEG", quality=95))
    assert np.array_equal(read_image(_with_segment(kind, body)), wanted)


def test_the_rotation_outlives_metadata_that_fails():
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg = encode(Image.fromarray(PICTURE), "JPEG", exif=exif)
    assert np.array_equal(read_image(_with_segment(0xE2, b"ICC_PROFILE\0", jpeg)), read_image(jpeg))
    png = encode(Image.fromarray(PICTURE), exif=exif)
    text = b"zTXtk\0\0" + zlib.compress(bytes(3 << 20))
    broken = png[:33] + struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text)) + png[33:]
    assert np.array_equal(read_image(broken), read_image(png)) and read_image(png).shape == (20, 40, 3)
    cmyk = encode(Image.fromarray(PICTURE).convert("CMYK"), "JPEG", quality=95)  # Adobe's segment says how to read it
    assert np.array_equal(read_image(_with_segment(0xE2, b"ICC_PROFILE\0", cmyk)), read_image(cmyk))


def test_a_mask_of_too_many_pixels_is_refused():
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    png += struct.pack(">I", 10) + b"IDAT" + bytes(14) + struct.pack(">I", 0) + b"IEND" + b"\xaeB`\x82"
    for mask in (base64.b64encode(png).decode(), 7, ["x"]):
        with pytest.raises(OcclusionError, match="painted mask"):
            occlude.apply(np.zeros((64, 32, 3), np.uint8), [Occlusion("brush", mask_png=mask)])


def test_a_probe_is_shrunk_by_its_longer_side_and_a_small_one_is_not_touched():
    assert shrunk(PICTURE) is PICTURE
    large = np.broadcast_to(np.arange(4000, dtype=np.int64)[:, None, None] * 255 // 3999, (4000, 1000, 3))
    small = shrunk(np.ascontiguousarray(large, dtype=np.uint8))
    assert small.shape == (PROBE_SIDE, 256, 3) and small[0, 0, 0] <= 1 and small[-1, 0, 0] >= 254
    assert read_probe(encode(Image.new("L", (3000, 150)))).shape == (51, PROBE_SIDE, 3)
    assert read_image(encode(Image.new("L", (3000, 150)))).shape == (150, 3000, 3)


def test_page_command_line_and_api_shrink_a_probe_alike(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(encode(Image.effect_noise((600, 2400), 60)))
    wanted = read_probe(path)
    assert np.array_equal(read_named(path), wanted)
    assert np.array_equal(api_calls.picture({"path": str(path)}, tmp_path), wanted)


def test_a_picture_that_is_gone_leaves_a_placeholder(tmp_path):
    path = tmp_path / "here.png"
    path.write_bytes(encode(Image.fromarray(PICTURE)))
    assert np.array_equal(image_or_placeholder(path), PICTURE)
    path.unlink()
    blank = image_or_placeholder(path)
    assert blank.shape == (256, 128, 3) and blank.dtype == np.uint8 and blank.std() > 0


def test_heic_is_read_where_its_package_is_installed_and_named_where_not():
    data = b"\0\0\0\x18ftypheic" + bytes(40)
    with pytest.raises(ImageError, match="damaged|not an image" if "HEIF" in formats() else "pip install pillow-heif"):
        read_image(data)


def test_a_heic_picture_is_read_and_indexed_by_its_suffix():
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    assert "HEIF" in formats() and {".heic", ".heif"} <= suffixes()
    found = read_image(encode(Image.fromarray(PICTURE.repeat(4, 0).repeat(4, 1)), "HEIF", quality=95))
    assert found.shape == (160, 80, 3) and np.abs(found[2::4, 2::4].astype(int) - PICTURE).mean() < 12


def test_a_picture_without_colour_is_told_from_one_with_little():
    grey = np.repeat(PICTURE[:, :, :1], 3, axis=2)
    infrared = read_image(encode(Image.fromarray(grey), "JPEG", quality=60))
    assert lacks_colour(grey) and lacks_colour(infrared) and not lacks_colour(PICTURE)
    jacket = grey.copy()
    jacket[10:20, 5:10] = (90, 100, 120)  # a twentieth of it is bluish
    assert not lacks_colour(jacket)
    assert lacks_colour(np.full((600, 2000, 3), 80, np.uint8))


@pytest.mark.parametrize(("mode", "clear"), [("RGB", (10, 20, 30)), ("L", 10)])
def test_one_transparent_colour_is_laid_on_white(mode, clear):
    image = Image.new(mode, (20, 40), clear)
    image.paste(200 if mode == "L" else (200, 200, 200), (0, 0, 20, 20))
    out = read_image(encode(image, transparency=clear))
    assert (out[:20] == 200).all() and (out[20:] == 255).all()
