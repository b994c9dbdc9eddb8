"""Render a data set of synthetic people in the layout of Market-1501, with ground truth and a data card."""

import json
import multiprocessing
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from reid_demo.data.files import write_whole
from reid_demo.data.ground_truth import TRUTH_FILE, Truth, to_line, write_truth
from reid_demo.data.people_file import PEOPLE, write_people
from reid_demo.errors import SyntheticError
from reid_demo.images import encode_jpeg
from reid_demo.synthetic.assets import load_assets
from reid_demo.synthetic.body import ANCESTRIES, Body
from reid_demo.synthetic.capture import CROPS, Order, Studio
from reid_demo.synthetic.looks import level, row_of
from reid_demo.synthetic.people import Look, Person, identity
from reid_demo.synthetic.renderer import create_context
from reid_demo.synthetic.scenes import CAMERAS

FIRST_PID = 20001
SPLITS = ("bounding_box_train", "query", "bounding_box_test", "query_occluded", "query_partial", "absent")
WORK = ".unfinished"
SPAWN = multiprocessing.get_context("spawn")  # an OpenGL context does not survive a fork
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Mishaps:
    """What goes wrong in ordinary photographs, as fractions of them, and the number of cameras and bystanders."""

    thing: float = 0.12  # a thing in front
    person: float = 0.07  # another person in front
    cut: float = 0.06  # the frame cuts the person
    both: float = 0.0  # another person in front, and cut
    company: float = 0.14  # another person near by, with or without any of the above
    careless: float = 0.08  # the detector's box is far off
    cameras: int = len(CAMERAS)
    bystanders: int = 24  # number of different ones


ORDINARY = Mishaps()
HARD = Mishaps(thing=0.12, person=0.2, cut=0.1, both=0.04, company=0.3, careless=0.14, cameras=42, bystanders=72)


@dataclass(frozen=True)
class Plan:
    """Everything that determines a data set; the same plan yields the same bytes."""

    ids: int
    images_per_id: int
    test_ids: int
    absent: int
    seed: int
    jpeg_quality: int = 92
    hard: bool = False  # use `HARD` instead of `ORDINARY`

    @property
    def mishaps(self) -> Mishaps:
        """What goes wrong in this set's photographs."""
        return HARD if self.hard else ORDINARY

    @property
    def everyone(self) -> int:
        """The number of people, including those in no gallery."""
        return self.ids + self.absent

    def role(self, index: int) -> str:
        """Return the role of a person: "train", "test" or "absent"."""
        return "train" if index < self.ids - self.test_ids else "test" if index < self.ids else "absent"


@dataclass(frozen=True)
class Wanted:
    """The options of a data set; `plan` checks them and fills in defaults."""

    ids: int  # people for training and test together
    images_per_id: int = 10  # training images of a training person, gallery images of a test person
    test_fraction: float = 0.2  # fraction of the people for test; nobody is in both
    absent: int | None = None  # people in no gallery, with one whole probe each; None: a tenth of the test people
    seed: int = 0  # the same seed yields the same images with any number of workers
    jpeg_quality: int = 92  # 1 to 100, of the stored files; the camera's own compression comes before
    hard: bool = False  # more people in front, more cuts, looser boxes, and three times as many cameras

    def plan(self) -> Plan:
        """Return the plan of this data set.

        Raises:
            SyntheticError: a value out of range.
        """
        if self.ids < 1 or self.images_per_id < 1 or not 0 <= self.test_fraction <= 1:
            raise SyntheticError("ids and images-per-id must be at least 1, and the test fraction from 0 to 1.")
        if (self.absent or 0) < 0 or self.seed < 0:
            raise SyntheticError("absent and seed must not be negative.")
        if not 1 <= self.jpeg_quality <= 100:
            raise SyntheticError(f"The JPEG quality is from 1 to 100, not {self.jpeg_quality}.")
        test_ids = round(self.ids * self.test_fraction)
        return Plan(
            ids=self.ids,
            images_per_id=self.images_per_id,
            test_ids=test_ids,
            absent=round(test_ids / 10) if self.absent is None else self.absent,
            seed=self.seed,
            jpeg_quality=self.jpeg_quality,
            hard=self.hard,
        )


