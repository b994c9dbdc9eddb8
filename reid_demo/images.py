"""Read, check and batch images: the one place that knows size limits, orientation, mean and standard deviation."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from reid_demo.config import IMAGE_HEIGHT, IMAGE_WIDTH, PIXEL_MEAN, PIXEL_STD
from reid_demo.errors import ImageError, ShapeError

MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 50_000_000
MIN_SIDE = 16  # image px
MAX_SIDE = 15_000  # image px
MAX_ASPECT = 20

_MEAN = np.asarray(PIXEL_MEAN, np.float32)
_STD = np.asarray(PIXEL_STD, np.float32)


def read_image(source: str | Path | bytes | np.ndarray | Image.Image) -> np.ndarray:
    """Give any supported image as RGB, upright by EXIF, first frame, alpha laid on white.

    Args:
        source: A file, its bytes, a PIL image, or an array `(H, W)`, `(H, W, 3)` or `(H, W, 4)`,
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
    if isinstance(source, bytes):
        data = source
    else:
        path = Path(source)
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ImageError(f"The file is larger than {MAX_BYTES >> 20} MB. Use a smaller image.")
            data = path.read_bytes()
        except OSError as error:
            raise ImageError(f"The image {path.name!r} could not be opened ({error.strerror}).") from error
    if len(data) > MAX_BYTES:
        raise ImageError(f"The file is larger than {MAX_BYTES >> 20} MB. Use a smaller image.")
    try:
        image = Image.open(io.BytesIO(data))
        check_size(image.width, image.height)
        return _checked(_from_pil(image))
    except UnidentifiedImageError as error:
        raise ImageError("This file is not an image that can be read. Use a JPEG, PNG or WebP picture.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError("The image has too many pixels. Use at most 50 megapixels.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError("The image is damaged or cut short. Save it again and retry.") from error


def read_named(path: str | Path) -> np.ndarray:
    """Give a picture file as `read_image` does; its error also says which of many files it was."""
    try:
        return read_image(path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def check_size(width: int, height: int) -> None:
    """Refuse sizes (image px) that no person crop or frame has, before anything is decoded."""
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"The image is {width} x {height} pixels; each side needs at least {MIN_SIDE}.")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageError(
            f"The image is {width} x {height} pixels; use at most {MAX_SIDE} a side "
            f"and {MAX_PIXELS // 10**6} megapixels."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"The image is {width} x {height} pixels, too long and thin. Crop it to one person.")


def _checked(image: np.ndarray) -> np.ndarray:
    check_size(image.shape[1], image.shape[0])
    return image


def _from_pil(image: Image.Image) -> np.ndarray:
    image.seek(0) if getattr(image, "is_animated", False) else None
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        return _from_array(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA") or (image.mode == "P" and "transparency" in image.info):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return np.array(Image.alpha_composite(white, rgba).convert("RGB"))
    return np.array(image.convert("RGB"))


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4):
        raise ImageError(f"An image array must be (H, W), (H, W, 3) or (H, W, 4), not {array.shape}.")
    if array.dtype != np.uint8:
        values = array.astype(np.float64)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 65535:
            raise ImageError("The image has values outside 0 to 65535. Save it as an 8-bit picture.")
        # 16-bit files use the full range; integers that never pass 255 are 8-bit values in a wide type.
        array = np.round(values / 257 if values.max() > 255 else values).astype(np.uint8)
    if array.shape[2] == 4:
        alpha = array[:, :, 3:].astype(np.float32) / 255
        array = np.round(array[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(array).copy()


def to_model_input(image: np.ndarray, height: int = IMAGE_HEIGHT, width: int = IMAGE_WIDTH) -> np.ndarray:
    """Resize and normalise one image; evaluation, page and gallery all use this.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        height: model px.
        width: model px.

    Returns:
        `(3, height, width)` float32, ImageNet-normalised.
    """
    pixels = (resized(image, height, width).astype(np.float32) / 255 - _MEAN) / _STD
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Give an `(H, W, 3)` uint8 image as `(height, width, 3)`, itself where it has that size already."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"Expected an (H, W, 3) uint8 image, got {image.shape} {image.dtype}.")
    if image.shape[:2] == (height, width):
        return image
    # Pillow's filter scales with the reduction, so large uploads do not alias.
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def normalised(pixels: Tensor) -> Tensor:
    """Give a batch `(B, H, W, 3)` uint8, on any device, as the model takes it: the numbers of `to_model_input`.

    Returns:
        `(B, 3, H, W)` float32, channels last.
    """
    mean, std = (torch.tensor(values, device=pixels.device) for values in (PIXEL_MEAN, PIXEL_STD))
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)
