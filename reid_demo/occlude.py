"""What-if occlusions: masks, fills and crops, shared by the page, the sweep, evaluation and training.

An `Occlusion` states its box in fractions of the image, so it can be stored and replayed on another probe.
"""

import base64
import binascii
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reid_demo.config import MEAN_GREY
from reid_demo.errors import ImageError, OcclusionError, shown
from reid_demo.images import load_picture
from reid_demo.records import Occlusion

BOXES: dict[str, tuple[float, float, float, float]] = {
    "lower_half": (0, 0.5, 1, 1),
    "upper_half": (0, 0, 1, 0.5),
    "left_half": (0, 0, 0.5, 1),
    "right_half": (0.5, 0, 1, 1),
    "upper_third": (0, 0, 1, 1 / 3),
    "middle_third": (0, 1 / 3, 1, 2 / 3),
    "lower_third": (0, 2 / 3, 1, 1),
    "centre": (0.25, 0.25, 0.75, 0.75),
}
HALVES = ("lower_half", "upper_half", "left_half", "right_half")
PASTED = ("person", "object")  # kinds whose mask is known only afterwards: the pixels they changed
KINDS = (*BOXES, "random_block", "box", "brush", "person", "object", "crop")
NAMED = (*BOXES, "random_block", *PASTED)  # kinds that need no box or mask
CROPS: dict[str, tuple[float, float, float, float]] = {  # the share of the height that is kept, in percent
    **{f"upper_{share}": (0, 0, 1, share / 100) for share in (40, 60, 80)},
    **{f"lower_{share}": (0, 1 - share / 100, 1, 1) for share in (40, 60, 80)},
}
GREY = "grey"  # removes colour and hides nothing; the page does not offer it, but a recipe may name it
UNFILLED = ("crop", GREY, *PASTED)  # kinds that take no fill and have no mask beforehand
MEASURED = (*NAMED, *CROPS, GREY)  # changes that a measurement can apply to every query
FILLS = ("mean_grey", "blur", "noise", "black", "inpaint")
MIN_CROP = 16  # image px
MAX_RECIPE = 50  # occlusions
MOST_PAINTED = 16_000_000  # pixels in a painted mask

Fraction = Annotated[float, Field(strict=True)]

Cutouts = Mapping[str, Sequence[np.ndarray]]  # "person": list of (h, w, 4) uint8 RGBA
THINGS = ("pole", "suitcase", "car")  # the cut-outs that "object" chooses from


def named(name: str, fill: str = Occlusion.fill) -> Occlusion:
    """Return the occlusion for a name in `MEASURED`; crops and grey ignore `fill`."""
    if name in CROPS:
        return Occlusion("crop", box=CROPS[name])
    return Occlusion(name) if name == GREY else Occlusion(name, fill)


def words(occlusion: Occlusion) -> str:
    """Describe an occlusion of all queries for the protocol line of a report."""
    if occlusion.kind == "crop":
        left = next((name for name, box in CROPS.items() if box == occlusion.box), f"the box {occlusion.box}")
        return f"every query cut to {left}"
    if occlusion.kind == GREY:
        return "every query in grey"
    return f"{occlusion.kind} of every query filled with {occlusion.fill}"


def check(occlusion: Occlusion) -> None:
    """Check an occlusion's kind, fill, coverage, box and mask.

    Raises:
        OcclusionError: unknown kind or fill, coverage out of range, box empty or outside the image, or no mask.
    """
    if occlusion.kind not in (*KINDS, GREY):
        raise OcclusionError(f"Unknown occlusion {shown(occlusion.kind)}; choose one of {', '.join(KINDS)}.")
    if occlusion.fill not in FILLS:
        raise OcclusionError(f"Unknown fill {shown(occlusion.fill)}; choose one of {', '.join(FILLS)}.")
    if not 0 < occlusion.coverage <= 1:
        raise OcclusionError(f"Coverage must be above 0 and at most 1, not {occlusion.coverage}.")
    if occlusion.kind in ("box", "crop"):
        if occlusion.box is None or len(occlusion.box) != 4:
            raise OcclusionError(f"The occlusion {occlusion.kind!r} needs a box (x0, y0, x1, y1) in fractions.")
        x0, y0, x1, y1 = occlusion.box
        if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
            raise OcclusionError(f"The box {occlusion.box} is empty or leaves the image; use 0 <= x0 < x1 <= 1.")
    if occlusion.kind == "brush" and not occlusion.mask_png:
        raise OcclusionError("A brush occlusion needs its painted mask.")


