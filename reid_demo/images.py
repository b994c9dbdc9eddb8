"""Read, check, resize and normalise images: the one home of formats, size limits, orientation, mean and deviation.

`load_picture` opens every image that comes from outside, and only formats that are decoded in this process. Pillow
accepts more and goes by content, not by name: for PostScript it would start another program on the visitor's bytes.
"""

import functools
import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, UnidentifiedImageError
from torch import Tensor

from reid_demo.config import IMAGE_HEIGHT, IMAGE_WIDTH, PIXEL_MEAN, PIXEL_STD
from reid_demo.errors import ImageError, ReidError, ShapeError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")  # HEIF where pillow-heif is installed
MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 50_000_000
MIN_SIDE = 16  # image px
MAX_SIDE = 15_000  # image px
MAX_ASPECT = 20
MOST_CHROMA = 3  # between the channels of a grey pixel, 0 to 255; colour photographs of people in grey reach 5
PROBE_SIDE = 1024  # image px, longer side of a stored picture of one person; the network sees it at 256 x 128

_MEAN = np.asarray(PIXEL_MEAN, np.float32)
_STD = np.asarray(PIXEL_STD, np.float32)
_NORMALISED = ((np.arange(256, dtype=np.float32)[:, None] / 255 - _MEAN) / _STD)[:, None]  # (256, 1, 3), of each byte
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_JPEG = b"\xff\xd8"
_START_OF_SCAN = 0xDA
_APPLICATION = range(0xE0, 0xF0)  # segments of metadata; 1 holds EXIF, 14 Adobe's colour transform
_COMMENT = 0xFE
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


@functools.cache
def formats() -> tuple[str, ...]:
    """Return the formats in `FORMATS` that this installation can decode."""
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:  # optional: `_not_an_image` names the package when a HEIC picture comes in
        pass
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@functools.cache
def suffixes() -> frozenset[str]:
    """Return the file suffixes of `formats()`, in lower case with the dot."""
    known = formats()
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in known)


def looks_like_image(name: str | Path) -> bool:
    """Return whether a file's suffix is one of `suffixes()`."""
    return Path(name).suffix.lower() in suffixes()


def inside(folder: Path, relative: str, error: type[ReidError]) -> Path:
    """Return the picture that a listing names, never a file outside of the listing's own folder.

    A folder in the Hub's cache is made of links into that repository's own store, which count as inside.

    Raises:
        error: the path is absolute, climbs out, or is a link that leads out.
    """
    root = folder.resolve()
    path = Path(os.path.normpath(root / relative))
    stores = [parent.parent / "blobs" for parent in root.parents if parent.name == "snapshots"]
    target = path.resolve()
    if path.is_relative_to(root) and (target.is_relative_to(root) or target.parent in stores):
        return target
    raise error(f"A listing names a file outside of its folder {folder.name!r}: {relative!r}. It is not opened.")


def load_picture(data: bytes) -> Image.Image:
    """Decode the first frame of a picture within the limits of `check_area`, without turning it upright.

    Unreadable metadata is dropped if the pixels decode without it.

    Raises:
        ImageError: not one of `FORMATS`, too large, damaged or cut short.
    """
    try:
        return _decoded(data)
    except ImageError:
        bare = _png_pixels(data) if data.startswith(_PNG) else _jpeg_pixels(data) if data.startswith(_JPEG) else b""
        if not bare:
            raise
    return _decoded(bare)


def opened(data: bytes) -> Image.Image:
    """Open a picture that `load_picture` accepts, reading only its header; its pixels are decoded on first use.

    Raises:
        ImageError: as `load_picture`.
    """
    try:
        return _head(data)
    except Exception:  # its metadata are broken, so that nothing but the pixels is kept
        return load_picture(data)


def _head(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=formats())


def _decoded(data: bytes) -> Image.Image:
    try:
        image = _head(data)
        check_area(image.width, image.height)
        image.load()
        return image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(_not_an_image(data)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"The image has too many pixels. Use at most {MAX_PIXELS // 10**6} megapixels.") from error
    except Exception as error:  # Pillow's readers raise almost any error on malicious bytes
        raise ImageError("The image is damaged or cut short. Save it again and retry.") from error