def synthesize(assets: Path, out: Path, wanted: Wanted, *, workers: int = 0, cutouts: bool = True) -> dict:
    """Render a data set. Re-run to resume.

    Args:
        assets: the folder of MakeHuman assets, with `base` and `data`.
        out: the data set's folder: new, empty, or started with the same options.
        wanted: its options.
        workers: processes; 0 is one per core.
        cutouts: whether to write `occluders/` too.

    Returns:
        Counts by folder, the folder's name and the seed.

    Raises:
        SyntheticError: an argument out of range, unusable assets, no renderer, or `out` holds another data set.
    """
    if workers < 0:
        raise SyntheticError("workers must not be negative.")
    plan = wanted.plan()
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, plan)
    if not (out / TRUTH_FILE).is_file():
        finished = {int(path.stem) for path in (out / WORK).glob("*.jsonl")}
        for split in SPLITS:
            (out / split).mkdir(exist_ok=True)
        _render_all(assets, out, plan, [index for index in range(plan.everyone) if index not in finished], workers)
        if cutouts:
            from reid_demo.synthetic.cutouts import write_cutouts

            write_cutouts(_studio(assets, plan), out / "occluders")
        _gather(out, plan)
    if not (out / PEOPLE).is_file():  # sets from before this file get it too: looks follow from seed and number
        write_people(out / PEOPLE, people_of(plan))
    counts = {split: sum(1 for _ in (out / split).glob("*.jpg")) for split in SPLITS}
    (out / "README.md").write_text(data_card(plan, counts), encoding="utf-8")
    return {**counts, "out": out.name, "seed": plan.seed}


def people_of(plan: Plan) -> Iterator[dict]:
    """Yield who the people of a data set are, the rows of its `people.jsonl.gz`; draws no picture."""
    return (row_of(FIRST_PID + index, identity(plan.seed, index)) for index in range(plan.everyone))


def _gather(out: Path, plan: Plan) -> None:
    """Put everyone's ground truth into one file, by image name, and remove the working folder."""
    lines = [line for i in range(plan.everyone) for line in _lines(out / WORK / f"{i}.jsonl")]
    write_truth(out / TRUTH_FILE, sorted(lines, key=lambda line: json.loads(line)["image"]))
    shutil.rmtree(out / WORK)


