"""Cut-outs with transparency for what-if occlusions: people, poles, bags and cars."""

from pathlib import Path

import cv2
import numpy as np

from reid_demo.synthetic.capture import BYSTANDERS, Studio
from reid_demo.synthetic.people import GROUP, Person, identity
from reid_demo.synthetic.renderer import Actor, Grade, Scenery, View
from reid_demo.synthetic.scenes import THINGS, light

KINDS = {"person": 12, "pole": 4, "suitcase": 4, "car": 4}
NOTHING = np.zeros((3, 12), np.float32)


def write_cutouts(studio: Studio, folder: Path) -> None:
    """Write `folder/KIND_NN.png`, RGBA, each trimmed to its content."""
    folder.mkdir(exist_ok=True)
    for kind, count in KINDS.items():
        for number in range(count):
            rng = np.random.default_rng([studio.seed, 6, list(KINDS).index(kind), number])
            cutout = _person(studio, number, rng) if kind == "person" else _thing(studio, kind, rng)
            cv2.imwrite(str(folder / f"{kind}_{number:02d}.png"), cv2.cvtColor(cutout, cv2.COLOR_RGBA2BGRA))


def _person(studio: Studio, number: int, rng: np.random.Generator) -> np.ndarray:
    person = Person(studio.body, identity(studio.seed + BYSTANDERS, number * GROUP + number % 2))
    posed = person.pose(rng)
    return _cut(studio, [Actor(person, posed, float(rng.uniform(-3, 3)), 0, 0)], None, 2.1)


def _thing(studio: Studio, kind: str, rng: np.random.Generator) -> np.ndarray:
    soup = THINGS[kind].build(rng)
    size = {"pole": 2.4, "suitcase": 1.25, "car": 5.0}[kind]
    if kind == "car":
        soup = soup.copy()
        soup[:, [0, 2]], soup[:, [3, 5]] = soup[:, [2, 0]], soup[:, [5, 3]]
    return _cut(studio, [], soup, size)


def _cut(studio: Studio, actors: list[Actor], props: np.ndarray | None, size: float) -> np.ndarray:
    """Draw people or things without a place: RGBA, trimmed; `size` is the height of the view in metres."""
    eye, target = np.array([0, 1.7, 8.0]), np.array([0, size / 2 - 0.03, 0])
    half = size / 2 / np.linalg.norm(eye - target)
    view = View(eye, target, (-half / 2, half / 2, -half, half))
    if size > 3:  # a car is wide and the window is 1:2, so make the window taller
        view = View(eye, target, (-half, half, -2 * half, 2 * half))
    scenery = Scenery(NOTHING, light("overcast", 30), props)
    rgb, ids = studio.renderer.draw(actors, scenery, view, Grade((0.9, 0.9, 0.9)))
    alpha = (ids > 0).astype(np.uint8) * 255
    rgba = np.dstack([np.where(alpha[..., None] > 0, rgb, 0).astype(np.float32) * (alpha[..., None] / 255), alpha])
    small = cv2.resize(rgba.astype(np.float32), (ids.shape[1] // 2, ids.shape[0] // 2), interpolation=cv2.INTER_AREA)
    opaque = np.maximum(small[..., 3:], 1) / 255
    small[..., :3] = np.clip(small[..., :3] / opaque, 0, 255)
    ys, xs = np.nonzero(small[..., 3] > 8)
    return small[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].round().astype(np.uint8)