def _not_an_image(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS and "HEIF" not in formats():
        return "HEIC pictures need `pip install pillow-heif` here. Save it as a JPEG, or install that."
    names = ", ".join({"WEBP": "WebP", "HEIF": "HEIC"}.get(name, name) for name in formats())
    return f"This file is not an image that can be read. Use one of {names}."


def _png_pixels(data: bytes) -> bytes:
    """Return a copy of a PNG file without its texts and colour profile; sound EXIF stays, for the rotation."""
    kept, at = [_PNG], len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + length
        sound = data[end - 4 : end] == struct.pack(">I", zlib.crc32(data[at + 4 : end - 4]))
        if kind in _PNG_PIXELS or (kind == b"eXIf" and sound):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _jpeg_pixels(data: bytes) -> bytes:
    """Return a copy of a JPEG file without comments and metadata, except EXIF (rotation) and Adobe's colour transform.

    Empty if the file ends before its pixels.
    """
    kept, at = [_JPEG], len(_JPEG)
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if kind == _START_OF_SCAN:
            return b"".join((*kept, data[at:]))
        needed = body.startswith(b"Exif\0\0") or (body.startswith(b"Adobe") and len(body) >= 12)
        if needed or kind not in (*_APPLICATION, _COMMENT):
            kept.append(data[at : at + 2 + length])
        at += 2 + length
    return b""


def read_image(source: str | Path | bytes | np.ndarray | Image.Image) -> np.ndarray:
    """Read any supported image: first frame, turned upright by EXIF, alpha blended on white.

    Args:
        source: a file, its bytes, a PIL image, or an array `(H, W)`, `(H, W, 3)` or `(H, W, 4)`,
            uint8 or uint16.

    Returns:
        `(H, W, 3)` uint8 RGB, a fresh array.

    Raises:
        ImageError: not an image, truncated, or outside the limits of this module; the message says what to do.
    """
    if isinstance(source, np.ndarray):
        return _checked(_from_array(source))
    if isinstance(source, Image.Image):
        return _checked(_from_pil(source))
    data = source if isinstance(source, bytes) else _bytes(Path(source))
    if len(data) > MAX_BYTES:
        raise ImageError(f"The file is larger than {MAX_BYTES >> 20} MB. Use a smaller image.")
    return _checked(_from_pil(load_picture(data)))


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"The file is larger than {MAX_BYTES >> 20} MB. Use a smaller image.")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"The image {path.name!r} could not be opened ({error.strerror}).") from error


def shrunk(image: np.ndarray, side: int = PROBE_SIDE) -> np.ndarray:
    """Shrink a picture of one person to at most `side` px a side; page, command line, API and `index` all call this.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        side: image px.

    Returns:
        The image itself if it is small enough, else a copy with the same proportions.
    """
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    return resized(image, max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))


def read_probe(source: str | Path | bytes | np.ndarray | Image.Image) -> np.ndarray:
    """Read a picture of one person with `read_image`, then `shrunk`."""
    return shrunk(read_image(source))


def image_or_placeholder(path: str | Path) -> np.ndarray:
    """Read an image for a list; return a grey 256 x 128 one with a cross if the file cannot be read."""
    try:
        return read_image(path)
    except ImageError:  # one bad file must not stop the list; the cross shows it
        blank = Image.new("RGB", (IMAGE_WIDTH, IMAGE_HEIGHT), (200, 200, 200))
        draw = ImageDraw.Draw(blank)
        draw.line((0, 0, IMAGE_WIDTH, IMAGE_HEIGHT), fill=(120, 120, 120), width=3)
        draw.line((0, IMAGE_HEIGHT, IMAGE_WIDTH, 0), fill=(120, 120, 120), width=3)
        return np.array(blank)


def read_named(path: str | Path) -> np.ndarray:
    """Read a picture of one person with `read_probe`; an error also names the file."""
    try:
        return read_probe(path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def lacks_colour(image: np.ndarray) -> bool:
    """Tell whether a picture, `(H, W, 3)` uint8 RGB, is grey all over, as an infrared camera's is."""
    pixels = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)]
    red, green, blue = np.moveaxis(pixels, 2, 0)  # reducing an axis of three takes NumPy eight times as long
    chroma = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return bool(np.percentile(chroma, 99) <= MOST_CHROMA)


