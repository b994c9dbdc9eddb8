"""Bad and odd images at the border: handled, or refused in one clear sentence."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from reid_demo.config import PIXEL_MEAN, PIXEL_STD
from reid_demo.errors import ImageError, ShapeError
from reid_demo.images import MAX_BYTES, normalised, read_image, to_model_input

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
