"""The probe's person drawn again with one thing changed: what does a bag, a coat or the light cost a search?

Only a generator can be asked this; no photograph can. Each shipped whole probe is set up again as it was, so that pose,
place, camera and noise are the same, and one thing is changed. The other end of the scale is another person in the same
photograph: all is as it was but the person.
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
STRANGER = "another person"  # the change that all others are measured by
AGAIN = "nothing but the camera's noise"
UNPICTURED = (STRANGER, AGAIN, "seen from the other side")  # left out of the strip
LIGHTS = {True: ("warm lamps", "white lamps"), False: ("sunny", "overcast", "low sun", "dusk")}  # by indoors
SAME_PICTURE = 10.0  # most mean difference, of 255, between a shipped probe and the same one rendered here


@dataclass(frozen=True, eq=False)
class Variant:
    """One picture of a person with one thing changed."""

    change: str  # row of the table
    words: str  # for a caption: "the same woman without her bag"
    setup: Setup


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a changed picture finds, beside the untouched one."""

    pid: int
    change: str
    words: str
    image: np.ndarray  # (256, 128, 3) uint8
    alike: float  # similarity of the changed picture and the untouched one
    fall: float  # of the similarity to the person's best gallery image
    rank: tuple[int, int]  # of the right person, before and after


@dataclass(frozen=True)
class Row:
    """One change over all people to whom it applies."""

    change: str
    num_people: int
    alike: Interval  # similarity to the untouched picture
    share: float  # of the way from the same picture to another person, 0 to 1
    fall: Interval  # of the similarity to the person's best gallery image
    first: Interval  # share of people still found first
    mean_rank: float
    first_before: float  # share of the same people found first before


@dataclass(frozen=True)
class Counterfactuals:
    """What was measured."""

    fingerprint: str  # of the weights
    num_people: int
    seed: int
    rows: tuple[Row, ...]  # the costliest first

    def table(self) -> str:
        """Write the rows as a Markdown table."""
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
    """A person of the gallery and the photograph that is changed."""

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
    """Yield a look with one thing changed: the row of the table, words for a caption, and the look."""
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
    """Yield the photograph of a person with one thing changed after another."""
    setup, said = subject.setup, subject.words
    yield Variant(
        AGAIN, f"{said}, photographed twice", replace(setup, sensor=np.random.default_rng(rng.integers(2**31)))
    )
    for change, words, look in looks_changed(subject.person.look, rng):
        yield Variant(change, f"{said} {words}", setup.changed(Person(studio.body, look)))
    place = setup.place
    names = [name for name in LIGHTS[place.scene.indoors] if name != place.scene.light]
    name = str(rng.choice(names))
    lit = replace(setup, place=replace(place, light=light(name, place.camera.azimuth + 120)))
    yield Variant("another light", f"{said} in another light ({name})", lit)
    number = int(rng.choice([c for c in range(1, 15) if studio.place(c) is not place]))
    moved = setup.changed(place=studio.place(number))
    yield Variant("another camera and place", f"{said} under another camera", moved)
    yield Variant("seen from the side", f"{said} from the side", setup.changed(turn=np.pi / 2))
    yield Variant("seen from the other side", f"{said} from the other side", setup.changed(turn=np.pi))
    yield Variant(STRANGER, "another person, in the same photograph", setup.changed(stranger))


def arranged(studio: Studio, plan: Plan, index: int) -> Setup | None:
    """Set up the whole probe of a person of the shipped gallery again; `None` if somebody else stands by."""
    ordered = list(orders(plan, index, np.random.default_rng([plan.seed, 4, index])))
    number, order = next((i, order) for i, (split, order) in enumerate(ordered) if split == "query")
    if order.company:
        return None
    person = Person(studio.body, identity(plan.seed, index))
    return studio.arrange(person, order, np.random.default_rng([plan.seed, 5, index, number]))


def outcomes(engine: Engine, studio: Studio, plan: Plan, index: int, seed: int) -> list[Outcome]:
    """Photograph a person of the gallery again and again, and search with each picture; untouched first.

    Raises:
        DatasetError: what is rendered here is not the shipped probe.
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
            f"Person {pid} of this gallery is not the one that is rendered here. Use the gallery that ships with these "
            "weights, and the assets that it was made from."
        )


def study(
    engine: Engine,
    studio: Studio,
    count: int = 70,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Counterfactuals, list[Outcome]]:
    """Photograph `count` people of the shipped gallery, drawn by `seed`; return the table, and every picture."""
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
