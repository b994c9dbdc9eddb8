"""The fields of API calls as models: raw values in, checked one by one, ready to be answered. Knows no Gradio.

Every wrong value is a `ReidError` whose sentence begins with the name of the field.
"""

import base64
import binascii
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from reid_demo import images, occlude
from reid_demo.engine import Engine
from reid_demo.errors import ConfigError, ImageError, OcclusionError, ReidError, shown
from reid_demo.records import WEIGHINGS, Occlusion, Scoring, weighing_named
from reid_demo.serving import answers, gradio_patches
from reid_demo.whatif.sweep import Window

Weighing = Literal["default", "cosine", "adaptive", "part_aware"]
Fill = Literal["mean_grey", "blur", "noise", "black", "inpaint"]
NOT_UPLOADED = gradio_patches.NOT_UPLOADED.removeprefix("image: ")
MOST_MATCHES = 1000
SMALLEST_WINDOW = 0.1  # of the width; smaller ones would hold the queue for minutes
SMALLEST_STRIDE = 0.05
MOST_WINDOWS = 1000  # of a sweep; a picture twice as high as wide has 741 at the smallest step
MOST_STEPS = 20  # of a recipe


def whole(field: str, value, low: int, high: int) -> int:
    """Check a whole number; `4.0` is one, `True` is none."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(_small(value))
    if not fits or value != value // 1 or not low <= value <= high:
        raise ConfigError(f"{field} must be a whole number from {low} to {high}, not {shown(value)}.")
    return int(value)


def fraction(field: str, value, low: float) -> float:
    """Check a fraction of the probe's width."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= 1:
        raise ConfigError(f"{field} must be a number from {low:g} to 1, not {shown(value)}.")
    return float(value)


def _small(value: int | float) -> float:
    """Return a number as a float, infinite where it has too many digits for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def picture(value, uploads: Path) -> np.ndarray:
    """Return the picture of a call, `(H, W, 3)` uint8.

    Args:
        value: a file that was uploaded before, `{"path": ...}`, or a data URL, alone or as `{"url": ...}`.
        uploads: the one folder whose files a call may name.

    Raises:
        ImageError: nothing, another address, another file, or no picture.
    """
    given = value if isinstance(value, dict) else {"url": value}
    path, url = given.get("path"), given.get("url")
    try:
        if isinstance(path, str) and path:
            inside = Path(path).resolve()
            if not inside.is_relative_to(uploads.resolve()):
                raise ImageError(NOT_UPLOADED)
            return images.read_probe(inside)
        if isinstance(url, str) and url.startswith("data:") and ";base64," in url:
            if len(url) > images.MAX_BYTES * 4 // 3 + 200:
                raise ImageError(f"the picture is larger than {images.MAX_BYTES >> 20} MB.")
            return images.read_probe(base64.b64decode(url.partition(";base64,")[2], validate=True))
    except ImageError as error:
        raise ImageError(f"image: {error}") from error
    except (ValueError, binascii.Error) as error:
        raise ImageError("image: the data URL is not base64.") from error
    raise ImageError("image: upload a file, or send a data URL (data:image/jpeg;base64,...); no address is fetched.")


def read_recipe(recipe) -> tuple[Occlusion, ...]:
    """Check the changes of a call: what the page saves, as JSON values."""
    if not isinstance(recipe, list) or not recipe or not all(isinstance(step, dict) for step in recipe):
        raise OcclusionError('recipe must be a list of changes, such as [{"kind": "lower_half"}].')
    if len(recipe) > MOST_STEPS:
        raise OcclusionError(f"recipe holds {len(recipe)} changes; use at most {MOST_STEPS}.")
    try:
        return tuple(occlude.from_rows(recipe))
    except ReidError as error:
        raise OcclusionError(f"recipe: {error}") from error


def _weighing(value) -> str:
    try:
        return value if value == "default" else weighing_named(value)
    except ConfigError as error:
        raise ConfigError(f"weighing must be one of default, {', '.join(WEIGHINGS)}, not {shown(value)}.") from error


def _parts(value) -> tuple[str, ...]:
    if value is not None and (isinstance(value, str) or not isinstance(value, Sequence)):
        raise ConfigError(f'parts must be a list of names or numbers, such as ["global", "2"], not {shown(value)}.')
    return tuple(part if isinstance(part, str) else shown(part) for part in value or ())


def _fill(value) -> str:
    if value not in occlude.FILLS:
        raise OcclusionError(f"fill must be one of {', '.join(occlude.FILLS)}, not {shown(value)}.")
    return value


def _rank(value, info: ValidationInfo) -> int:
    return whole("rank", value, 1, info.context["gallery"])


Picture = Annotated[Any, BeforeValidator(lambda value, info: picture(value, info.context["uploads"]))]
TopK = Annotated[int, BeforeValidator(lambda value: whole("top_k", value, 1, MOST_MATCHES))]
Rank = Annotated[int, BeforeValidator(_rank)]


class Call(BaseModel):
    """The fields that all calls about a picture share; the picture is read last, when all else is right."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    weighing: Annotated[str, BeforeValidator(_weighing)] = "default"
    parts: Annotated[tuple[str, ...], BeforeValidator(_parts)] = ()

    def scoring(self, engine: Engine) -> Scoring:
        """Return how to rank; "default" is the gallery's own way.

        Raises:
            ConfigError: `parts` names one that does not exist.
        """
        named = engine.default_scoring.weighing if self.weighing == "default" else self.weighing
        return Scoring(named, answers.switches(engine, self.parts))


class Search(Call):
    """Fields of `/search`."""

    top_k: TopK = 10
    image: Picture


class Explain(Call):
    """Fields of `/explain`."""

    rank: Rank = 1
    image: Picture


class WhatIf(Call):
    """Fields of `/what_if`."""

    recipe: Annotated[tuple[Occlusion, ...], BeforeValidator(read_recipe)]
    top_k: TopK = 10
    image: Picture


class Sweep(Call):
    """Fields of `/sweep`."""

    rank: Rank = 1
    size: Annotated[float, BeforeValidator(lambda value: fraction("size", value, SMALLEST_WINDOW))] = 0.4
    stride: Annotated[float, BeforeValidator(lambda value: fraction("stride", value, SMALLEST_STRIDE))] = 0.14
    fill: Annotated[str, BeforeValidator(_fill)] = "mean_grey"
    image: Picture

    @property
    def window(self) -> Window:
        """What slides over the picture."""
        return Window(self.size, self.stride, self.fill)


def read(model: type[Call], values: dict, uploads: Path, gallery: int) -> Call:
    """Check the values of a call; `gallery` is the number of images that a rank may name.

    Raises:
        ReidError: a value is wrong; the sentence begins with its field.
    """
    return model.model_validate(values, context={"uploads": uploads, "gallery": gallery})


def check_windows(asked: Sweep) -> None:
    """Refuse a sweep of more windows than a server should try for one caller, before anything is described.

    Raises:
        ConfigError: too many; the sentence names the field to change.
    """
    height, width = asked.image.shape[:2]
    # Long and thin pictures have thousands of positions: count along each side before a list of them is made.
    across = math.ceil((1 - asked.size) / asked.stride) + 1
    down = math.ceil(max(0.0, height / width - asked.size) / asked.stride) + 1
    if across * down > MOST_WINDOWS:
        raise ConfigError(
            f"stride: this picture of {width} x {height} pixels would take about {across * down} windows; use at most "
            f"{MOST_WINDOWS}, by a larger stride or a crop."
        )