def mask(occlusion: Occlusion, height: int, width: int) -> np.ndarray:
    """Return the `(height, width)` bool mask of what an occlusion hides.

    All false for crops, grey and `PASTED` kinds; see `hidden_by` for the last.

    Raises:
        OcclusionError: as `check`, or the painted mask is damaged or too large.
    """
    check(occlusion)
    hidden = np.zeros((height, width), bool)
    if occlusion.kind == "brush":
        return _decode_mask(occlusion.mask_png, height, width)
    if occlusion.kind in UNFILLED:
        return hidden
    if occlusion.kind == "random_block":
        box = _random_box(occlusion)
    else:
        box = BOXES.get(occlusion.kind) or occlusion.box
    x0, y0, x1, y1 = _to_pixels(box, height, width)
    hidden[y0:y1, x0:x1] = True
    return hidden


def hidden_by(occlusion: Occlusion, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the `(H, W)` bool mask of what an occlusion hid, given the `(H, W, 3)` uint8 image before and after."""
    if occlusion.kind in PASTED:
        return (after != before).any(axis=2)
    return mask(occlusion, *before.shape[:2])


def _random_box(occlusion: Occlusion) -> tuple[float, float, float, float]:
    rng = np.random.default_rng(occlusion.seed)
    aspect = np.exp(rng.uniform(np.log(0.5), np.log(2)))  # width to height, both as fractions
    w = min(1.0, np.sqrt(occlusion.coverage * aspect))
    h = min(1.0, occlusion.coverage / w)
    w = min(1.0, occlusion.coverage / h)
    x0, y0 = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
    return x0, y0, min(1.0, x0 + w), min(1.0, y0 + h)


def _to_pixels(box: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
    return left, top, max(left + 1, round(x1 * width)), max(top + 1, round(y1 * height))


def brush(painted: np.ndarray, fill: str = "mean_grey") -> Occlusion:
    """Return the occlusion of a painted `(h, w)` bool mask.

    Raises:
        OcclusionError: nothing is painted.
    """
    if painted.ndim != 2 or not painted.any():
        raise OcclusionError("Nothing is painted. Paint over a part of the probe first.")
    buffer = io.BytesIO()
    Image.fromarray(painted.astype(np.uint8) * 255).convert("1").save(buffer, "PNG")
    return Occlusion("brush", fill, mask_png=base64.b64encode(buffer.getvalue()).decode())


def _decode_mask(mask_png: str, height: int, width: int) -> np.ndarray:
    try:
        image = load_picture(base64.b64decode(mask_png, validate=True))
        if image.width * image.height > MOST_PAINTED:
            raise OcclusionError(f"mask_png: the mask has more than {MOST_PAINTED // 10**6} megapixels.")
        image = image.convert("L")
    except (binascii.Error, TypeError, ValueError) as error:
        raise OcclusionError("The painted mask of this occlusion is damaged.") from error
    except ImageError as error:
        raise OcclusionError(f"The painted mask of this occlusion is damaged or too large. {error}") from error
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BOX)
    return np.asarray(image) >= 128


def with_rim(mask: np.ndarray, share: float) -> np.ndarray:
    """Grow a `(H, W)` bool mask on every side by a share of the picture's width, at least a pixel."""
    rim = max(1, round(share * mask.shape[1]))
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)).astype(bool)


def fill(image: np.ndarray, hidden: np.ndarray, name: str, seed: int = 0) -> np.ndarray:
    """Replace hidden pixels.

    Args:
        image: `(H, W, 3)` uint8, not changed.
        hidden: `(H, W)` bool.
        name: one of `FILLS`; `inpaint` continues the surroundings (OpenCV, Telea).
        seed: of the noise fill.

    Returns:
        `(H, W, 3)` uint8; equal to `image` outside the mask.

    Raises:
        OcclusionError: an unknown fill.
    """
    if name not in FILLS:
        raise OcclusionError(f"Unknown fill {shown(name)}; choose one of {', '.join(FILLS)}.")
    out = image.copy()
    if not hidden.any():
        return out
    if name == "mean_grey":
        out[hidden] = MEAN_GREY
    elif name == "black":
        out[hidden] = 0
    elif name == "noise":
        out[hidden] = np.random.default_rng(seed).integers(0, 256, (int(hidden.sum()), 3), dtype=np.uint8)
    elif name == "blur":
        out[hidden] = _blurred(image)[hidden]
    else:
        out[hidden] = cv2.inpaint(image, hidden.astype(np.uint8), 3, cv2.INPAINT_TELEA)[hidden]
    return out


