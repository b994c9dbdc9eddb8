"""Render the probe's person again with one thing changed: what does a bag, a coat or the light cost a search?

Only a renderer can answer this. Each shipped whole probe is set up as it was, with the same pose, place, camera and
noise, and one thing is changed. The far end of the scale is another person in the same photograph.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from reid_demo.data.counterfactuals import LISTING, Changed
from reid_demo.engine import Engine
from reid_demo.errors import DatasetError
from reid_demo.images import read_image, through_jpeg
from reid_demo.measuring import intervals
from reid_demo.measuring.intervals import Interval
from reid_demo.records import Descriptor
from reid_demo.search import similarity
from reid_demo.synthetic import garments
from reid_demo.synthetic.capture import Setup, Studio
from reid_demo.synthetic.dataset import FIRST_PID, Plan, orders
from reid_demo.synthetic.people import Look, Person, identity, skin_at, vary
from reid_demo.synthetic.scenes import light

SHIPPED = Plan(ids=170, images_per_id=6, test_ids=170, absent=60, seed=11, jpeg_quality=82)  # docs/synthetic.md
STRANGER = "another person"  # the change that all others are compared with
AGAIN = "nothing but the camera's noise"
UNPICTURED = (STRANGER, AGAIN, "seen from the other side")  # left out of the strip
LIGHTS = {True: ("warm lamps", "white lamps"), False: ("sunny", "overcast", "low sun", "dusk")}  # indoors, outdoors
SAME_PICTURE = 10.0  # largest mean difference, of 255, between a shipped probe and the same one rendered here


@dataclass(frozen=True, eq=False)
class Variant:
    """A photograph to take, with one thing changed."""

    change: str  # row of the table; "" for the untouched photograph
    words: str  # for a caption: "the same woman without her bag"
    setup: Setup


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a search with a changed picture finds, compared with the untouched one."""

    pid: int
    change: str  # as in `Variant`
    words: str  # as in `Variant`
    image: np.ndarray  # (256, 128, 3) uint8
    alike: float  # similarity of the changed and the untouched picture
    fall: float  # of the similarity to the person's best gallery image; negative if it rises
    rank: tuple[int, int]  # of the person, before and after


@dataclass(frozen=True)
class Row:
    """One change, over all people to whom it applies."""

    change: str
    num_people: int
    alike: Interval  # similarity to the untouched picture
    share: float  # of the fall of that similarity which another person would cause
    fall: Interval  # of the similarity to the person's best gallery image
    first: Interval  # share of people found first after the change
    mean_rank: float  # after the change
    first_before: float  # share of the same people found first before it


@dataclass(frozen=True)
class Counterfactuals:
    """The result of `study`."""

    fingerprint: str  # of the weights
    num_people: int
    seed: int
    rows: tuple[Row, ...]  # least alike first

    def table(self) -> str:
        """Format the rows as a Markdown table."""
        head = ("changed", "people", "similarity to the untouched picture", "share of another person")
        head += ("fall against the person's best image", "R-1 before", "R-1 after", "mean rank after")
        rows = [
            (r.change, r.num_people, r.alike, f"{r.share:.0%}", r.fall, f"{r.first_before:.0%}", r.first.percent)
            + (f"{r.mean_rank:.1f}",)
            for r in self.rows
        ]
        return intervals.table(head, rows)


@dataclass(frozen=True, eq=False)
class _Subject:
    """A person of the gallery, and the photograph to change."""

    index: int  # in the plan
    person: Person
    setup: Setup

    @property
    def pid(self) -> int:
        return FIRST_PID + self.index

    @property
    def words(self) -> str:
        return "the same woman" if self.person.look.woman else "the same man"


