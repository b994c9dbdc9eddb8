"""What one API call does, without Gradio: raw values in, checked one by one, a JSON answer out.

Every wrong value is a `ReidError` whose sentence begins with the name of the field.
"""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_demo import images, occlude
from reid_demo.engine import Engine
from reid_demo.errors import ConfigError, ImageError, OcclusionError, ReidError
from reid_demo.records import WEIGHINGS, Occlusion, Scoring, weighing_named
from reid_demo.serving import answers
from reid_demo.whatif.sweep import Window

NOT_UPLOADED = "upload the file first and name the path that the upload gave."
MOST_MATCHES = 1000
SMALLEST_WINDOW = 0.1  # of the width; smaller ones would hold the queue for minutes
SMALLEST_STRIDE = 0.05
MOST_STEPS = 20  # of a recipe


def search(engine: Engine, uploads: Path, image, top_k, weighing, parts) -> answers.Ranking:
    """Rank the gallery for a probe."""
    top_k = whole("top_k", top_k, 1, MOST_MATCHES)
    return answers.search(engine, picture(image, uploads), top_k, scoring(engine, weighing, parts))


def explain(engine: Engine, uploads: Path, image, rank, weighing, parts) -> answers.Why:
    """Say why the match at a rank scores what it scores."""
    rank = whole("rank", rank, 1, len(engine.gallery))
    return answers.explain(engine, picture(image, uploads), rank, scoring(engine, weighing, parts))[0]


def what_if(engine: Engine, uploads: Path, image, recipe, top_k, weighing, parts) -> answers.Change:
    """Search before and after a change of the probe."""
    top_k = whole("top_k", top_k, 1, MOST_MATCHES)
    changes, how = read_recipe(recipe), scoring(engine, weighing, parts)
    return answers.what_if(engine, picture(image, uploads), changes, top_k, how)


def sweep(engine: Engine, uploads: Path, image, rank, size, stride, fill, weighing, parts) -> answers.SweepMap:
    """Slide a window over the probe."""
    rank = whole("rank", rank, 1, len(engine.gallery))
    size, stride = fraction("size", size, SMALLEST_WINDOW), fraction("stride", stride, SMALLEST_STRIDE)
    if fill not in occlude.FILLS:
        raise OcclusionError(f"fill must be one of {', '.join(occlude.FILLS)}, not {fill!r}.")
    how = scoring(engine, weighing, parts)
    image = picture(image, uploads)
    return answers.sweep(engine, image, rank, window=Window(size, stride, fill), scoring=how)


def picture(value, uploads: Path) -> np.ndarray:
    """Give the picture of a call, `(H, W, 3)` uint8.

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


def whole(field: str, value, low: int, high: int) -> int:
    """Check a whole number; `4.0` is one, `True` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value != value // 1:
        raise ConfigError(f"{field} must be a whole number from {low} to {high}, not {value!r}.")
    if not low <= value <= high:
        raise ConfigError(f"{field} must be a whole number from {low} to {high}, not {value:g}.")
    return int(value)


def fraction(field: str, value, low: float) -> float:
    """Check a fraction of the probe's width."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= 1:
        raise ConfigError(f"{field} must be a number from {low:g} to 1, not {value!r}.")
    return float(value)


def scoring(engine: Engine, weighing, parts) -> Scoring:
    """Turn the two fields about scoring into the engine's; "default" is the weights' own way."""
    if parts is not None and (isinstance(parts, str) or not isinstance(parts, Sequence)):
        raise ConfigError(f'parts must be a list of names or numbers, such as ["global", "2"], not {parts!r}.')
    try:
        named = engine.default_scoring.weighing if weighing == "default" else weighing_named(weighing)
    except ConfigError as error:
        raise ConfigError(f"weighing must be one of default, {', '.join(WEIGHINGS)}, not {weighing!r}.") from error
    return Scoring(named, answers.switches(engine, [str(part) for part in parts or ()]))


def read_recipe(recipe) -> list[Occlusion]:
    """Check the changes of a call: what the page and `what-if` write, as JSON values."""
    if not isinstance(recipe, list) or not recipe or not all(isinstance(step, dict) for step in recipe):
        raise OcclusionError('recipe must be a list of changes, such as [{"kind": "lower_half"}].')
    if len(recipe) > MOST_STEPS:
        raise OcclusionError(f"recipe holds {len(recipe)} changes; use at most {MOST_STEPS}.")
    try:
        return [occlude.from_dict(step) for step in recipe]
    except ReidError as error:
        raise OcclusionError(f"recipe: {error}") from error
    except (TypeError, ValueError) as error:
        raise OcclusionError("recipe: a value is of the wrong type.") from error