def _claim(out: Path, plan: Plan) -> None:
    """Write the plan into the folder, or check that it equals the one there."""
    path, wanted = out / "plan.json", vars(plan)
    if path.is_file():
        try:
            found = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise SyntheticError(f"plan.json in {str(out)!r} is damaged; choose another folder.") from error
        if {"hard": False, **found} != wanted:  # plans of before `hard` came do not name it
            raise SyntheticError(f"{str(out)!r} holds another data set ({found}); choose another folder.")
    elif any(out.iterdir()):
        raise SyntheticError(f"{str(out)!r} is not empty and was not made by this command; choose another folder.")
    else:
        write_whole(path, json.dumps(wanted, indent=2) + "\n")
    if not (out / TRUTH_FILE).is_file():
        (out / WORK).mkdir(exist_ok=True)
    else:  # of a run that was stopped while it tidied up
        shutil.rmtree(out / WORK, ignore_errors=True)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _studio(assets: Path, plan: Plan) -> Studio:
    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa draws in this thread
    cv2.setNumThreads(1)
    return Studio(Body(load_assets(assets)), plan.seed, min(plan.mishaps.bystanders, max(4, plan.ids // 6)))


_worker: dict = {}  # of a worker process: its studio, folder and plan


def _start(assets: Path, out: Path, plan: Plan) -> None:
    _worker.update(studio=_studio(assets, plan), out=out, plan=plan)


def _work(index: int) -> int:
    render_identity(_worker["studio"], _worker["out"], _worker["plan"], index)
    return index


@contextmanager
def one_core_each() -> Iterator[None]:
    """Let the processes that `SPAWN` starts do their linear algebra in one thread.

    A library reads these variables as it is loaded, so a worker would set them too late. With a thread a core in every
    worker, they wait for each other: two workers were seen to take 8.6 s a person instead of 0.8.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _render_all(assets: Path, out: Path, plan: Plan, todo: list[int], workers: int) -> None:
    from tqdm import tqdm

    if not todo:
        return
    workers = min(workers or _cores(), len(todo))
    load_assets(assets)  # fails here, not in a worker, if the folder is wrong
    create_context().release()  # so does this without a renderer: a pool starts a worker that died anew for ever
    with tqdm(total=plan.everyone, initial=plan.everyone - len(todo), unit="person", file=sys.stderr) as bar:
        if workers == 1:
            _start(assets, out, plan)
            for index in todo:
                _work(index)
                bar.update()
            _worker.pop("studio").renderer.close()
            return
        with one_core_each(), SPAWN.Pool(workers, _start, (assets, out, plan)) as pool:
            for _ in pool.imap_unordered(_work, todo):
                bar.update()


def orders(plan: Plan, index: int, rng: np.random.Generator) -> Iterator[tuple[str, Order]]:
    """Yield the folder and the `Order` of each photograph of a person."""
    mishaps, role = plan.mishaps, plan.role(index)
    cams = [int(c) + 1 for c in rng.permutation(mishaps.cameras)]
    if role == "absent":
        yield "absent", Order(cams[0], careless=mishaps.careless)
        return
    spread = min(max(2, round(plan.images_per_id * (1.0 if plan.hard else 0.7))), len(cams) - 3)
    split = "bounding_box_train" if role == "train" else "bounding_box_test"
    for k in range(plan.images_per_id):
        yield split, _ordinary(cams[k % spread], mishaps, rng, 1.0 if role == "train" else 0.5)
    if role == "test":
        yield "query", Order(cams[-1], company=bool(rng.random() < 0.1), careless=mishaps.careless)
        hide = "person" if rng.random() < 0.4 else "object"
        yield "query_occluded", Order(cams[-2], hide=hide, careless=mishaps.careless)
        crop = CROPS[int(rng.choice(4, p=[0.4, 0.24, 0.18, 0.18]))]
        yield "query_partial", Order(cams[-3], crop=crop, careless=mishaps.careless)


def _ordinary(camid: int, mishaps: Mishaps, rng: np.random.Generator, share: float) -> Order:
    """Draw what goes wrong in an ordinary photograph, mostly nothing; `share` scales the probability."""
    draw, company = rng.random() / share, bool(rng.random() < mishaps.company)
    hide = crop = ""
    hidden = mishaps.thing + mishaps.person
    if draw < mishaps.thing:
        hide = "object"
    elif draw < hidden:
        hide = "person"
    elif draw < hidden + mishaps.cut:
        crop = CROPS[int(rng.integers(4))]
    elif draw < hidden + mishaps.cut + mishaps.both:
        hide, crop = "person", CROPS[int(rng.integers(4))]
    return Order(camid, hide, crop, company, mishaps.careless)


def render_identity(studio: Studio, out: Path, plan: Plan, index: int) -> None:
    """Write every photograph of one person, then their ground truth."""
    person, pid = Person(studio.body, identity(plan.seed, index)), FIRST_PID + index
    rng = np.random.default_rng([plan.seed, 3, index])
    lines, frame = [], int(rng.integers(100, 2000))
    for number, (split, order) in enumerate(orders(plan, index, np.random.default_rng([plan.seed, 4, index]))):
        shot = studio.shoot(person, order, np.random.default_rng([plan.seed, 5, index, number]))
        frame += int(rng.integers(25, 400))
        name = f"{split}/{pid}_c{order.camid}s1_{frame:06d}_00.jpg"
        (out / name).write_bytes(encode_jpeg(shot.image, plan.jpeg_quality))
        known = {key: value for key, value in vars(shot).items() if key != "image"}
        lines.append(to_line(Truth(image=name, pid=pid, camid=order.camid, sequence=1, frame=frame, **known)))
    done = out / WORK / f"{index}.jsonl"
    done.with_suffix(".part").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done.with_suffix(".part").replace(done)


def balance(looks: list[Look]) -> dict[str, dict[str, float]]:
    """Return the fraction of people by sex, ancestry, age, skin, build and clothes."""

    def share(values: list[str]) -> dict[str, float]:
        return {name: count / len(values) for name, count in Counter(values).most_common()}

    return {
        "body": share(["female" if look.woman else "male" for look in looks]),
        "main ancestry": share([ANCESTRIES[int(np.argmax(look.build.ancestry))] for look in looks]),
        "age": share([level("age", look.build.age) for look in looks]),
        "skin": share([level("skin", float(np.mean(look.skin))) for look in looks]),
        "weight": share([level("weight", look.build.weight) for look in looks]),
        "outer wear": share([look.coat for look in looks]),
        "lower body": share([look.bottom for look in looks]),
        "bag": share([look.bag for look in looks]),
    }


def data_card(plan: Plan, counts: dict[str, int]) -> str:
    """Return the data card of a data set as Markdown."""
    looks = [identity(plan.seed, index) for index in range(plan.everyone)]
    measured = balance(looks)
    lines = [
        "# Synthetic pedestrians",
        "",
        f"{sum(counts.values()):,} images, 256 x 128, of {plan.everyone:,} people who do not exist, seen by "
        f"{plan.mishaps.cameras} cameras in {len({camera.scene for camera in CAMERAS})} kinds of place. Licence: CC0 "
        "1.0, as the MakeHuman assets that the bodies are made from.",
        "",
        "## How it was made",
        "",
        "`python -m reid_demo synthesize` dresses and poses bodies and renders them with shadows, things in the way, "
        f"detector-like boxes and each camera's own colours, blur and noise. Seed {plan.seed}; the same seed gives the "
        "same images. Layout and names are those of Market-1501.",
        "",
        "| folder | images | holds |",
        "| --- | ---: | --- |",
    ]
    meaning = {
        "bounding_box_train": "training people",
        "query": "one whole probe of each test person",
        "bounding_box_test": "the gallery: test people, from cameras other than their probes'",
        "query_occluded": "probes with somebody or something in front",
        "query_partial": "probes that the frame cuts",
        "absent": "whole probes of people who are in no gallery",
    }
    lines += [f"| `{split}` | {counts[split]:,} | {meaning[split]} |" for split in SPLITS]
    lines += [
        "",
        f"`{TRUTH_FILE}` has for each image the camera, pose, whole box, and each body part's mask and visible "
        "fraction; read it with `reid_demo.data.ground_truth.read_truth`. "
        f"`{PEOPLE}` says of each person build, age, skin, hair, dress and what is carried "
        "(`reid_demo.data.people_file.read_people`). `occluders/` has cut-outs with transparency.",
        "",
        "## Who is in it, measured",
        "",
        "Sex and main ancestry are drawn in turn, so that they are balanced; the rest is drawn by tables.",
        "",
    ]
    for name, shares in measured.items():
        lines.append(f"- {name}: " + ", ".join(f"{key} {100 * value:.0f} %" for key, value in shares.items()))
    if len(looks) < 60:
        verdict = "Too few people to check for balance."
    elif max(measured["body"].values()) <= 0.6 and max(measured["main ancestry"].values()) <= 0.45:
        verdict = "Checked: neither sex is above 60 %, no main ancestry above 45 %."
    else:
        verdict = "NOT balanced: a sex is above 60 % or a main ancestry above 45 %; draw another seed."
    lines += [
        "",
        verdict,
        "",
        "## Limits",
        "",
        "Faces, hands and cloth are simple; there are no children, wheelchairs, bicycles or animals, and few kinds of "
        "dress from outside Europe and North America. Groups of up to four people dress alike on purpose. Good for "
        "testing and for a start of training; a figure measured here says little about real streets.",
    ]
    return "\n".join(lines) + "\n"
