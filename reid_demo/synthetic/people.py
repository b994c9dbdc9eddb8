"""Identities: a `Look` describes a person in words and numbers, a `Person` is the mesh of a look, ready to pose."""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.sparse import csr_matrix

from reid_demo.synthetic import carried, garments, hanging, poses
from reid_demo.synthetic.body import ANCESTRIES, PART, Body, Build, skinning
from reid_demo.synthetic.fabrics import (
    BAG_COLOURS,
    CLOTH,
    EYE,
    HAIR,
    HAIR_COLOURS,
    SHOE_COLOURS,
    SKIN,
    SKIN_TONES,
    Colour,
    Material,
    choose,
    cloth,
    colour,
    to_colour,
)
from reid_demo.synthetic.geometry import Mesh, averaging, incidence, normals, quads_to_triangles, rounded_box
from reid_demo.synthetic.pieces import Outfit, Piece, fitted

GROUP = 4  # people with neighbouring numbers who may dress alike
ALIKE = 0.4  # fraction of groups that dress alike
DIFFERENCES = ("bag", "hair", "build", "shoes")  # each other member differs in one of these, and what goes with it


@dataclass(frozen=True)
class Style:
    """A hair style, and its weight among men and women."""

    asset: str | None  # None: only the layer on the scalp
    men: float
    women: float


STYLES: dict[str, Style] = {
    "buzz": Style(None, men=5, women=0.1),
    "crop": Style(None, men=5, women=0.4),
    "bald": Style(None, men=1.5, women=0),
    "short 1": Style("short01", men=3, women=0.6),
    "short 2": Style("short02", men=3, women=0.8),
    "short 3": Style("short03", men=3, women=1.5),
    "short 4": Style("short04", men=3, women=0.6),
    "bob 1": Style("bob01", men=0.1, women=4),
    "bob 2": Style("bob02", men=0, women=3),
    "long": Style("long01", men=0.2, women=5),
    "ponytail": Style("ponytail01", men=0.1, women=5),
    "braid": Style("braid01", men=0, women=2.5),
    "afro": Style("afro01", men=0.6, women=0.9),
}
TONES = {"african": (4, 8), "asian": (1, 6), "caucasian": (0, 4)}  # range of `SKIN_TONES`
VIRTUAL = ("held", "umbrella", "phone")  # rigid frames attached to a hand
MAX_MATERIALS = 24


@dataclass(frozen=True)
class Look:
    """The appearance of a person. Equal looks are the same person."""

    build: Build
    skin: Colour
    hair: str  # a key of `STYLES`
    hair_colour: Colour
    beard: float  # 0..1
    glasses: str  # "", "clear" or "dark"
    top: str
    top_cloth: Material
    coat: str
    coat_cloth: Material
    bottom: str
    bottom_cloth: Material
    tucked: bool
    shoes: str
    shoe_colours: tuple[Colour, Colour]
    sock: Colour
    hat: str
    hat_cloth: Material
    scarf: bool
    scarf_cloth: Material
    bag: str
    bag_cloth: Material
    umbrella: Material
    gait: poses.Gait
    fit: int  # seed for cuts, lengths and sizes

    @property
    def woman(self) -> bool:
        """Whether the build is closer to MakeHuman's female."""
        return self.build.male < 0.5