def check_size(width: int, height: int) -> None:
    """Check that a size, in image px, is plausible for a person crop or a frame.

    Raises:
        ImageError: too small, too large, or too long and thin.
    """
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"The image is {width} x {height} pixels; each side needs at least {MIN_SIDE}.")
    check_area(width, height)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"The image is {width} x {height} pixels, too long and thin. Crop it to one person.")


def check_area(width: int, height: int) -> None:
    """Check a size, in image px, before decoding, so that no image takes too much memory.

    Raises:
        ImageError: too many pixels in all or on one side.
    """
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageError(
            f"The image is {width} x {height} pixels; use at most {MAX_SIDE} a side "
            f"and {MAX_PIXELS // 10**6} megapixels."
        )


def _checked(image: np.ndarray) -> np.ndarray:
    check_size(image.shape[1], image.shape[0])
    return image


def _from_pil(image: Image.Image) -> np.ndarray:
    if getattr(image, "is_animated", False):
        image.seek(0)
    image = _upright(image)
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        return _from_array(np.asarray(image))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return np.array(Image.alpha_composite(white, rgba).convert("RGB"))
    return np.array(image.convert("RGB"))


def carries_exif(image: Image.Image) -> bool:
    """Return whether a file that Pillow has opened states EXIF, readable or not."""
    try:
        return bool(image.getexif())
    except Exception:  # as in `_upright`
        return True


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION))
    except Exception:  # Pillow raises almost any error on broken EXIF; only the rotation is lost
        turn = None
    return image if turn is None else image.transpose(turn)


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4):
        raise ImageError(f"An image array must be (H, W), (H, W, 3) or (H, W, 4), not {array.shape}.")
    if array.dtype != np.uint8:
        values = array.astype(np.float64)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 65535:
            raise ImageError("The image has values outside 0 to 65535. Save it as an 8-bit picture.")
        # 16-bit files use the full range; values up to 255 are 8-bit values in a wider type
        array = np.round(values / 257 if values.max() > 255 else values).astype(np.uint8)
    if array.shape[2] == 4:
        alpha = array[:, :, 3:].astype(np.float32) / 255
        array = np.round(array[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(array).copy()


def to_model_input(image: np.ndarray, height: int = IMAGE_HEIGHT, width: int = IMAGE_WIDTH) -> np.ndarray:
    """Resize and normalise one image; evaluation, page and gallery all call this.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        height: model px.
        width: model px.

    Returns:
        `(3, height, width)` float32, normalised with the ImageNet mean and deviation.
    """
    pixels = cv2.LUT(np.ascontiguousarray(resized(image, height, width)), _NORMALISED)
    planes = np.empty((3, height, width), np.float32)
    for channel, plane in enumerate(planes):
        cv2.extractChannel(pixels, channel, plane)
    return planes


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an `(H, W, 3)` uint8 image to `(height, width, 3)`; return the image itself if it has that size.

    Raises:
        ShapeError: another shape or dtype.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"Expected an (H, W, 3) uint8 image, got {image.shape} {image.dtype}.")
    if image.shape[:2] == (height, width):
        return image
    # Pillow's filter widens with the reduction, so large uploads do not alias
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def normalised(pixels: Tensor) -> Tensor:
    """Normalise a batch `(B, H, W, 3)` uint8, on any device, as `to_model_input` does.

    Returns:
        `(B, 3, H, W)` float32 in channels-last memory order.
    """
    mean, std = (torch.tensor(values, device=pixels.device) for values in (PIXEL_MEAN, PIXEL_STD))
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """Encode an `(H, W, 3)` uint8 RGB image as a JPEG file of quality 1 to 100."""
    bgr = np.ascontiguousarray(image[..., ::-1])  # OpenCV's order; RGB would subsample the wrong colour planes
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Return an `(H, W, 3)` uint8 RGB image after one round of JPEG compression at quality 1 to 100."""
    stored = np.frombuffer(encode_jpeg(image, quality), np.uint8)
    return np.ascontiguousarray(cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1])
