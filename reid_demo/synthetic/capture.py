"""Take one photograph: place a person, put something in front, crop as a detector would, and simulate the sensor."""

import copy
from dataclasses import dataclass, replace

import cv2
import numpy as np

from reid_demo.data.ground_truth import GRID
from reid_demo.images import through_jpeg
from reid_demo.synthetic.body import PART, PARTS, Body
from reid_demo.synthetic.people import GROUP, Person, identity
from reid_demo.synthetic.renderer import Actor, Grade, Renderer, Scenery, View, look_at
from reid_demo.synthetic.scenes import THINGS, Camera, Place, build_place, detector_box, moved, stand

WIDTH, HEIGHT = 128, 256  # image px
CROPS = ("upper", "lower", "left", "right")
HIDDEN = (0.3, 0.8)  # least and largest fraction of the body that an occluded photograph shows
BYSTANDERS = 10_000_019  # added to the seed, so that bystanders are not people of the set


@dataclass(frozen=True)
class Order:
    """What a photograph should show."""

    camid: int
    hide: str = ""  # "", "object" or "person" in front
    crop: str = ""  # "" or one of `CROPS`
    company: bool = False  # another person near by, not in front
    careless: float = 0.08  # probability that the detector's box is far off


@dataclass(frozen=True, eq=False)
class Shot:
    """A finished photograph and its ground truth; the fields are those of `data.ground_truth.Truth`."""

    image: np.ndarray  # (256, 128, 3) uint8 RGB
    scene: str
    pose: str
    facing: float
    camera: dict[str, float]
    box: tuple[float, float, float, float]
    hidden_by: tuple[str, ...]
    visible: dict[str, float]
    masks: dict[str, np.ndarray]
    body_visible: float


@dataclass(frozen=True, eq=False)
class Setup:
    """Everything that determines a photograph, before it is taken. Change one thing with `changed` or `replace`."""

    place: Place
    actor: Actor
    facing: float  # radians from facing the camera
    stride: np.random.Generator  # in its state before the pose was drawn
    rain: bool  # whether the person holds up an umbrella
    others: tuple[Actor, ...]
    props: np.ndarray | None
    hidden_by: tuple[str, ...]
    window: tuple[float, float, float, float]  # the detector's box, in tangents
    strength: float  # exposure
    grade: Grade
    sharp: float  # factor of the camera's resolution
    sensor: np.random.Generator  # of blur and noise

    def changed(self, person: Person | None = None, place: Place | None = None, turn: float = 0.0) -> "Setup":
        """Return the setup with another person or look, another camera, or another side of the person.

        Pose, exposure and noise use the same random numbers, and the detector's box fits the person as before. Things
        and people in front do not move, so use this for photographs without any.

        Args:
            person: the new person; `None` keeps the current one.
            place: the new place and camera; `None` keeps the current one.
            turn: radians by which the person turns.
        """
        person, place = person or self.actor.person, place or self.place
        posed = person.pose(copy.deepcopy(self.stride), rain=self.rain)
        actor = replace(self.actor, person=person, posed=posed, yaw=self.actor.yaw + turn)
        old = _bounds(self.actor, _whole(self.place, self.actor), all_parts=False)
        new = _bounds(actor, _whole(place, actor), all_parts=False)
        grade, strength = self.grade, self.strength
        if place is not self.place:
            strength = self.strength / self.place.camera.exposure * place.camera.exposure
            grade = _grade(place.camera, strength, copy.deepcopy(self.sensor))
        return replace(
            self,
            place=place,
            actor=actor,
            facing=self.facing + turn,
            window=_follow(self.window, old, new),
            strength=strength,
            grade=grade,
        )