def _blurred(image: np.ndarray) -> np.ndarray:
    """Blur an image enough to hide texture at any size: a Gaussian with sigma a sixteenth of the longer side.

    The image is first shrunk until sigma is 4 px. The result looks the same, and a large image takes milliseconds
    instead of seconds.
    """
    height, width = image.shape[:2]
    sigma = max(height, width) / 16
    factor = max(1.0, min(sigma / 4, height, width))
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    blurred = cv2.GaussianBlur(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (0, 0), sigma / factor)
    return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)


def apply(image: np.ndarray, occlusions: Sequence[Occlusion], cutouts: Cutouts | None = None) -> np.ndarray:
    """Apply occlusions in order.

    Args:
        image: `(H, W, 3)` uint8, not changed.
        occlusions: may be empty.
        cutouts: what "person" and "object" paste; without them "object" draws a post.

    Returns:
        A fresh `(H', W', 3)` uint8 image; smaller only after a crop.

    Raises:
        OcclusionError: an occlusion is invalid, a crop is too small, or "person" has no cut-outs.
    """
    for occlusion in occlusions:
        check(occlusion)
        if occlusion.kind == "crop":
            image = _crop(image, occlusion)
        elif occlusion.kind == GREY:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        elif occlusion.kind == "object":
            image = _paste_object(image, occlusion, cutouts)
        elif occlusion.kind == "person":
            image = _paste_person(image, occlusion, cutouts)
        else:
            image = fill(image, mask(occlusion, *image.shape[:2]), occlusion.fill, occlusion.seed)
    return image.copy()


def _crop(image: np.ndarray, occlusion: Occlusion) -> np.ndarray:
    x0, y0, x1, y1 = _to_pixels(occlusion.box, *image.shape[:2])
    if min(x1 - x0, y1 - y0) < MIN_CROP:
        raise OcclusionError(f"The crop is {x1 - x0} x {y1 - y0} pixels; each side needs at least {MIN_CROP}.")
    return image[y0:y1, x0:x1]


def _paste_object(image: np.ndarray, occlusion: Occlusion, cutouts: Cutouts | None) -> np.ndarray:
    """Paste a car, a suitcase or a pole in front; without cut-outs, draw a post.

    `coverage` is the fraction of the image that the object's box hides; the seed picks the object and its place.
    """
    things = [(kind, cutout) for kind in THINGS for cutout in (cutouts or {}).get(kind, ())]
    if not things:
        return _draw_post(image, occlusion)
    rng = np.random.default_rng(occlusion.seed)
    kind, cutout = things[int(rng.integers(len(things)))]
    height, width = image.shape[:2]
    if kind == "pole":  # spans the full height
        wide, tall = max(2, round(occlusion.coverage * width)), height
        tall = max(tall, round(wide * cutout.shape[0] / cutout.shape[1]))
    else:
        aspect = cutout.shape[1] / cutout.shape[0]
        tall = height * np.sqrt(occlusion.coverage * width / height / aspect)
        if tall * aspect > width:  # wider than the frame, which cuts it: only the height sets the coverage
            tall = occlusion.coverage * height
        wide, tall = max(2, round(tall * aspect)), max(2, round(tall))
    top = 0 if kind == "pole" else height - tall
    left = round(rng.uniform(min(0, width - wide), max(0, width - wide)))
    return _paste(image, cv2.resize(cutout, (wide, tall), interpolation=cv2.INTER_AREA), top, left)


def _draw_post(image: np.ndarray, occlusion: Occlusion) -> np.ndarray:
    """Draw a shaded post from top to bottom; `coverage` is its width as a fraction, the seed sets place and colour."""
    rng = np.random.default_rng(occlusion.seed)
    height, width = image.shape[:2]
    wide = max(1, round(occlusion.coverage * width))
    left = round(rng.uniform(0.15, 0.85) * (width - wide))
    across = np.linspace(-1, 1, wide)
    shade = 0.45 + 0.55 * np.sqrt(np.clip(1 - (across + 0.35) ** 2 / 1.9, 0, 1))  # lit from the left
    colour = rng.uniform(70, 190) + rng.normal(0, 8, 3)
    out = image.copy()
    out[:, left : left + wide] = np.clip(shade[None, :, None] * colour, 0, 255).astype(np.uint8)
    return out


