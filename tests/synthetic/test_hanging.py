"""Layers of cloth, measured on posed meshes; needs the assets but no OpenGL."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import cKDTree

from reid_demo.synthetic.body import PART
from reid_demo.synthetic.fabrics import HAIR
from reid_demo.synthetic.people import Person, identity

PLACES = ("torso", "left_leg", "right_leg")


@pytest.fixture
def dressed(body):
    """Return a function that makes people in the named clothes who differ in everything else."""

    def make(index, **clothes):
        look = identity(9, index)
        red = replace(look.top_cloth, a=(0.9, 0, 0), pattern="solid")
        return Person(
            body,
            replace(
                look,
                top_cloth=red,
                coat_cloth=replace(red, a=(0, 0.9, 0)),
                bottom_cloth=replace(red, a=(0, 0, 0.9)),
                bag="none",
                scarf=False,
                tucked=False,
                **clothes,
            ),
        )

    return make


def visible(person, colour):
    """Return a mask of the vertices of cloth of one colour, without sleeves and parts that the shader cuts off."""
    clips = [m.clip for m in person.materials]
    hems, waists = (np.array([getattr(clip, name) for clip in clips])[person.surface] for name in ("hem", "waist"))
    mine = np.array([m.a == colour for m in person.materials])[person.surface] & (person.sleeve < 0.05)
    mine &= np.isin(person.part, [PART[name] for name in PLACES]) & (person.coords[:, 1] >= hems - 0.1)
    return mine & np.isin(np.arange(len(person.rest)), person.triangles) & (person.coords[:, 1] <= waists)


def cloth(person, posed, colour):
    """Return the vertices in dm of `visible` cloth."""
    return 10 * posed.vertices[visible(person, colour)]


def round_and_height(points, axis):
    """Return the angle about a vertical axis, the height, and the distance from the axis."""
    flat = points[:, [0, 2]] - axis
    return np.stack([np.arctan2(flat[:, 0], flat[:, 1]), points[:, 1]], 1), np.linalg.norm(flat, axis=1)


def outside(inner, outer):
    """Return the fraction of the inner cloth's vertices outside the outer cloth, up to 1.5 dm above the outer hem."""
    hem = outer[:, 1].min()
    low = outer[outer[:, 1] < hem + 1.5][:, [0, 2]]
    axis = (low.min(0) + low.max(0)) / 2
    inner = inner[(inner[:, 1] > hem + 0.15) & (inner[:, 1] < hem + 1.5)]
    places, radius = round_and_height(outer, axis)
    wrapped = np.concatenate([places + [turn, 0] for turn in (-2 * np.pi, 0, 2 * np.pi)])
    reach = LinearNDInterpolator(wrapped, np.tile(radius, 3))
    places, radius = round_and_height(inner, axis)
    return float((radius > reach(places)).mean())


@pytest.mark.parametrize("bottom", ["skirt", "long skirt", "trousers", "shorts"])
@pytest.mark.parametrize("coat", ["jacket", "puffer", "parka", "none"])
def test_what_is_worn_over_stays_outside_of_what_is_within(dressed, coat, bottom):
    shares = []
    for index in (1, 7):
        person = dressed(index, top="sweater", coat=coat, bottom=bottom)
        for seed, pose in enumerate(("walk", "stand")):
            posed = person.pose(np.random.default_rng(seed), pose)
            over = cloth(person, posed, (0.9, 0, 0) if coat == "none" else (0, 0.9, 0))
            shares.append(outside(cloth(person, posed, (0, 0, 0.9)), over))
    assert np.mean(shares) < 0.01


@pytest.mark.parametrize("coat", ["puffer", "parka", "coat"])
def test_the_hem_of_a_coat_is_even_all_round(dressed, coat):
    """It neither follows the groin nor rises over the thighs."""
    for index in (1, 2):
        person = dressed(index, top="t-shirt", coat=coat, bottom="trousers")
        posed = person.pose(np.random.default_rng(index), "walk")
        points = cloth(person, posed, (0, 0.9, 0))
        turn = round_and_height(points, points[:, [0, 2]].mean(0))[0][:, 0]
        sector = ((turn + np.pi) / (2 * np.pi) * 12).astype(int) % 12
        lowest = [points[sector == k, 1].min() for k in range(12)]
        assert np.ptp(lowest) < 0.5


def test_coats_differ_in_length(dressed):
    """A parka ends on the thigh, a coat nearer to the knee."""
    lengths = {}
    for coat in ("puffer", "parka", "coat"):
        person = dressed(2, top="t-shirt", coat=coat, bottom="trousers")
        posed = person.pose(np.random.default_rng(0), "stand")
        lengths[coat] = cloth(person, posed, (0, 0.9, 0))[:, 1].min()
    assert lengths["puffer"] > lengths["parka"] + 0.5 > lengths["coat"] + 0.7


def test_long_hair_lies_on_the_coat(dressed):
    person = dressed(3, top="t-shirt", coat="parka", bottom="trousers", hair="long", hat="none")
    hair = np.array([m.kind == HAIR for m in person.materials])[person.surface]
    coat = visible(person, (0, 0.9, 0))
    for seed in range(3):
        posed = person.pose(np.random.default_rng(seed), "walk")
        low = posed.vertices[hair & (posed.vertices[:, 1] < posed.vertices[coat, 1].max() - 0.15)]
        nearest = np.flatnonzero(coat)[cKDTree(posed.vertices[coat]).query(low)[1]]
        height = ((low - posed.vertices[nearest]) * posed.normals[nearest]).sum(1)
        assert len(low)
        assert (height > -0.005).mean() > 0.95