class Studio:
    """A renderer with all places and bystanders. Use one per process."""

    def __init__(self, body: Body, seed: int, bystanders: int = 24):
        """Open the renderer; bystanders are built on first use."""
        self.body, self.seed = body, seed
        self.renderer = Renderer(WIDTH, HEIGHT)
        self._places: dict[int, Place] = {}
        self._bystanders: dict[int, Person] = {}
        self._crowd = bystanders

    def place(self, camid: int) -> Place:
        """Return the place of a camera."""
        if camid not in self._places:
            self._places[camid] = build_place(camid)
        return self._places[camid]

    def bystander(self, rng: np.random.Generator) -> Person:
        """Draw one of the bystanders."""
        number = int(rng.integers(self._crowd))
        if number not in self._bystanders:
            self._bystanders[number] = Person(self.body, identity(self.seed + BYSTANDERS, number * GROUP + number % 2))
        return self._bystanders[number]

    def shoot(self, person: Person, order: Order, rng: np.random.Generator) -> Shot:
        """Photograph a person."""
        return self.take(self.arrange(person, order, rng))

    def arrange(self, person: Person, order: Order, rng: np.random.Generator) -> Setup:
        """Draw everything about a photograph without taking it; `take` uses no further numbers from `rng`."""
        place = self.place(order.camid)
        rain = bool(not place.scene.indoors and person.look.fit % 11 == 0 and rng.random() < 0.5)
        stride = copy.deepcopy(rng)
        posed = person.pose(rng, rain=rain)
        x, z = stand(place, rng)
        facing = float(rng.uniform(-np.pi, np.pi))
        actor = Actor(person, posed, float(np.arctan2(-x, -z) + facing), x, z)
        bounds = _bounds(actor, _whole(place, actor), all_parts=False)
        others: list[Actor] = []
        props, hidden_by = None, []
        if order.company:
            others.append(self._beside(actor, rng))
        if order.hide:
            alone = _alone(place, actor)
            total = _areas(self.renderer.parts_alone(actor, alone), alone)
            other, props, name = self._in_front(place, actor, alone, total, order.hide, rng)
            others += [other] if other else []
            hidden_by.append(name)
        window = _crop(rng, detector_box(rng, bounds, order.careless), order.crop)
        if order.crop:
            hidden_by.append("frame")
        strength = place.camera.exposure * float(rng.uniform(0.82, 1.2))
        return Setup(
            place=place,
            actor=actor,
            facing=facing,
            stride=stride,
            rain=rain,
            others=tuple(others),
            props=props,
            hidden_by=tuple(hidden_by),
            window=window,
            strength=strength,
            grade=_grade(place.camera, strength, rng),
            sharp=float(rng.uniform(0.8, 1.15)),
            sensor=rng,
        )

    def take(self, setup: Setup) -> Shot:
        """Take a photograph; the same setup always yields the same picture."""
        place, actor, camera = setup.place, setup.actor, setup.place.camera
        alone = _alone(place, actor)
        total = _areas(self.renderer.parts_alone(actor, alone), alone)
        bounds = _bounds(actor, _whole(place, actor), all_parts=False)
        window = setup.window
        eye, target = _aim(place, actor)
        view = View(eye, target, (window[0], window[2], -window[3], -window[1]))
        scenery = Scenery(place.mesh, place.light, setup.props, (actor.x, actor.z))
        rgb, ids = self.renderer.draw([actor, *setup.others], scenery, view, setup.grade)
        distance = float(np.hypot(actor.x, actor.z))
        sharp = camera.resolution * setup.sharp * np.clip(7 / distance, 0.75, 1.25)
        image = sense(rgb, camera, int(np.clip(sharp, 72, 256)), copy.deepcopy(setup.sensor))
        areas = _areas(ids, view)
        visible = {
            part: float(min(1, areas[PART[part]] / total[PART[part]])) for part in PARTS if total[PART[part]] > 1e-6
        }
        scale = np.array([WIDTH / (window[2] - window[0]), HEIGHT / (window[3] - window[1])] * 2)
        corners = (np.array(bounds) - np.array(window[:2] * 2)) * scale
        known = {"height_m": camera.height, "distance_m": distance, "exposure": setup.strength, "resolution_px": sharp}
        return Shot(
            image=image,
            scene=camera.scene,
            pose=actor.posed.name,
            facing=float(np.degrees(setup.facing)),
            camera=known,
            box=tuple(float(v) for v in corners),
            hidden_by=setup.hidden_by,
            visible=visible,
            masks=part_masks(ids),
            body_visible=float(min(1, areas[1:9].sum() / total[1:9].sum())),
        )

    def _beside(self, actor: Actor, rng: np.random.Generator) -> Actor:
        """Put a bystander behind or beside the person."""
        other = self.bystander(rng)
        away = np.array([actor.x, actor.z]) / np.hypot(actor.x, actor.z)
        side = np.array([away[1], -away[0]]) * rng.choice([-1, 1]) * rng.uniform(0.3, 0.7)
        at = np.array([actor.x, actor.z]) + away * rng.uniform(0.5, 2.2) + side
        yaw = actor.yaw + rng.normal(0, 0.3) if rng.random() < 0.5 else rng.uniform(-np.pi, np.pi)
        return Actor(other, other.pose(rng), float(yaw), float(at[0]), float(at[1]))

    def _in_front(
        self, place: Place, actor: Actor, view: View, total: np.ndarray, kind: str, rng: np.random.Generator
    ) -> tuple[Actor | None, np.ndarray | None, str]:
        """Put a bystander or a thing in front; try up to eight times for a visible fraction within `HIDDEN`."""
        away = np.array([actor.x, actor.z]) / np.hypot(actor.x, actor.z)
        side = np.array([away[1], -away[0]])
        best, best_gap = (None, None, ""), np.inf
        for _ in range(8):
            other, props = None, None
            if kind == "person":
                somebody = self.bystander(rng)
                offset = rng.choice([-1, 1]) * rng.uniform(0.12, 0.42)
                at = np.array([actor.x, actor.z]) - away * rng.uniform(0.5, 1.0) + side * offset
                other = Actor(
                    somebody, somebody.pose(rng), float(rng.uniform(-np.pi, np.pi)), float(at[0]), float(at[1])
                )
                name = "person"
            else:
                name = str(rng.choice(place.scene.in_front))
                thing = THINGS[name]
                thin = name in ("pole", "column", "tree")
                offset = rng.uniform(-0.24, 0.24) if thin else rng.uniform(-0.8, 0.8) * thing.clear * 0.6
                ahead = {"car": 1.5, "stall": 1.1}.get(name, rng.uniform(0.5, 0.95))
                at = np.array([actor.x, actor.z]) - away * ahead + side * offset
                yaw = np.arctan2(away[0], away[1]) + rng.normal(0, 0.25) + (np.pi / 2 if name == "car" else 0)
                props = moved(thing.build(rng), float(at[0]), float(at[1]), float(yaw))
            ids = self.renderer.parts_alone(actor, view, [other] if other else [], props)
            shown = _areas(ids, view)[1:9].sum() / max(total[1:9].sum(), 1e-9)
            gap = max(HIDDEN[0] - shown, shown - HIDDEN[1], 0)
            if gap < best_gap:
                best, best_gap = (other, props, name), gap
            if gap == 0:
                break
        return best