def _paste_person(image: np.ndarray, occlusion: Occlusion, cutouts: Cutouts | None) -> np.ndarray:
    people = list((cutouts or {}).get("person", ()))
    if not people:
        raise OcclusionError("No cut-out people are installed here. Choose another occlusion.")
    rng = np.random.default_rng(occlusion.seed)
    cutout = people[int(rng.integers(len(people)))]
    height, width = image.shape[:2]
    tall = max(2, round(height * rng.uniform(0.85, 1.05)))
    wide = max(2, round(tall * cutout.shape[1] / cutout.shape[0]))
    centre = rng.choice([0.12, 0.88]) * width + rng.normal(0, 0.04) * width
    left, top = round(centre - wide / 2), round(height * rng.uniform(0.05, 0.2))
    return _paste(image, cv2.resize(cutout, (wide, tall), interpolation=cv2.INTER_AREA), top, left)


def _paste(image: np.ndarray, rgba: np.ndarray, top: int, left: int) -> np.ndarray:
    """Blend a cut-out over an image, clipped to the frame."""
    height, width = image.shape[:2]
    y0, y1, x0, x1 = max(top, 0), min(top + len(rgba), height), max(left, 0), min(left + rgba.shape[1], width)
    out = image.copy()
    if y1 > y0 and x1 > x0:
        piece = rgba[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
        alpha = piece[:, :, 3:] / 255
        out[y0:y1, x0:x1] = np.round(piece[:, :, :3] * alpha + out[y0:y1, x0:x1] * (1 - alpha)).astype(np.uint8)
    return out


def read_cutouts(folder: Path) -> dict[str, list[np.ndarray]]:
    """Read a folder's cut-outs, `KIND_NN.png`, as lists of `(h, w, 4)` uint8 RGBA by kind; empty if it has none.

    Raises:
        OcclusionError: a file is not a PNG with alpha.
    """
    cutouts: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.glob("*_*.png")):
        data = np.frombuffer(path.read_bytes(), np.uint8)  # OpenCV opens no name outside of ASCII on Windows
        bgra = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        if bgra is None or bgra.ndim != 3 or bgra.shape[2] != 4:
            raise OcclusionError(f"The occluder {path.name!r} is not a PNG with alpha.")
        cutouts.setdefault(path.name.split("_")[0], []).append(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA))
    return cutouts


def to_dict(occlusion: Occlusion) -> dict:
    """Return an occlusion as JSON values."""
    return asdict(occlusion) | {"box": None if occlusion.box is None else list(occlusion.box)}


class _Change(BaseModel):
    """One occlusion as JSON; the fields are those of `records.Occlusion`."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    kind: str
    fill: str = "mean_grey"
    box: Annotated[tuple[Fraction, Fraction, Fraction, Fraction] | None, Field(strict=False)] = None
    coverage: Fraction = 0.25
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    mask_png: str | None = None


def from_dict(values: Mapping) -> Occlusion:
    """Read an occlusion from JSON values.

    Raises:
        OcclusionError: a key is unknown or missing, or a value has the wrong type; the message names the field.
    """
    try:
        occlusion = Occlusion(**_Change.model_validate(values).model_dump())
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(step) for step in first["loc"])[:60]
        known = f" An occlusion has keys {', '.join(_Change.model_fields)}." if len(first["loc"]) == 1 else ""
        raise OcclusionError(f"{field}: {first['msg']}.{known}") from error
    check(occlusion)
    return occlusion


def from_rows(rows: Sequence[Mapping]) -> list[Occlusion]:
    """Read a list of occlusions from JSON values.

    Raises:
        OcclusionError: too many, or one is invalid; the message says which, counted from 1.
    """
    if len(rows) > MAX_RECIPE:
        raise OcclusionError(f"A recipe holds at most {MAX_RECIPE} occlusions, not {len(rows)}.")
    occlusions = []
    for number, row in enumerate(rows, start=1):
        try:
            occlusions.append(from_dict(row))
        except OcclusionError as error:
            raise OcclusionError(f"change {number}: {error}" if len(rows) > 1 else str(error)) from error
    return occlusions


def write_recipe(occlusions: Sequence[Occlusion]) -> str:
    """Return a list of occlusions as JSON text, without values that equal their defaults."""
    rows = []
    for occlusion in occlusions:
        plain = to_dict(Occlusion(occlusion.kind))
        rows.append({k: v for k, v in to_dict(occlusion).items() if k == "kind" or v != plain[k]})
    return json.dumps(rows, indent=1)


def read_recipe(source: str) -> list[Occlusion]:
    """Read JSON text written by `write_recipe`.

    Raises:
        OcclusionError: not JSON, not a list, too long, or an entry that is not an occlusion.
    """
    try:
        rows = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise OcclusionError("The recipe is not JSON. Use one that the page saved.") from error
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise OcclusionError('A recipe is a JSON list of occlusions, such as [{"kind": "lower_half"}].')
    return from_rows(rows)