def looks_changed(look: Look, rng: np.random.Generator) -> Iterator[tuple[str, str, Look]]:
    """Yield (row of the table, words for a caption, look) for each thing that can be changed about a look."""
    her = "her" if look.woman else "his"
    if look.bag == "none":
        yield "a bag put on", "with a bag", replace(vary(look, "bag", rng), gait=look.gait)
    else:
        yield "the bag taken off", f"without {her} bag", replace(look, bag="none")
    if look.coat == "none":
        coat = "jacket"
        cloth = garments.draw_fabric(rng, garments.COATS[coat])
        yield "a jacket put on", "with a jacket", replace(look, coat=coat, coat_cloth=cloth)
    else:
        yield "the coat or jacket taken off", f"without {her} {look.coat}", replace(look, coat="none")
    yield "other shoes", "with other shoes", replace(vary(look, "shoes", rng), gait=look.gait)
    other = vary(look, "hair", rng)
    yield "other hair", "with other hair", replace(look, hair=other.hair, hair_colour=other.hair_colour)
    build = "heavier build" if look.build.weight < 0.5 else "lighter build"
    yield build, f"of {build}", replace(vary(look, "build", rng), gait=look.gait)
    dark = float(np.mean(look.skin)) < 0.52
    skin = "lighter skin" if dark else "darker skin"
    yield skin, f"with {skin}", replace(look, skin=skin_at(1.0 if dark else 6.5))


def variants(studio: Studio, subject: _Subject, stranger: Person, rng: np.random.Generator) -> Iterator[Variant]:
    """Yield a person's photograph with each thing changed in turn, `STRANGER` last."""
    setup, who = subject.setup, subject.words
    yield Variant(
        AGAIN, f"{who}, photographed twice", replace(setup, sensor=np.random.default_rng(rng.integers(2**31)))
    )
    for change, words, look in looks_changed(subject.person.look, rng):
        yield Variant(change, f"{who} {words}", setup.changed(Person(studio.body, look)))
    place = setup.place
    names = [name for name in LIGHTS[place.scene.indoors] if name != place.scene.light]
    name = str(rng.choice(names))
    lit = replace(setup, place=replace(place, light=light(name, place.camera.azimuth + 120)))
    yield Variant("another light", f"{who} in another light ({name})", lit)
    number = int(rng.choice([c for c in range(1, 15) if studio.place(c) is not place]))
    moved = setup.changed(place=studio.place(number))
    yield Variant("another camera and place", f"{who} under another camera", moved)
    yield Variant("seen from the side", f"{who} from the side", setup.changed(turn=np.pi / 2))
    yield Variant("seen from the other side", f"{who} from the other side", setup.changed(turn=np.pi))
    yield Variant(STRANGER, "another person, in the same photograph", setup.changed(stranger))


def arranged(studio: Studio, plan: Plan, index: int) -> Setup | None:
    """Set up the whole probe of the plan's person `index` as it was; `None` if it shows somebody else as well."""
    ordered = list(orders(plan, index, np.random.default_rng([plan.seed, 4, index])))
    number, order = next((i, order) for i, (split, order) in enumerate(ordered) if split == "query")
    if order.company:
        return None
    person = Person(studio.body, identity(plan.seed, index))
    return studio.arrange(person, order, np.random.default_rng([plan.seed, 5, index, number]))


