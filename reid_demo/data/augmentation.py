"""Training augmentation on uint8 pictures; occlusions are those of `occlude`, as on the page."""

import cv2
import numpy as np
from PIL import Image, ImageOps

from reid_demo import occlude
from reid_demo.config import MEAN_GREY, TrainConfig
from reid_demo.data.body import Body
from reid_demo.images import resized
from reid_demo.records import Occlusion

HALVES = ("lower_half", "upper_half", "left_half", "right_half", "centre", "lower_third", "upper_third")


def augment(
    image: np.ndarray,
    config: TrainConfig,
    rng: np.random.Generator,
    size: tuple[int, int],
    cutouts: occlude.Cutouts | None = None,
) -> np.ndarray:
    """Give a training picture made from one clean picture; `images.normalised` makes it an input.

    Args:
        image: `(H, W, 3)` uint8 RGB, not changed.
        config: which augmentations, and how often.
        rng: the only source of chance.
        size: `(h, w)` model px.
        cutouts: people and things that `pasted` puts in front.

    Returns:
        `(h, w, 3)` uint8 RGB.
    """
    return augment_with_body(image, None, config, rng, size, cutouts)[0]


def augment_with_body(
    image: np.ndarray,
    body: Body | None,
    config: TrainConfig,
    rng: np.random.Generator,
    size: tuple[int, int],
    cutouts: occlude.Cutouts | None = None,
) -> tuple[np.ndarray, Body | None]:
    """Do as `augment`, and carry the picture's body parts, where they are known, through the same changes.

    AugMix moves copies of the picture that it then mixes; `train` refuses it beside body parts.
    """
    height, width = size
    out = resized(image, height, width)
    body = body and body.resized(height, width)
    if rng.random() < config.flip:
        out = np.ascontiguousarray(out[:, ::-1])
        body = body and body.flipped()
    if config.pad:
        pad = max(1, round(config.pad * height / config.height))
        top, left = rng.integers(0, 2 * pad + 1, 2)
        out = _shifted(out, pad, top, left, MEAN_GREY)
        body = body and body.kept(_shifted(body.labels, pad, top, left, 0))
    if rng.random() < config.random_crop:
        window = _random_window(height, width, rng)
        out = resized(out[window], height, width)
        body = body and body.kept(body.labels[window]).resized(height, width)
    if rng.random() < config.recolour:
        out = _recolour(out, rng)
    if config.degrade and rng.random() < config.degrade:  # drawn only then: older recipes keep their pictures
        out = _degrade(out, rng)
    if config.augmix:
        out = _augmix(out, rng)
    out = np.ascontiguousarray(out)
    if rng.random() < config.occlusion:
        out, body = _occluded(out, body, random_occlusion(rng, config.pasted), cutouts)
    if rng.random() < config.random_erasing:
        erased = Occlusion("random_block", "noise", coverage=rng.uniform(0.02, 0.3), seed=_seed(rng))
        out, body = _occluded(out, body, erased)
    return np.ascontiguousarray(out), body


def _occluded(
    image: np.ndarray, body: Body | None, occlusion: Occlusion, cutouts: occlude.Cutouts | None = None
) -> tuple[np.ndarray, Body | None]:
    out = occlude.apply(image, [occlusion], cutouts)
    if body is None:
        return out, None
    return out, body.kept(np.where(occlude.hidden_by(occlusion, image, out), 0, body.labels).astype(np.uint8))


def random_occlusion(rng: np.random.Generator, pasted: float = 0.0) -> Occlusion:
    """Draw an occlusion: a cut-out with the chance `pasted`, else a random block, a named region or an object."""
    if pasted and rng.random() < pasted:
        kind = str(rng.choice(occlude.PASTED))
        return Occlusion(kind, coverage=rng.uniform(0.25, 0.6), seed=_seed(rng))
    fill = str(rng.choice(["mean_grey", "mean_grey", "noise", "black", "blur"]))
    kind = rng.random()
    if kind < 0.4:
        return Occlusion("random_block", fill, coverage=rng.uniform(0.15, 0.55), seed=_seed(rng))
    if kind < 0.9:
        return Occlusion(str(rng.choice(HALVES)), fill, seed=_seed(rng))
    return Occlusion("object", coverage=rng.uniform(0.2, 0.45), seed=_seed(rng))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _shifted(picture: np.ndarray, pad: int, top: int, left: int, border: int | tuple[int, ...]) -> np.ndarray:
    """Pad a picture or a map of labels by `pad` on every side, and cut its size out again from (top, left)."""
    height, width = picture.shape[:2]
    padded = cv2.copyMakeBorder(picture, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=border)
    return padded[top : top + height, left : left + width]


def _random_window(height: int, width: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw a part of 40 to 100 percent of the height, 60 to 100 of the width, as a partial detection would be."""
    h, w = round(height * rng.uniform(0.4, 1)), round(width * rng.uniform(0.6, 1))
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    return slice(top, top + h), slice(left, left + w)


def _recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change gain and gamma, each channel a little apart, as another camera would."""
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3)
    gamma = rng.uniform(0.7, 1.4)
    levels = np.arange(256)[:, None] / 255
    table = np.clip(np.round(255 * gain * levels**gamma), 0, 255).astype(np.uint8)  # (256, 3)
    return cv2.LUT(np.ascontiguousarray(image), table[:, None])


def _degrade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lose resolution, add noise and compress, as a cheaper or farther camera would."""
    height, width = image.shape[:2]
    scale = rng.uniform(0.25, 1)
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    out = cv2.resize(np.ascontiguousarray(image), small, interpolation=cv2.INTER_AREA)
    noise = rng.normal(0, rng.uniform(0, 8), out.shape)
    out = np.clip(np.round(out + noise), 0, 255).astype(np.uint8)
    out = cv2.imdecode(
        cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))])[1], cv2.IMREAD_COLOR
    )
    return cv2.resize(out, (width, height), interpolation=cv2.INTER_LINEAR)


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
