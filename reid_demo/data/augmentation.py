"""Training augmentation on uint8 pictures; occlusions are those of `occlude`, as on the page."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image, ImageOps

from reid_demo import occlude
from reid_demo.config import MEAN_GREY, TrainConfig
from reid_demo.data.body import Body, areas
from reid_demo.images import resized, through_jpeg
from reid_demo.records import Occlusion

BLOCKS = ("lower_half", "upper_half", "left_half", "right_half", "centre", "lower_third", "upper_third")
FILLS = ("mean_grey", "mean_grey", "noise", "black", "blur")  # of a random occlusion; grey twice as often as others
LEAST_PART = 0.005  # share of the picture that a body part covers, if it is hidden by itself
ERASING_TRIES = 10  # a rectangle that does not fit is drawn again, as often as torchvision does


@dataclass(frozen=True, eq=False)
class Sample:
    """A training picture and, where its ground truth is known, its body parts."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    body: Body | None = None  # labels at any scale of the picture
    before: np.ndarray | None = None  # (H, W, 3) uint8 RGB: what a live teacher sees; neither cut nor grey nor hidden

    def resized(self, height: int, width: int) -> "Sample":
        """Return picture and body parts at `(height, width)` model px."""
        return Sample(resized(self.image, height, width), self.body and self.body.resized(height, width))

    def flipped(self) -> "Sample":
        """Return the mirror image; a left arm becomes a right arm."""
        return Sample(np.ascontiguousarray(self.image[:, ::-1]), self.body and self.body.flipped())


def augment(
    sample: Sample,
    config: TrainConfig,
    rng: np.random.Generator,
    size: tuple[int, int],
    cutouts: occlude.Cutouts | None = None,
) -> Sample:
    """Make a training picture from a clean one; `images.normalised` turns it into an input.

    AugMix blends moved copies of the picture, so body parts cannot follow it; `train` refuses the combination.

    Args:
        sample: the clean picture; not changed.
        config: which augmentations, and how often.
        rng: the only source of chance.
        size: `(h, w)` model px.
        cutouts: people and things that `pasted` puts in front.

    Returns:
        The picture `(h, w, 3)` and its body parts, both at `size`; with `live_teacher` also the picture `before`.
    """
    sample = _recaptured(_moved(sample.resized(*size), config, rng), config, rng)
    return _hidden(sample, config, rng, cutouts)


def _moved(sample: Sample, config: TrainConfig, rng: np.random.Generator) -> Sample:
    """Flip, shift, crop and cut."""
    height, width = sample.image.shape[:2]
    if rng.random() < config.flip:
        sample = sample.flipped()
    if config.pad:
        pad = max(1, round(config.pad * height / config.height))
        top, left = rng.integers(0, 2 * pad + 1, 2)
        body = sample.body and sample.body.kept(_shifted(sample.body.labels, pad, top, left, 0))
        sample = Sample(_shifted(sample.image, pad, top, left, MEAN_GREY), body)
    whole = sample.image
    if rng.random() < config.random_crop:
        window = _random_window(height, width, rng)
        body = sample.body and sample.body.kept(sample.body.labels[window])
        sample = Sample(sample.image[window], body).resized(height, width)
    if config.cut and rng.random() < config.cut:  # drawn only then, as `grey` and `degrade`: older recipes keep theirs
        window = cut_window(height, width, rng)
        body = sample.body and sample.body.kept(sample.body.labels[window])
        sample = Sample(np.ascontiguousarray(sample.image[window]), body).resized(height, width)
    return replace(sample, before=np.ascontiguousarray(whole)) if config.live_teacher else sample


def _recaptured(sample: Sample, config: TrainConfig, rng: np.random.Generator) -> Sample:
    """Change the picture as another camera would, then mix it with changed copies."""
    if rng.random() < config.recolour:
        sample = _alike(_recolour, sample, rng)
    if config.grey and rng.random() < config.grey:
        sample = replace(sample, image=_grey(sample.image, rng))
    if config.degrade and rng.random() < config.degrade:  # drawn only then: older recipes keep their pictures
        sample = _alike(_degrade, sample, rng)
    image = sample.image
    if config.augmix and (config.augmix_chance == 1 or rng.random() < config.augmix_chance):
        image = _augmix(image, config, rng)
    return replace(sample, image=np.ascontiguousarray(image))


