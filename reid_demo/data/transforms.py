"""Training augmentation on uint8 pictures; occlusions are those of `occlude`, as on the page."""

import numpy as np
from PIL import Image, ImageOps

from reid_demo import occlude
from reid_demo.config import MEAN_GREY, TrainConfig
from reid_demo.images import to_model_input
from reid_demo.records import Occlusion

HALVES = ("lower_half", "upper_half", "left_half", "right_half", "centre", "lower_third", "upper_third")


def augment(image: np.ndarray, config: TrainConfig, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Give a training input made from one clean picture.

    Args:
        image: `(H, W, 3)` uint8 RGB, not changed.
        config: which augmentations, and how often.
        rng: the only source of chance.
        size: `(h, w)` model px.

    Returns:
        `(3, h, w)` float32, normalised.
    """
    height, width = size
    out = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    if rng.random() < config.flip:
        out = out[:, ::-1]
    if config.pad:
        out = _pad_and_crop(out, max(1, round(config.pad * height / config.height)), rng)
    if rng.random() < config.random_crop:
        out = _random_crop(out, rng)
    if rng.random() < config.recolour:
        out = _recolour(out, rng)
    if config.augmix:
        out = _augmix(out, rng)
    out = np.ascontiguousarray(out)
    if rng.random() < config.occlusion:
        out = occlude.apply(out, [random_occlusion(rng)])
    if rng.random() < config.random_erasing:
        out = occlude.apply(out, [Occlusion("random_block", "noise", coverage=rng.uniform(0.02, 0.3), seed=_seed(rng))])
    return to_model_input(out, height, width)


def random_occlusion(rng: np.random.Generator) -> Occlusion:
    """Draw an occlusion: half of the time a random block, else a named region or a post."""
    fill = str(rng.choice(["mean_grey", "mean_grey", "noise", "black", "blur"]))
    kind = rng.random()
    if kind < 0.4:
        return Occlusion("random_block", fill, coverage=rng.uniform(0.15, 0.55), seed=_seed(rng))
    if kind < 0.9:
        return Occlusion(str(rng.choice(HALVES)), fill, seed=_seed(rng))
    return Occlusion("object", coverage=rng.uniform(0.2, 0.45), seed=_seed(rng))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _pad_and_crop(image: np.ndarray, pad: int, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    padded = np.empty((height + 2 * pad, width + 2 * pad, 3), np.uint8)
    padded[:] = MEAN_GREY
    padded[pad : pad + height, pad : pad + width] = image
    top, left = rng.integers(0, 2 * pad + 1, 2)
    return padded[top : top + height, left : left + width]


def _random_crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Keep a part of 40 to 100 percent of each side and stretch it to the whole, as a partial detection would be."""
    height, width = image.shape[:2]
    h, w = round(height * rng.uniform(0.4, 1)), round(width * rng.uniform(0.6, 1))
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    piece = Image.fromarray(np.ascontiguousarray(image[top : top + h, left : left + w]))
    return np.asarray(piece.resize((width, height), Image.Resampling.BILINEAR))


def _recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change gain and gamma, each channel a little apart, as another camera would."""
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3)
    gamma = rng.uniform(0.7, 1.4)
    levels = np.arange(256)[:, None] / 255
    table = np.clip(np.round(255 * gain * levels**gamma), 0, 255).astype(np.uint8)  # (256, 3)
    return table[image, np.arange(3)]


def _augmix(image: np.ndarray, rng: np.random.Generator, chains: int = 3, severity: float = 0.3) -> np.ndarray:
    """Mix the image with chains of random mild operations (AugMix, Sec. 4.2), by Dirichlet and Beta weights."""
    weights = rng.dirichlet([1.0] * chains)
    mixed = np.zeros(image.shape, np.float32)
    for weight in weights:
        piece = Image.fromarray(np.ascontiguousarray(image))
        for _ in range(int(rng.integers(1, 4))):
            piece = _operate(piece, int(rng.integers(7)), rng.uniform(0.1, 1) * severity, rng.choice([-1, 1]))
        mixed += weight * np.asarray(piece, np.float32)
    keep = rng.beta(1.0, 1.0)
    return np.clip(np.round(keep * image + (1 - keep) * mixed), 0, 255).astype(np.uint8)


def _operate(image: Image.Image, kind: int, strength: float, sign: int) -> Image.Image:
    """Apply one operation of AugMix with a strength in 0..1."""
    if kind == 0:
        return ImageOps.autocontrast(image)
    if kind == 1:
        return ImageOps.equalize(image)
    if kind == 2:
        return ImageOps.posterize(image, 8 - round(4 * strength))
    if kind == 3:
        return ImageOps.solarize(image, round(255 * (1 - strength)))
    if kind == 4:
        return image.rotate(sign * 30 * strength, Image.Resampling.BILINEAR, fillcolor=MEAN_GREY)
    shear, shift = (sign * 0.3 * strength, 0.0) if kind == 5 else (0.0, sign * strength * image.width / 3)
    matrix = (1, shear, shift - shear * image.height / 2, 0, 1, 0)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=MEAN_GREY)