def outcomes(engine: Engine, studio: Studio, plan: Plan, index: int, seed: int) -> list[Outcome]:
    """Photograph a person of the gallery untouched and with each change, and search with every picture.

    Args:
        engine: over the shipped gallery.
        studio: with the assets and the seed of the plan.
        plan: of the shipped gallery.
        index: of the person in the plan, from 0.
        seed: of the changes.

    Returns:
        One outcome for each picture, the untouched one first; none if the probe shows somebody else as well.

    Raises:
        DatasetError: the untouched picture is not the shipped probe.
    """
    setup = arranged(studio, plan, index)
    if setup is None:
        return []
    subject = _Subject(index, setup.actor.person, setup)
    stranger = Person(studio.body, identity(plan.seed, (index + plan.ids // 2) % plan.ids))
    rng = np.random.default_rng([seed, 6, index])
    drawn = [Variant("", subject.words, setup), *variants(studio, subject, stranger, rng)]
    pictures = [through_jpeg(studio.take(variant.setup).image, plan.jpeg_quality) for variant in drawn]
    _check_shipped(engine, subject.pid, pictures[0])
    probes = engine.describer.describe(pictures)
    right = np.flatnonzero(engine.gallery.identities.show(subject.pid))
    scores = engine.gallery.scores_of(probes, engine.default_scoring)
    best = scores[:, right].max(axis=1)
    ranks = 1 + (scores > best[:, None]).sum(axis=1)
    alike = _alike(engine, probes)
    return [
        Outcome(
            pid=subject.pid,
            change=variant.change,
            words=variant.words,
            image=picture,
            alike=float(alike[i]),
            fall=float(best[0] - best[i]),
            rank=(int(ranks[0]), int(ranks[i])),
        )
        for i, (variant, picture) in enumerate(zip(drawn, pictures, strict=True))
    ]


def _alike(engine: Engine, probes: list[Descriptor]) -> np.ndarray:
    parts, presence = np.stack([p.parts for p in probes]), np.stack([p.presence for p in probes])
    values = similarity.similarity_matrix(parts, presence, parts[:1], presence[:1], engine.default_scoring)
    return values[:, 0]


def _check_shipped(engine: Engine, pid: int, picture: np.ndarray) -> None:
    shipped = next((e for e in engine.probes if e.kind == "whole" and e.pid == pid), None)
    if shipped is None or np.abs(read_image(shipped.path).astype(float) - picture).mean() > SAME_PICTURE:
        raise DatasetError(
            f"Person {pid} is rendered differently from this gallery's probe. Use the shipped gallery, and the release "
            "of the assets that it was made from (docs/synthetic.md)."
        )


def study(
    engine: Engine,
    studio: Studio,
    count: int = 70,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Counterfactuals, list[Outcome]]:
    """Photograph `count` people of the shipped gallery, drawn by `seed`; return the measured rows and every outcome.

    Args:
        engine: over the shipped gallery.
        studio: with the assets and the seed of `SHIPPED`.
        count: most people to draw.
        seed: of the draw and of the changes; the same seed gives the same result.
        progress: called with (people done, people in all).

    Raises:
        DatasetError: a person is rendered differently from the shipped probe.
    """
    plan, found, done = SHIPPED, [], 0
    for index in np.random.default_rng(seed).permutation(plan.ids):
        one = outcomes(engine, studio, plan, int(index), seed)
        found += one
        done += bool(one)
        progress(done, count)
        if done == count:
            break
    changed = [outcome for outcome in found if outcome.change]
    strangers = 1 - np.mean([o.alike for o in changed if o.change == STRANGER])
    names = sorted({outcome.change for outcome in changed})
    rows = [_row([o for o in changed if o.change == name], float(strangers)) for name in names]
    rows.sort(key=lambda row: row.alike.value)
    return Counterfactuals(engine.gallery.fingerprint, done, seed, tuple(rows)), found


def _row(found: list[Outcome], strangers: float) -> Row:
    alike = intervals.bootstrap([o.alike for o in found])
    return Row(
        change=found[0].change,
        num_people=len(found),
        alike=alike,
        share=round((1 - alike.value) / strangers, 4),
        fall=intervals.bootstrap([o.fall for o in found]),
        first=intervals.wilson(sum(o.rank[1] == 1 for o in found), len(found)),
        mean_rank=round(float(np.mean([o.rank[1] for o in found])), 2),
        first_before=round(float(np.mean([o.rank[0] == 1 for o in found])), 4),
    )


def strip(found: list[Outcome], folder: Path, people: int = 4) -> list[Changed]:
    """Write small pictures of the first people that `study` drew, each untouched and with each change but `UNPICTURED`.

    Neither people nor changes are chosen by what they cost, so other weights write the same pictures.

    Args:
        found: as `study` returns it.
        folder: for the WebP files and their listing; made if missing.
        people: most people.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pids = list(dict.fromkeys(outcome.pid for outcome in found))[:people]
    listed = []
    for outcome in found:
        if outcome.pid not in pids or outcome.change in UNPICTURED:
            continue
        number = sum(row.pid == outcome.pid for row in listed)
        listed.append(Changed(f"{outcome.pid}_{number}.webp", outcome.pid, outcome.change, outcome.words))
        Image.fromarray(outcome.image).save(folder / listed[-1].path, quality=84, method=6)
    lines = "".join(json.dumps(asdict(row)) + "\n" for row in listed)
    (folder / LISTING).write_text(lines, encoding="utf-8")
    return listed
