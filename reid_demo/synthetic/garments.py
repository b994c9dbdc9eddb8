"""Clothes as tables, and the builders that put them on a body. To add a garment, add a row to a table.

Heights are dm on the average body, whose hip is at 0.5, neck at 5.9, knee at -3.7 and sole at -8.2.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from reid_demo.synthetic.body import PART, Body
from reid_demo.synthetic.fabrics import CLOTH, Clip, Colour, Material, cloth
from reid_demo.synthetic.geometry import grid, tube
from reid_demo.synthetic.hanging import SEAM, Hang, sheath, tail
from reid_demo.synthetic.pieces import Outfit, Piece, attached, fitted, grown

Range = tuple[float, float]
PLAIN_MIX = {"solid": 8, "buttons": 1.5, "stripes": 0.4, "check": 0.8}
SHIRT_MIX = {"solid": 7, "logo": 3, "rings": 1.4, "buttons": 1.2, "check": 1, "raglan": 0.6, "dots": 0.4, "floral": 0.5}
SHIRT_MIX |= {"block": 0.5, "stripes": 0.4, "gradient": 0.2, "yoke": 0.4}
COAT_MIX = {"zip": 4, "buttons": 3, "solid": 3, "check": 0.5, "block": 0.7, "yoke": 0.5, "camouflage": 0.3}
LEG_MIX = {"solid": 10, "seam": 1, "check": 0.3, "camouflage": 0.3, "stripes": 0.2}
SKIRT_MIX = {"solid": 6, "floral": 1, "check": 1, "dots": 0.5, "rings": 0.3, "stripes": 0.4}


@dataclass(frozen=True)
class Top:
    """A garment of the upper body. Each person draws a value from every range."""

    weight: Range  # how often men and women wear it
    ease: Range = (0.1, 0.16)  # dm above the body
    sleeve: Range = (0.3, 0.5)  # 0 at the shoulder, 1 at the wrist
    neck: float = -0.2  # dm above the neck's root
    neck_radius: float = 0.8
    neck_depth: Range = (0, 0.3)
    hem: Range = (-0.6, 0.1)  # dm from the hip
    flare: Range = (0, 0.06)  # growth of the radius below the hip, dm per dm
    opening: Range | None = None  # half width of an open front, dm
    hood: float = 0.0  # probability
    collar: float = 0.0  # probability
    smooth: int = 4
    folds: float = 0.5
    use: str = "top"
    patterns: dict[str, float] = field(default_factory=lambda: SHIRT_MIX)
    asset: tuple[str, ...] = ()  # one of these assets is worn instead of a grown mesh


@dataclass(frozen=True)
class Bottom:
    """A garment of the lower body."""

    weight: Range
    ease: Range = (0.1, 0.16)
    length: Range = (0.98, 1.03)  # 0 at the hip, 1 at the ankle
    widen: float = 0.0  # dm, extra ease at the ankle
    smooth: int = 4
    folds: float = 0.5
    hem: Range | None = None  # of a skirt, dm; trousers have none
    flare: Range = (0, 0)
    pleats: Range = (0, 0)  # dm
    dress: bool = False  # the top is of the same cloth
    patterns: dict[str, float] = field(default_factory=lambda: LEG_MIX)
    asset: tuple[str, ...] = ()


TOPS = {
    "t-shirt": Top((10, 6), sleeve=(0.28, 0.5)),
    "tank top": Top((0.6, 2), ease=(0.05, 0.08), sleeve=(-0.2, -0.14), neck=-0.75, neck_radius=1.15, smooth=2),
    "shirt": Top(
        (6, 3), ease=(0.09, 0.16), sleeve=(0.9, 1.0), collar=0.9, patterns={"buttons": 6, "check": 2, "stripes": 1}
    ),
    "long sleeves": Top((4, 5), ease=(0.07, 0.13), sleeve=(0.9, 1.0)),
    "sweater": Top(
        (5, 5), ease=(0.15, 0.26), sleeve=(0.95, 1.02), neck=-0.05, neck_radius=0.7, hem=(-0.9, -0.1), folds=0.7
    ),
    "hoodie": Top(
        (5, 3),
        ease=(0.18, 0.3),
        sleeve=(0.97, 1.03),
        neck=0.1,
        neck_radius=0.7,
        hem=(-0.7, 0),
        hood=1,
        folds=0.8,
        use="coat",
    ),
    "fitted": Top((3, 0), asset=("male_casualsuit02", "male_casualsuit03", "male_casualsuit06", "male_casualsuit04")),
    "blouse": Top((0, 4), asset=("female_casualsuit01", "female_casualsuit02")),
}
TOPS["fitted"] = replace(TOPS["fitted"], patterns=PLAIN_MIX)
COATS = {
    "none": Top((11, 10)),
    "jacket": Top(
        (4, 3),
        ease=(0.22, 0.32),
        sleeve=(0.98, 1.04),
        neck=0.15,
        neck_radius=0.72,
        neck_depth=(0, 0.05),
        hem=(-0.9, -0.3),
        collar=0.8,
        folds=0.8,
    ),
    "open jacket": Top(
        (3, 3),
        ease=(0.2, 0.28),
        sleeve=(0.96, 1.02),
        neck=0.1,
        neck_radius=0.75,
        neck_depth=(0, 0.05),
        hem=(-0.9, -0.2),
        opening=(0.25, 0.6),
    ),
    "puffer": Top(
        (2, 2),
        ease=(0.4, 0.52),
        sleeve=(0.98, 1.03),
        neck=0.25,
        neck_radius=0.72,
        neck_depth=(0, 0.05),
        hem=(-0.9, -0.1),
        hood=0.5,
        folds=1.4,
    ),
    "parka": Top(
        (2, 2),
        ease=(0.3, 0.4),
        sleeve=(1.0, 1.05),
        neck=0.2,
        neck_radius=0.72,
        neck_depth=(0, 0.05),
        hem=(-2.6, -1.6),
        flare=(0, 0.1),
        hood=0.8,
        folds=0.9,
    ),
    "coat": Top(
        (1.5, 2),
        ease=(0.24, 0.32),
        sleeve=(0.98, 1.04),
        neck=0.1,
        neck_radius=0.75,
        neck_depth=(0, 0.05),
        hem=(-4.2, -2.4),
        flare=(0.05, 0.25),
        collar=0.9,
    ),
    "open coat": Top(
        (1, 2),
        ease=(0.22, 0.3),
        sleeve=(0.98, 1.04),
        neck=0.1,
        neck_radius=0.8,
        neck_depth=(0, 0.05),
        hem=(-4.6, -2.6),
        opening=(0.3, 0.7),
    ),
}
COATS = {name: replace(top, use="coat", patterns=COAT_MIX, collar=top.collar or 0.4) for name, top in COATS.items()}
BOTTOMS = {
    "jeans": Bottom((9, 6), ease=(0.09, 0.13), patterns={"denim": 1}),
    "slim jeans": Bottom((4, 7), ease=(0.05, 0.07), smooth=2, folds=0.35, patterns={"denim": 3, "solid": 1}),
    "trousers": Bottom((8, 4), ease=(0.11, 0.17)),
    "joggers": Bottom((3, 2), ease=(0.15, 0.2), length=(0.93, 0.98), widen=-0.12, folds=0.7),
    "wide trousers": Bottom((1, 3), ease=(0.16, 0.22), length=(0.98, 1.04), widen=0.28, folds=0.8),
    "cropped": Bottom((1, 3), ease=(0.07, 0.11), length=(0.74, 0.9), smooth=3),
    "shorts": Bottom((3, 2), ease=(0.2, 0.28), length=(0.36, 0.52), smooth=4),
    "leggings": Bottom((0, 3), ease=(0.03, 0.04), length=(0.9, 1.0), smooth=1, folds=0.15, patterns={"solid": 1}),
    "suit trousers": Bottom((1.5, 0.5), asset=("male_elegantsuit01", "male_casualsuit04", "female_casualsuit01")),
    "short skirt": Bottom((0, 2), hem=(-2.9, -1.6), flare=(0.05, 0.35), pleats=(0, 0.12), patterns=SKIRT_MIX),
    "skirt": Bottom((0, 2.5), hem=(-4.6, -3.2), flare=(-0.02, 0.25), pleats=(0, 0.16), patterns=SKIRT_MIX),
    "long skirt": Bottom((0, 1.5), hem=(-7.2, -6.0), flare=(0.08, 0.3), pleats=(0.04, 0.2), patterns=SKIRT_MIX),
    "dress": Bottom((0, 3), hem=(-4.2, -2.2), flare=(0.0, 0.3), pleats=(0, 0.14), dress=True, patterns=SKIRT_MIX),
}
WAIST = 1.15  # dm above the hip, where trousers end
SHOES = ("shoes01", "shoes02", "shoes03", "shoes04", "shoes05", "shoes06")
LONG_SKIRT = -5.0  # hems below this hide the shins


def _between(rng: np.random.Generator, limits: Range) -> float:
    return float(rng.uniform(*limits))


def wear_bottom(outfit: Outfit, name: str, fabric: Material, seed: int) -> None:
    """Put on trousers, shorts, a skirt or the skirt of a dress."""
    body, shape = outfit.body, outfit.shape
    spec, rng = BOTTOMS[name], np.random.default_rng(seed)
    v = body.assets.vertices
    waist = body.hip + WAIST
    lower = (body.arm < 0.3) & (v[:, 1] < waist)
    if spec.hem is not None:
        rise = body.joint(shape, "upperleg01.L")[1] - body.hip
        hem = _between(rng, spec.hem) * (1 + 0.5 * rise / 8.7) + rise
        flare, pleats = _between(rng, spec.flare), _between(rng, spec.pleats)
        outfit.pieces.append(sheath(body, shape, waist + rise + 0.1, Hang(hem, 0.1, flare, pleats), fabric))
        outfit.hides |= (
            lower & body.is_skin & (v[:, 1] > (body.hip - 0.3 if hem > LONG_SKIRT else -6)) & (body.hand < 0.05)
        )
        if rng.random() < 0.4 and hem > LONG_SKIRT:  # tights
            quads = body.tight_quads[(body.leg[body.tight_quads].mean(1) > 0.4)]
            thin = Material(CLOTH, (0.07, 0.07, 0.08), folds=0.1, clip=Clip(hem=-7.6))
            outfit.pieces.append(grown(body, shape, quads, np.full(len(v), 0.02), 1, thin))
            outfit.hides |= (body.leg > 0.3) & (body.leg_t < 0.98)
        return
    length = _between(rng, spec.length)
    covered = (body.leg > 0.3) & (body.leg_t < length - 0.05)
    outfit.hides |= (covered | (lower & (v[:, 1] > -1.2) & (body.leg_t < max(length - 0.05, 0.1)))) & (body.hand < 0.05)
    if spec.asset:
        asset_name = spec.asset[int(rng.integers(len(spec.asset)))]
        asset = body.assets.cloth(asset_name)
        heights = [asset.vertices[asset.component == k, 1] for k in range(asset.component.max() + 1)]
        legs = [k for k, y in enumerate(heights) if y.max() < 2.6 and y.min() < -6]
        outfit.pieces.append(fitted(body, shape, asset_name, fabric, np.isin(asset.component, legs), 0.03))
        return
    ease = _between(rng, spec.ease)
    quads = body.tight_quads
    quads = quads[(v[quads][..., 1].max(1) < waist + 0.5) & (body.arm[quads].max(1) < 0.3)]
    quads = quads[(body.leg_t[quads].min(1) < length + 0.1) | (body.leg[quads].mean(1) < 0.3)]
    ankle = -7.45 + 3.76 * (1 - length) * 2.1 if length < 0.99 else -7.45 + (1 - length) * 8
    clip = Clip(hem=ankle, waist=waist)
    loose = 0.05 + ease * np.clip(body.leg_t * 2.2, 0, 1) + spec.widen * np.clip(body.leg_t, 0, 1) ** 2
    outfit.pieces.append(grown(body, shape, quads, np.maximum(loose, 0.03), spec.smooth, replace(fabric, clip=clip)))


def wear_top(outfit: Outfit, spec: Top, fabric: Material, seed: int, tucked: bool, over: bool) -> None:
    """Put on a shirt, sweater, jacket or coat; `over` if another top is beneath it."""
    body, shape = outfit.body, outfit.shape
    rng = np.random.default_rng(seed)
    v, rise = body.assets.vertices, body.joint(shape, "upperleg01.L")[1] - body.hip
    if spec.asset:
        name = spec.asset[int(rng.integers(len(spec.asset)))]
        asset = body.assets.cloth(name)
        counts = np.bincount(asset.component)
        highest = [asset.vertices[asset.component == k, 1].max() for k in range(len(counts))]
        upper = [k for k, count in enumerate(counts) if count > 200 and highest[k] > 4]
        _lining(outfit, fabric, -0.4)
        outfit.pieces.append(fitted(body, shape, name, fabric, np.isin(asset.component, upper), 0.06))
        hidden = asset.hides[asset.hides < len(v)]
        outfit.hides[hidden[v[hidden, 1] > body.hip + 0.5]] = True
        return
    ease, sleeve = _between(rng, spec.ease), _between(rng, spec.sleeve)
    hem = body.hip + _between(rng, spec.hem)
    waist = body.hip + (WAIST if tucked else SEAM)  # where it goes under the trousers or stops clinging
    depth = _between(rng, spec.neck_depth) * (rng.random() < 0.4)
    neck = body.neck[1] + spec.neck + rng.uniform(-0.1, 0.1)
    radius = spec.neck_radius * rng.uniform(0.94, 1.1)
    opening = _between(rng, spec.opening) if spec.opening else -1.0
    arm_top, arm_length = body.joint(v, "upperarm01.L")[1], 4.5
    clip = Clip(
        hem=waist - 0.15,
        cuff=arm_top - sleeve * arm_length if sleeve > 0 else -99,
        neck=neck,
        neck_radius=radius,
        neck_depth=depth,
        open_top=opening,
        open_hem=opening * 1.5 if opening > 0 else -1,
    )
    fabric = replace(fabric, clip=clip)
    quads = body.tight_quads
    height = v[quads][..., 1]
    keep = (height.max(1) > waist - 1.3) & (body.leg[quads].min(1) < 0.6)
    keep &= (body.arm[quads].mean(1) < 0.5) | (body.arm_t[quads].min(1) < sleeve + 0.05)
    keep &= (height.min(1) < neck + 0.6) | (body.arm[quads].mean(1) > 0.3)
    ease_here = ease * (np.clip((v[:, 1] - waist) / 1.5, 0, 1) if tucked else 1)
    chest = (0.03 if tucked else 0.09) + ease_here * np.clip(0.55 + 0.45 * (5 - v[:, 1]) / 4, 0.2, 1)
    along_arm = 0.05 + ease * 0.8 * np.clip(body.arm_t * 1.6, 0.3, 1)
    loose = (1 - body.sleeve) * chest + body.sleeve * along_arm
    own, inner = grown(body, shape, quads[keep], loose + 0.06 * over, spec.smooth, fabric), list(outfit.pieces)
    outfit.pieces.append(own)
    if not tucked:
        outfit.pieces.append(tail(body, shape, own, inner, Hang(hem + rise, ease, _between(rng, spec.flare))))
    if opening < 0:
        bare = neck - 0.75 - depth
        outfit.hides |= (
            (body.arm < 0.5) & (v[:, 1] > waist - 0.1) & (v[:, 1] < bare) & (body.head < 0.1) & (body.leg < 0.5)
        )
    outfit.hides |= (body.arm >= 0.5) & (body.arm_t < sleeve - 0.08) & (body.hand < 0.3) & (sleeve > 0)
    if rng.random() < spec.hood:
        outfit.pieces.append(_hood(body, shape, replace(fabric, pattern="solid", clip=Clip()), ease))
    elif rng.random() < spec.collar:
        outfit.pieces.append(_collar(body, shape, replace(fabric, pattern="solid", clip=Clip()), ease, opening > 0))


def _lining(outfit: Outfit, fabric: Material, hem: float) -> None:
    """Add a close-fitting shirt under a short top, so that the waist is not bare."""
    body, shape = outfit.body, outfit.shape
    v, quads = body.assets.vertices, body.tight_quads
    keep = (v[quads][..., 1].max(1) > body.hip + hem) & (v[quads][..., 1].max(1) < 3.2) & (body.arm[quads].max(1) < 0.3)
    plain = replace(fabric, clip=Clip(hem=body.hip + hem))
    outfit.pieces.append(grown(body, shape, quads[keep], np.full(len(v), 0.025), 2, plain))
    outfit.hides |= (body.arm < 0.3) & (v[:, 1] > body.hip + hem + 0.3) & (v[:, 1] < 2.6) & (body.leg < 0.5)


def _hood(body: Body, shape: np.ndarray, fabric: Material, ease: float) -> Piece:
    """Build a lowered hood: a fold of cloth round the back of the neck."""
    neck = body.joint(shape, "neck01")
    turn = np.linspace(-2.35, 2.35, 15) + np.pi
    sag = np.cos(turn - np.pi) ** 2
    points = np.stack(
        [
            neck[0] + (0.98 + ease) * np.sin(turn),
            neck[1] - 0.05 - 0.45 * np.abs(np.sin((turn - np.pi) / 2)) ** 2 - 0.12 * sag,
            neck[2] - 0.05 + (0.72 + ease) * np.cos(turn) - 0.22 * sag,
        ],
        1,
    )
    vertices, triangles = tube(points, 0.2 + 0.26 * np.clip(sag, 0.1, 1), 9)
    return replace(
        attached(body, (vertices, triangles), "spine01", fabric, "torso", vertices * 0 + [0, 9, -2]), trim=True
    )


def _collar(body: Body, shape: np.ndarray, fabric: Material, ease: float, wide: bool) -> Piece:
    """Build a stand-up collar, open in front."""
    neck = body.joint(shape, "neck01")
    gap = 0.75 if wide else 0.35
    turn = np.linspace(gap, 2 * np.pi - gap, 18)
    rows = []
    for lift, spread in ((-0.8, 0.1), (-0.35, 0.06), (0.22, -0.02), (0.05, 0.16)):  # from inside the shirt upwards
        rows.append(
            np.stack(
                [
                    neck[0] + (0.72 + ease * 0.4 + spread) * np.sin(turn),
                    neck[1] + lift + 0.12 - 0.32 * np.cos(turn),
                    neck[2] + 0.02 + (0.66 + ease * 0.4 + spread) * np.cos(turn),
                ],
                1,
            )
        )
    vertices = np.concatenate(rows).astype(np.float32)
    mesh = vertices, grid(4, 18, False)
    return replace(attached(body, mesh, "neck02", fabric, "torso", vertices * 0 + [0, 9, -2]), trim=True)


def wear_shoes(outfit: Outfit, name: str, colours: tuple[Colour, Colour], sock: Colour) -> None:
    """Put on shoes, and socks if the asset has them."""
    body, shape = outfit.body, outfit.shape
    asset = body.assets.cloth(name)
    counts = np.bincount(asset.component)
    sock_parts = np.where(counts == 144)[0]  # the assets' socks have 144 vertices each
    is_sock = np.isin(asset.component, sock_parts)
    shoe = Material(CLOTH, colours[0], colours[1], pattern="sole", gloss=0.12, folds=0.15)
    outfit.pieces.append(fitted(body, shape, name, shoe, ~is_sock, 0.02))
    outfit.pieces[-1].part[:] = PART["feet"]
    if is_sock.any():
        outfit.pieces.append(fitted(body, shape, name, Material(CLOTH, sock, folds=0.2), is_sock))
    outfit.hides |= (body.foot > 0.5) & (body.leg_t > 0.98)


def draw_top(rng: np.random.Generator, table: dict[str, Top], man: bool) -> str:
    """Draw a name from `TOPS` or `COATS`, as often as men or women wear it."""
    weights = np.array([top.weight[0 if man else 1] for top in table.values()], float)
    return list(table)[int(rng.choice(len(weights), p=weights / weights.sum()))]


def draw_fabric(rng: np.random.Generator, spec: Top) -> Material:
    """Draw the cloth of a top."""
    return cloth(rng, spec.use, spec.patterns, spec.folds)