def _aim(place: Place, actor: Actor) -> tuple[np.ndarray, np.ndarray]:
    """Return the camera's position and target, `(3,)` m each."""
    return np.array([0, place.camera.height, 0]), np.array([actor.x, 0.95, actor.z])


def _whole(place: Place, actor: Actor) -> View:
    return View(*_aim(place, actor), (-1, 1, -1, 1))


def _alone(place: Place, actor: Actor) -> View:
    """Return the view that tightly encloses a person with everything carried."""
    x0, y0, x1, y1 = _bounds(actor, _whole(place, actor), all_parts=True)
    return View(*_aim(place, actor), (x0, x1, -y1, -y0))


def _follow(window: tuple, old: tuple, new: tuple) -> tuple[float, float, float, float]:
    """Cut out a person as another was cut out, equally loose and equally far off; keep the aspect of 1:2."""
    scale = (new[3] - new[1]) / (old[3] - old[1])
    shift = [((window[i] + window[i + 2]) - (old[i] + old[i + 2])) / 2 * scale for i in (0, 1)]
    middle = [(new[i] + new[i + 2]) / 2 + shift[i] for i in (0, 1)]
    half = [(window[i + 2] - window[i]) / 2 * scale for i in (0, 1)]
    return middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]


def _grade(camera: Camera, strength: float, rng: np.random.Generator) -> Grade:
    """Draw the colours of one photograph: the camera's own with a little variation."""
    balance = np.array(camera.balance) * rng.normal(1, 0.025, 3) * strength
    return Grade(
        gain=tuple(float(v) for v in balance),
        contrast=camera.contrast * float(rng.uniform(0.94, 1.06)),
        saturation=camera.saturation * float(rng.uniform(0.9, 1.08)),
        lift=camera.lift,
    )