def draw_look(rng: np.random.Generator, index: int) -> Look:
    """Draw a person; sex and main ancestry follow from the index, to balance a set."""
    man, main = index % 2 == 0, (index // 2) % 3
    build = _draw_build(rng, man, main)
    skin = _draw_skin(rng, build)
    natural = HAIR_COLOURS[choose(rng, _hair_colours(build.age, main))]
    dress = _draw_dress(rng, man)
    hat = choose(rng, carried.HAT_WEIGHTS)
    if hat == "headscarf" and man:
        hat = "beanie"
    bag = choose(rng, carried.BAG_WEIGHTS)
    return Look(  # keep the order of the arguments: another order of draws would change every seed's people
        build=build,
        skin=skin,
        hair=choose(rng, _styles(man)),
        hair_colour=to_colour(np.array(natural) * rng.uniform(0.85, 1.15)),
        beard=float(rng.uniform(0.4, 1) if man and rng.random() < 0.38 else 0),
        glasses=str(rng.choice(["", "clear", "dark"], p=[0.76, 0.17, 0.07])),
        top=dress.top,
        top_cloth=dress.top_cloth,
        coat=dress.coat,
        coat_cloth=garments.draw_fabric(rng, garments.COATS[dress.coat]),
        bottom=dress.bottom,
        bottom_cloth=dress.bottom_cloth,
        tucked=bool(rng.random() < 0.25),
        shoes=str(rng.choice(garments.SHOES)),
        shoe_colours=_draw_shoe_colours(rng),
        sock=colour(rng, choose(rng, {"black": 4, "white": 4, "grey": 2})),
        hat=hat,
        hat_cloth=cloth(rng, "coat", _hat_patterns(hat), 0.4),
        scarf=bool(rng.random() < (0.3 if dress.coat != "none" else 0.04)),
        scarf_cloth=cloth(rng, "coat", {"solid": 4, "check": 1, "rings": 1}, 0.9),
        bag=bag,
        bag_cloth=_bag_cloth(rng),
        umbrella=Material(CLOTH, colour(rng, choose(rng, BAG_COLOURS)), folds=0.1, gloss=0.1),
        gait=_draw_gait(rng),
        fit=int(rng.integers(2**31)),
    )


def _draw_build(rng: np.random.Generator, man: bool, main: int) -> Build:
    ancestry = rng.dirichlet(np.where(np.arange(3) == main, 4.0, 0.35))
    age = float(
        rng.choice([rng.uniform(0.38, 0.5), rng.uniform(0.5, 0.68), rng.uniform(0.68, 0.92)], p=[0.42, 0.4, 0.18])
    )
    return Build(
        male=float(rng.uniform(0.86, 1) if man else rng.uniform(0, 0.14)),
        age=age,
        muscle=float(np.clip(rng.normal(0.5, 0.15), 0.1, 0.9)),
        weight=float(np.clip(rng.normal(0.52, 0.2), 0.08, 1)),
        height=float(np.clip(rng.normal(0.5, 0.085), 0.3, 0.7)),
        proportions=float(rng.uniform(0.4, 0.9)),
        ancestry=tuple(float(x) for x in ancestry),
        cup=float(rng.uniform(0.25, 0.7)),
    )


def _draw_skin(rng: np.random.Generator, build: Build) -> Colour:
    tone = sum(share * rng.uniform(*TONES[name]) for share, name in zip(build.ancestry, ANCESTRIES, strict=True))
    return skin_at(float(tone), float(rng.uniform(0.94, 1.05)))


def skin_at(tone: float, strength: float = 1.0) -> Colour:
    """Interpolate between rows of `SKIN_TONES`; tone 0 is the lightest."""
    tone = float(np.clip(tone, 0, len(SKIN_TONES) - 1.001))
    low, high = np.array(SKIN_TONES[int(tone)]), np.array(SKIN_TONES[int(tone) + 1])
    return to_colour((low + (high - low) * (tone % 1)) * strength)


def _hair_colours(age: float, main: int) -> dict[str, float]:
    """Return the weight of each hair colour; old people are mostly grey."""
    european = main == 2
    colours = {"black": 6, "dark brown": 5, "brown": 4 * european + 1.0, "light brown": 3.0 * european}
    colours |= {"blond": 2.5 * european, "red": 0.6 * european, "grey": 0.1, "white": 0.02}
    return colours | {"grey": 16, "white": 10} if age > 0.72 else colours


def _styles(man: bool) -> dict[str, float]:
    return {name: style.men if man else style.women for name, style in STYLES.items()}


@dataclass(frozen=True)
class _Dress:
    top: str
    top_cloth: Material
    coat: str
    bottom: str
    bottom_cloth: Material


def _draw_dress(rng: np.random.Generator, man: bool) -> _Dress:
    top, coat = garments.draw_top(rng, garments.TOPS, man), garments.draw_top(rng, garments.COATS, man)
    bottom = choose(rng, {name: spec.weight[0 if man else 1] for name, spec in garments.BOTTOMS.items()})
    spec = garments.BOTTOMS[bottom]
    bottom_cloth = cloth(rng, "bottom", spec.patterns, spec.folds)
    top_cloth = garments.draw_fabric(rng, garments.TOPS[top])
    if spec.dress:
        top = str(rng.choice(["t-shirt", "tank top", "long sleeves"]))
        top_cloth = bottom_cloth
    if coat != "none" and top == "hoodie" and rng.random() < 0.7:
        top = "t-shirt"
    return _Dress(top, top_cloth, coat, bottom, bottom_cloth)


def _draw_shoe_colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    upper = colour(rng, choose(rng, SHOE_COLOURS))
    return upper, colour(rng, choose(rng, {"white": 4, "black": 4, "grey": 1}))


def _hat_patterns(hat: str) -> dict[str, float]:
    return {"solid": 6, "rings": 1 if hat == "beanie" else 0, "floral": hat == "headscarf"}


def _draw_gait(rng: np.random.Generator) -> poses.Gait:
    return poses.Gait(
        step=float(rng.uniform(0.62, 0.96)),
        swing=float(rng.uniform(0.5, 1.15)),
        lean=float(rng.uniform(-1, 5)),
        elbow=float(rng.uniform(12, 30)),
        spread=float(rng.uniform(5, 10)),
        toes_out=float(rng.uniform(2, 12)),
    )


def _bag_cloth(rng: np.random.Generator) -> Material:
    a, b = (colour(rng, choose(rng, BAG_COLOURS)) for _ in range(2))
    return Material(
        CLOTH,
        a,
        b if rng.random() < 0.4 else to_colour(np.array(a) * 0.85),
        pattern="block" if rng.random() < 0.15 else "solid",
        phase=float(rng.uniform(0, 50)),
        gloss=float(rng.choice([0.04, 0.15])),
        folds=0.35,
    )


def identity(seed: int, index: int) -> Look:
    """Return the look of the `index`-th person of a set: an independent one, or one of a group that dresses alike."""
    group, member = divmod(index, GROUP)
    own = np.random.default_rng([seed, 1, index])
    if np.random.default_rng([seed, 2, group]).random() >= ALIKE:
        return draw_look(own, index)
    first = group * GROUP
    leader = draw_look(np.random.default_rng([seed, 1, first]), first + (group % 2))
    return leader if member == 0 else vary(leader, DIFFERENCES[(group + member) % len(DIFFERENCES)], own)


def vary(look: Look, what: str, rng: np.random.Generator) -> Look:
    """Return a person who dresses like `look` but clearly differs in `what`, one of `DIFFERENCES`."""
    other = draw_look(rng, 1 if look.woman else 0)
    if what == "bag":
        others = {name: w for name, w in carried.BAG_WEIGHTS.items() if name != look.bag}
        return replace(look, bag=choose(rng, others), bag_cloth=other.bag_cloth, gait=other.gait)
    if what == "hair":
        styles = {name: often for name, often in _styles(not look.woman).items() if name != look.hair}
        shades = [c for c in HAIR_COLOURS.values() if abs(c[0] - look.hair_colour[0]) > 0.12]
        shade = shades[int(rng.integers(len(shades)))]
        return replace(look, hair=choose(rng, styles), hair_colour=shade, hat="none", glasses=other.glasses)
    if what == "build":
        weight = 0.85 if look.build.weight < 0.5 else 0.2
        height = 0.67 if look.build.height < 0.5 else 0.34
        return replace(look, build=replace(look.build, weight=weight, height=height), gait=other.gait)
    light = np.mean(look.shoe_colours[0]) > 0.4
    upper = colour(rng, "black" if light else "white")
    shoes = [name for name in garments.SHOES if name != look.shoes]
    return replace(look, shoes=shoes[int(rng.integers(len(shoes)))], shoe_colours=(upper, upper[::-1]), gait=other.gait)


@dataclass(frozen=True, eq=False)
class Posed:
    """A person in one pose, standing at the origin on y = 0 and facing +z."""

    vertices: np.ndarray  # (n, 3) float32, m
    normals: np.ndarray  # (n, 3) float32
    name: str


@dataclass(frozen=True, eq=False)
class Sheet:
    """Hanging cloth: the vertices `start:end` of a person."""

    start: int
    end: int
    mean: csr_matrix  # smooths a push over its vertices
    first: int  # the first row of the sheet that can be pushed
    within: np.ndarray  # the person's vertices that it must enclose


@dataclass(eq=False)
class Person:
    """The mesh of a look. Building one takes about half a second, posing it a few milliseconds."""

    body: Body
    look: Look
    triangles: np.ndarray = field(init=False)  # (m, 3) int32
    coords: np.ndarray = field(init=False)  # (n, 3) float32, pattern coordinates
    sleeve: np.ndarray = field(init=False)  # (n,) float32
    part: np.ndarray = field(init=False)  # (n,) uint8
    surface: np.ndarray = field(init=False)  # (n,) uint8, a row of `materials`
    materials: list[Material] = field(init=False)

    def __post_init__(self) -> None:
        body, look = self.body, self.look
        shape = body.shape(look.build)
        pieces = self._dress(shape)
        joined = len(body.bones) + len(VIRTUAL)
        self.materials, rows = [], []
        for piece in pieces:
            if piece.material not in self.materials:
                self.materials.append(piece.material)
            rows.append(self.materials.index(piece.material))
        starts = np.cumsum([0, *(len(piece.vertices) for piece in pieces)])
        self.rest = np.concatenate([piece.vertices for piece in pieces]).astype(np.float32)
        weights = np.zeros((len(self.rest), joined), np.float32)
        for piece, start in zip(pieces, starts[:-1], strict=True):
            weights[start : start + len(piece.vertices), : piece.weights.shape[1]] = piece.weights
        self.skin = skinning(weights)
        self.triangles = np.concatenate(
            [piece.triangles + start for piece, start in zip(pieces, starts[:-1], strict=True)]
        ).astype(np.int32)
        self.coords = np.concatenate([piece.coords for piece in pieces]).astype(np.float32)
        self.sleeve = np.concatenate([piece.sleeve for piece in pieces]).astype(np.float32)
        self.part = np.concatenate([piece.part for piece in pieces]).astype(np.uint8)
        self.surface = np.repeat(np.array(rows, np.uint8), np.diff(starts))
        self._sums = incidence(self.triangles, len(self.rest))
        self._sheets = self._find_sheets(pieces, starts)
        self._heads = np.array([body.joint(shape, name) for name in body.bones])
        names = [*body.bones, "finger3-1.L", "finger3-1.R"]
        self.joints = poses.Joints({name: body.joint(shape, name) for name in names})
        weight = max(0.0, look.build.weight - 0.5)
        self._width = 9 * weight + (3 if look.coat not in ("none", "open jacket") else 0)
        self._width += 4 if garments.BOTTOMS[look.bottom].hem is not None else 0

    def _find_sheets(self, pieces: list[Piece], starts: np.ndarray) -> list[Sheet]:
        """Return the hanging cloth, from the inside out."""
        cloth = [piece.material.kind == CLOTH for piece in pieces]
        skin = [piece.material.kind == SKIN for piece in pieces]
        trunk = np.isin(self.part, [PART["torso"], PART["left_leg"], PART["right_leg"]])
        sheets = []
        for number, piece in enumerate(pieces):
            if not piece.rows:
                continue
            inner = [i for i in range(len(pieces)) if skin[i] or (cloth[i] and i < number - piece.own)]
            within = np.zeros(len(self.rest), bool)
            for i in inner:
                within[starts[i] : starts[i + 1]] = True
            within &= trunk & (self.rest[:, 1] < piece.vertices[:, 1].max())
            within &= self.rest[:, 1] > piece.vertices[:, 1].min() - 2
            mean = averaging(piece.triangles, len(piece.vertices))
            sheets.append(
                Sheet(
                    start=int(starts[number]),
                    end=int(starts[number + 1]),
                    mean=mean,
                    first=2 * piece.own,
                    within=np.flatnonzero(within),
                )
            )
        return sheets

    def _dress(self, shape: np.ndarray) -> list[Piece]:
        body, look = self.body, self.look
        rng = np.random.default_rng(look.fit)
        outfit = Outfit(body, shape, [], np.zeros(len(shape), bool))
        garments.wear_bottom(outfit, look.bottom, look.bottom_cloth, look.fit + 1)
        spec = garments.TOPS[look.top]
        dress = garments.BOTTOMS[look.bottom].dress
        coat = garments.COATS[look.coat]
        closed = look.coat != "none" and coat.opening is None
        if not closed:
            garments.wear_top(outfit, spec, look.top_cloth, look.fit + 2, look.tucked or dress, over=False)
        if look.coat != "none":
            garments.wear_top(outfit, coat, look.coat_cloth, look.fit + 3, tucked=False, over=not closed)
        garments.wear_shoes(outfit, look.shoes, look.shoe_colours, look.sock)
        if look.scarf:
            outfit.pieces.append(carried.scarf(body, shape, look.scarf_cloth, rng))
        clothes = [piece for piece in outfit.pieces if not piece.trim]
        if look.bag in carried.WORN_BAGS:
            carried.WORN_BAGS[look.bag](outfit, look.bag_cloth, np.random.default_rng(look.fit + 4))
        outfit.pieces += self._head(shape, rng, clothes)
        outfit.pieces.append(self._skin(shape, outfit.hides))
        outfit.pieces += self._held(np.random.default_rng(look.fit + 5))
        return outfit.pieces

    def _skin(self, shape: np.ndarray, hides: np.ndarray) -> Piece:
        body, look = self.body, self.look
        quads = body.skin_quads[~hides[body.skin_quads].all(1)]
        lips = to_colour(np.array(look.skin) * ((0.88, 0.62, 0.62) if look.woman else (0.85, 0.70, 0.68)))
        material = Material(SKIN, look.skin, look.hair_colour, lips, detail=look.beard, gloss=0.1)
        return _as_is(body, shape, quads, material)

    def _head(self, shape: np.ndarray, rng: np.random.Generator, clothes: list[Piece]) -> list[Piece]:
        body, look = self.body, self.look
        v = body.assets.vertices
        pieces = [_as_is(body, shape, body.eye_quads, Material(EYE, (0.86, 0.84, 0.81)))]
        strands = Material(HAIR, look.hair_colour, gloss=0.07, phase=float(rng.uniform(0, 9)))
        asset = STYLES[look.hair].asset
        if look.hat != "headscarf" and look.hair != "bald":
            short = look.hair in ("buzz", "crop")
            lift = 0.025 if not short or look.hair == "buzz" or look.hat != "none" else None
            ease = np.full(len(v), lift) if lift else 0.06 + 0.16 * np.clip((v[:, 1] - 7.2) / 0.9, 0, 1)
            cover = carried.Cover(ease, brim=7.05 if short else 7.15, slope=0.55, smooth=1)
            pieces.append(carried.scalp(body, shape, cover, strands))
            if asset:
                hair = fitted(body, shape, asset, strands)
                hair.part[:] = PART["head"]
                hanging.lay_over(hair, clothes, body.joint(shape, "neck01")[1])
                if look.hat != "none":
                    carried.cut_hair(hair, shape, body, carried.HATS[look.hat].hair_ends)
                pieces.append(hair)
        if look.hat != "none":
            pieces += carried.HATS[look.hat].build(body, shape, look.hat_cloth, rng)
            for piece in pieces[1:]:
                piece.part[:] = PART["head"]
        if look.glasses:
            pieces.append(carried.glasses(body, shape, look.glasses == "dark"))
        return pieces

    def _held(self, rng: np.random.Generator) -> list[Piece]:
        look, pieces = self.look, []
        frames = [("umbrella", carried.umbrella(rng), look.umbrella), ("phone", _phone(), carried.DARK)]
        if look.bag in carried.HELD_BAGS:
            frames.append(("held", carried.HELD_BAGS[look.bag](rng), look.bag_cloth))
        for frame, (vertices, triangles), material in frames:
            count = len(vertices)
            weights = np.zeros((count, len(self.body.bones) + len(VIRTUAL)), np.float32)
            weights[:, len(self.body.bones) + VIRTUAL.index(frame)] = 1
            part = np.full(count, PART["carried"])
            pieces.append(
                Piece(
                    vertices=vertices,
                    triangles=triangles,
                    weights=weights,
                    coords=vertices,
                    sleeve=np.zeros(count),
                    part=part,
                    material=material,
                )
            )
        return pieces

    def pose(self, rng: np.random.Generator, name: str | None = None, rain: bool = False) -> Posed:
        """Return the person in a pose.

        Args:
            rng: draws the phase of the stride, and the pose if `name` is not given.
            name: a key of `poses.POSES`.
            rain: whether to hold up the umbrella.
        """
        body, look = self.body, self.look
        name = name or poses.draw_pose(rng)
        side = "L" if look.fit % 2 else "R"
        holding = {side: carried.HELD[look.bag]} if look.bag in carried.HELD else {}
        if rain:
            holding["R" if side == "L" else "L"] = "umbrella"
            name = "walk" if name not in ("walk", "stand") else name
        if name == "strap" and look.bag not in carried.WORN_BAGS:
            name = "walk"
        turns = poses.bone_rotations(self.joints, look.gait, name, rng, self._width, holding)
        world, at = np.empty((len(body.bones), 3, 3)), np.empty((len(body.bones), 3))
        for i, bone in enumerate(body.bones):
            parent, local = body.parents[i], turns.get(bone, np.eye(3))
            world[i] = local if parent < 0 else world[parent] @ local
            step = self._heads[i] - self._heads[parent] if parent >= 0 else None
            at[i] = self._heads[i] if parent < 0 else at[parent] + world[parent] @ step
        frames = np.zeros((len(body.bones) + len(VIRTUAL), 3, 4))
        frames[: len(body.bones), :, :3] = world
        frames[: len(body.bones), :, 3] = at - np.einsum("nij,nj->ni", world, self._heads)
        self._place_held(frames, world, at, holding, name)
        moved = (self.skin @ frames.reshape(-1, 12).astype(np.float32)).reshape(-1, 3, 4)
        vertices = np.einsum("nij,nj->ni", moved[:, :, :3], self.rest) + moved[:, :, 3]
        for sheet in self._sheets:
            hanging.settle(vertices[sheet.start : sheet.end], vertices[sheet.within], sheet.mean, sheet.first)
        floor = vertices[self.part == PART["feet"], 1].min()
        root = at[body.bone["root"]]
        vertices -= np.float32([root[0], floor, root[2]])
        vertices *= np.float32(0.1)
        return Posed(vertices, normals(vertices, self.triangles, self._sums).astype(np.float32), name)

    def _place_held(self, frames: np.ndarray, world: np.ndarray, at: np.ndarray, holding: dict, name: str) -> None:
        bone = self.body.bone
        for side, thing in holding.items():
            grip = at[bone[f"finger3-1.{side}"]] + world[bone[f"wrist.{side}"]] @ np.array([0, -0.25, 0])
            frame = len(bone) + (VIRTUAL.index("umbrella") if thing == "umbrella" else 0)
            turn = np.eye(3)
            if thing == "wheeled":
                floor = at[[bone["foot.L"], bone["foot.R"]], 1].min() - 0.75
                tilt = np.arccos(np.clip((grip[1] - floor) / 9.9, 0.2, 1))
                c, s = np.cos(tilt), np.sin(tilt)
                turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T  # the wheels trail behind
                turn = np.array([[1, 0, 0], [0, c, s], [0, -s, c]]).T if (turn @ [0, -1, 0])[2] > 0 else turn
            elif thing == "umbrella":
                sign = 1 if side == "L" else -1
                turn = np.array([[0.995, -0.1 * sign, 0], [0.1 * sign, 0.99, -0.1], [0, 0.1, 0.995]])
            frames[frame, :, :3], frames[frame, :, 3] = turn, grip
        if name == "phone":
            high = max("LR", key=lambda side: at[bone[f"wrist.{side}"], 1])
            wrist, knuckle = at[bone[f"wrist.{high}"]], at[bone[f"finger3-1.{high}"]]
            direction = (knuckle - wrist) / np.linalg.norm(knuckle - wrist)
            frame = len(bone) + VIRTUAL.index("phone")
            frames[frame, :, :3] = poses.aim(np.array([0, 1.0, 0]), direction)
            frames[frame, :, 3] = knuckle + direction * 0.3


def _as_is(body: Body, shape: np.ndarray, quads: np.ndarray, material: Material) -> Piece:
    """Make a piece of faces of the base mesh, without growing them."""
    used, local = np.unique(quads, return_inverse=True)
    triangles = quads_to_triangles(local.reshape(quads.shape))
    return Piece(
        vertices=shape[used],
        triangles=triangles,
        weights=body.weights[used],
        coords=body.assets.vertices[used],
        sleeve=body.sleeve[used] * 0,
        part=body.part[used],
        material=material,
    )


def _phone() -> Mesh:
    return rounded_box((0.72, 1.45, 0.12), 8, 4)