def _alike(
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray], sample: Sample, rng: np.random.Generator
) -> Sample:
    """Change the picture and the one that a live teacher sees by the same draws."""
    before = None if sample.before is None else change(sample.before, deepcopy(rng))
    return replace(sample, image=change(sample.image, rng), before=before)


def _hidden(sample: Sample, config: TrainConfig, rng: np.random.Generator, cutouts: occlude.Cutouts | None) -> Sample:
    """Hide parts of the picture."""
    if config.hide_part and sample.body is not None and rng.random() < config.hide_part:  # drawn only then
        sample = _without_a_part(sample, rng)
    if rng.random() < config.occlusion:
        sample = _occluded(sample, random_occlusion(rng, config.pasted), cutouts)
    if rng.random() < config.random_erasing:
        erased = _random_erasing(config, rng, sample.image.shape[:2])
        sample = _occluded(sample, erased) if erased else sample
    return replace(sample, image=np.ascontiguousarray(sample.image))


def _occluded(sample: Sample, occlusion: Occlusion, cutouts: occlude.Cutouts | None = None) -> Sample:
    out = occlude.apply(sample.image, [occlusion], cutouts)
    if sample.body is None:
        return replace(sample, image=out)
    hidden = occlude.hidden_by(occlusion, sample.image, out)
    return replace(sample, image=out, body=sample.body.without(hidden))


def _without_a_part(sample: Sample, rng: np.random.Generator) -> Sample:
    """Hide one body part, of those that are large enough, and a rim around it: all else stays as it is."""
    labels = sample.body.labels
    large = np.flatnonzero(areas(labels) >= LEAST_PART * labels.size)
    if not len(large):
        return sample
    hidden = occlude.with_rim(labels == 1 + rng.choice(large), rng.uniform(0.01, 0.05))
    image = occlude.fill(sample.image, hidden, str(rng.choice(FILLS)), _seed(rng))
    return replace(sample, image=image, body=sample.body.without(hidden))


def _random_erasing(config: TrainConfig, rng: np.random.Generator, size: tuple[int, int]) -> Occlusion | None:
    """Draw the rectangle of random erasing, or nothing where none of ten fits (as in torchvision, hence FastReID)."""
    height, width = size
    slimmest = np.log(config.erasing_aspect)
    for _ in range(ERASING_TRIES):
        area = height * width * rng.uniform(*config.erasing_area)
        aspect = np.exp(rng.uniform(slimmest, -slimmest))  # height to width, in model px
        tall, wide = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < tall < height and 0 < wide < width:
            top, left = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
            box = (left / width, top / height, (left + wide) / width, (top + tall) / height)
            return Occlusion("box", config.erasing_fill, box=box, seed=_seed(rng))
    return None


def random_occlusion(rng: np.random.Generator, pasted: float = 0.0) -> Occlusion:
    """Draw an occlusion: a cut-out with the chance `pasted`, else a random block, a named region or an object."""
    if pasted and rng.random() < pasted:
        kind = str(rng.choice(occlude.PASTED))
        return Occlusion(kind, coverage=rng.uniform(0.25, 0.6), seed=_seed(rng))
    fill = str(rng.choice(FILLS))
    kind = rng.random()
    if kind < 0.4:
        return Occlusion("random_block", fill, coverage=rng.uniform(0.15, 0.55), seed=_seed(rng))
    if kind < 0.9:
        return Occlusion(str(rng.choice(BLOCKS)), fill, seed=_seed(rng))
    return Occlusion("object", coverage=rng.uniform(0.2, 0.45), seed=_seed(rng))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _shifted(picture: np.ndarray, pad: int, top: int, left: int, border: int | tuple[int, ...]) -> np.ndarray:
    """Pad a picture or a map of labels by `pad` on every side, then cut its own size out again at (top, left)."""
    height, width = picture.shape[:2]
    padded = cv2.copyMakeBorder(picture, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=border)
    return padded[top : top + height, left : left + width]