def _bounds(actor: Actor, view: View, all_parts: bool) -> tuple[float, float, float, float]:
    """Return the box `(x0, y0, x1, y1)` of a person in tangents, y down; without bags unless `all_parts`."""
    points = actor.posed.vertices if all_parts else actor.posed.vertices[actor.person.part != PART["carried"]]
    c, s = np.cos(actor.yaw), np.sin(actor.yaw)
    world = points @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) + [actor.x, 0, actor.z]
    m = look_at(view.eye, view.target)
    seen = world @ m[:3, :3].T + m[:3, 3]
    x, y = seen[:, 0] / -seen[:, 2], seen[:, 1] / seen[:, 2]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _areas(ids: np.ndarray, view: View) -> np.ndarray:
    """Return the area of each id, `(256,)`, in squared tangents."""
    left, right, bottom, top = view.window
    return cv2.calcHist([np.ascontiguousarray(ids)], [0], None, [256], [0, 256])[:, 0] * (
        (right - left) * (top - bottom) / ids.size
    )


def _crop(rng: np.random.Generator, box: tuple, crop: str) -> tuple[float, float, float, float]:
    """Cut a box as the edge of a frame would; keep the aspect of 1:2."""
    x0, y0, x1, y1 = box
    height, width = y1 - y0, x1 - x0
    if crop == "upper":
        y1 = y0 + height * rng.uniform(0.45, 0.7)
    elif crop == "lower":
        y0 = y1 - height * rng.uniform(0.45, 0.72)
    elif crop in ("left", "right"):
        shift = width * rng.uniform(0.28, 0.45) * (1 if crop == "left" else -1)
        x0, x1 = x0 + shift, x1 + shift
    if crop in ("upper", "lower"):
        middle, half = (x0 + x1) / 2, max((y1 - y0) * 0.25, width * 0.42)
        x0, x1 = middle - half, middle + half
    return x0, y0, x1, y1


def sense(rgb: np.ndarray, camera: Camera, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Turn a rendered image of twice the size into a stored one of 256 x 128: blur, `rows` pixels high, noise, JPEG."""
    image = cv2.GaussianBlur(np.ascontiguousarray(rgb), (0, 0), max(0.2, camera.blur * rng.uniform(0.7, 1.3) * 2))
    if rng.random() < 0.1:  # a moving person in a long exposure
        length = int(rng.integers(5, 13))
        image = cv2.blur(image, (length, 1))
    image = cv2.resize(image, (max(36, rows // 2), rows), interpolation=cv2.INTER_AREA)
    grain = (
        rng.standard_normal(image.shape[:2], np.float32)[..., None] * 0.7
        + rng.standard_normal(image.shape, np.float32) * 0.6
    )
    noisy = image + grain * np.float32(camera.noise * 255 * rng.uniform(0.7, 1.3))
    image = np.clip(noisy, 0, 255).astype(np.uint8)
    quality = int(np.clip(camera.quality + rng.integers(-6, 7), 40, 96))
    return cv2.resize(through_jpeg(image, quality), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


def part_masks(ids: np.ndarray) -> dict[str, np.ndarray]:
    """Reduce ids to a `GRID` mask of each visible part; a cell belongs to a part that fills half of it."""
    masks = {}
    for part in PARTS:
        here = (ids == PART[part]).astype(np.uint8) * 255
        if here.any():
            small = cv2.resize(here, GRID[::-1], interpolation=cv2.INTER_AREA) >= 128
            if small.any():
                masks[part] = small
    return masks