def _random_window(height: int, width: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw 40 to 100 percent of the height and 60 to 100 of the width, as a partial detection would."""
    h, w = round(height * rng.uniform(0.4, 1)), round(width * rng.uniform(0.6, 1))
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    return slice(top, top + h), slice(left, left + w)


def cut_window(height: int, width: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw what is left of a person where the frame or a careless detector cuts.

    The upper or the lower 35 to 85 percent, four times in five; else a side's 50 to 85 percent. Half of the upper and
    lower pieces keep a person's proportions, as a detector's box would, and so lose their sides as well.
    """
    kind, share = rng.random(), rng.uniform(0.35, 0.85)
    keeps_shape, shift = rng.random() < 0.5, rng.random()
    if kind < 0.8:
        tall = max(1, round(share * height))
        top = 0 if kind < 0.4 else height - tall
        wide = max(1, round(width * max(share, 0.6))) if keeps_shape else width
        left = round((0.25 + 0.5 * shift) * (width - wide))
        return slice(top, top + tall), slice(left, left + wide)
    wide = max(1, round((0.5 + 0.7 * (share - 0.35)) * width))
    left = 0 if kind < 0.9 else width - wide
    return slice(0, height), slice(left, left + wide)


def _grey(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Take the colour away: as a grey camera does; half of the time with other shares of the channels, as infrared."""
    shares = np.array([0.299, 0.587, 0.114]) if rng.random() < 0.5 else rng.dirichlet([3.0, 2.0, 1.5])
    gamma = rng.uniform(0.7, 1.3)
    values = 255 * (image.astype(np.float32) @ shares.astype(np.float32) / 255) ** np.float32(gamma)
    return np.repeat(np.clip(np.round(values), 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


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
    out = through_jpeg(out, quality=int(rng.integers(30, 96)))
    return cv2.resize(out, (width, height), interpolation=cv2.INTER_LINEAR)


def _augmix(image: np.ndarray, config: TrainConfig, rng: np.random.Generator) -> np.ndarray:
    """Blend the picture with chains of mild random operations (AugMix, Sec. 4.2), by Dirichlet and Beta weights."""
    weights = rng.dirichlet([config.augmix_concentration] * config.augmix_width)
    mixed = np.zeros(image.shape, np.float32)
    for weight in weights:
        piece = Image.fromarray(np.ascontiguousarray(image))
        for _ in range(config.augmix_depth or int(rng.integers(1, 4))):
            operation = OPERATIONS[int(rng.integers(len(OPERATIONS)))]
            strength = rng.uniform(0.1, max(0.1, config.augmix_severity)) / 10
            piece = operation(piece, strength * rng.choice([-1, 1]))
        mixed += weight * np.asarray(piece, np.float32)
    keep = rng.beta(config.augmix_concentration, config.augmix_concentration)
    return np.clip(np.round(keep * image + (1 - keep) * mixed), 0, 255).astype(np.uint8)


def _affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    """Fetch pixel (x, y) from (a x + b y + c, d x + e y + f) of matrix (a, ..., f); outside is mean grey."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=MEAN_GREY)


# AugMix's nine operations at AugMix's scales: picture and strength in -1..1; only the last five mind the sign.
OPERATIONS: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda image, strength: ImageOps.autocontrast(image),
    lambda image, strength: ImageOps.equalize(image),
    lambda image, strength: ImageOps.posterize(image, max(1, 4 - int(4 * abs(strength)))),
    lambda image, strength: ImageOps.solarize(image, 256 - int(256 * abs(strength))),
    lambda image, strength: image.rotate(int(30 * strength), Image.Resampling.BILINEAR, fillcolor=MEAN_GREY),
    lambda image, strength: _affine(image, (1, 0.3 * strength, 0, 0, 1, 0)),
    lambda image, strength: _affine(image, (1, 0, 0, 0.3 * strength, 1, 0)),
    lambda image, strength: _affine(image, (1, 0, int(strength * image.width / 3), 0, 1, 0)),
    lambda image, strength: _affine(image, (1, 0, 0, 0, 1, int(strength * image.height / 3))),
)
