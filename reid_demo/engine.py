"""`Engine`: the demo's verbs - describe, search, explain, what_if, sweep. Read-only after load, no request state."""

import copy
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from reid_demo import occlude
from reid_demo.config import variant_name
from reid_demo.data.files import read_json
from reid_demo.data.probes import FOLDER, LISTING, read_probes
from reid_demo.errors import GalleryError, WeightsError
from reid_demo.images import read_image
from reid_demo.model import checkpoint, runtimes
from reid_demo.model.describer import Describer
from reid_demo.records import (
    WEIGHINGS,
    Descriptor,
    Explanation,
    Match,
    Occlusion,
    Scoring,
    WhatIf,
    same_camera,
    same_person,
)
from reid_demo.search import bundled, milvus
from reid_demo.search import gallery as galleries
from reid_demo.search.gallery import Gallery
from reid_demo.whatif import compare as comparing
from reid_demo.whatif import confidence as confidences
from reid_demo.whatif import explain as explanations
from reid_demo.whatif import sweep as sweeping

T = TypeVar("T")
SEEN_AGAIN = 32  # gallery images whose fresh descriptors, of 0.1 MB at most, are remembered
QUICK = 5_000  # images; scoring so many takes less time than a turn
UNTRAINED = "These weights are untrained: nothing shown here means anything."


@dataclass(frozen=True)
class Quality:
    """What the makers of weights say of them: `quality.json` of the weights folder."""

    trained: bool
    note: str = ""  # one sentence on their limits

    @property
    def warning(self) -> str:
        """One or two sentences to show beside every result; empty where there is nothing to warn of."""
        return self.note if self.trained else f"{UNTRAINED} {self.note}".strip()


@dataclass(frozen=True)
class AboutWeights:
    """What is known of weights beside their numbers."""

    name: str = ""
    card: str = ""  # MODEL_CARD.md
    part_meanings: tuple[str, ...] = ()  # what each part was measured to look at (`anatomy`); none: not measured
    quality: Quality = Quality(trained=True)
    calibration: confidences.Calibration | None = None  # None: not measured
    visibility: confidences.Visibility | None = None  # how presence tells what can be seen; None: not measured


@dataclass(frozen=True)
class Example:
    """A shipped probe of a synthetic person."""

    path: Path
    title: str
    pid: int | None
    camid: int | None
    kind: str  # whole, occluded, partial, or absent: the person is not in the gallery
    featured: bool = True  # offered on the page; the others serve sets of what-ifs


class Engine:
    """A network, a gallery and the verbs over them; safe to share between sessions and threads."""

    def __init__(
        self,
        describer: Describer,
        gallery: Gallery,
        *,
        about: AboutWeights = AboutWeights(),
        examples: Sequence[Example] = (),
        cutouts: occlude.Cutouts | None = None,
    ) -> None:
        """Join what `load` read; `examples` are all shipped probes, of which the page shows the featured ones."""
        self.describer = describer
        self.hold(gallery)
        self.weights_name = about.name
        self.card = about.card
        config = describer.model.config
        self.part_names = tuple(f"part {i + 1}" for i in range(config.parts))
        measured = len(about.part_meanings) == config.parts
        self.part_meanings = about.part_meanings if measured else ("",) * config.parts
        self.offer(examples)
        self.trained, self.warning = about.quality.trained, about.quality.warning
        self.calibration, self.visibility = about.calibration, about.visibility
        self.cutouts = cutouts or {}
        self.variant = variant_name(config)

    def hold(self, gallery: Gallery) -> None:
        """Search this gallery; for the maker of an engine, never for one in use."""
        self.gallery = gallery
        self.pids, self.camids = gallery.pids, gallery.camids
        self.default_scoring = gallery.scoring
        self._described_anew = functools.lru_cache(SEEN_AGAIN)(
            lambda row: self.describe(read_image(gallery.image_path(row)))
        )

    def offer(self, probes: Sequence[Example]) -> None:
        """Take these as the shipped probes; for the maker of an engine, never for one in use."""
        self.probes = list(probes)
        self.examples = [example for example in self.probes if example.featured]
        self.kinds = {example.path.stem: example.kind for example in self.probes}  # by the name of its file

    def over(self, gallery: Gallery, probes: Sequence[Example]) -> "Engine":
        """Return an engine with the same network over another gallery and its shipped probes."""
        other = copy.copy(self)
        other.hold(gallery)
        other.offer(probes)
        return other

    def reopened(self) -> "Engine":
        """Return an engine with the same network over this gallery as it lies on the disk now.

        Raises:
            GalleryError: it cannot be read, or other weights made it.
            DatasetError: its listing of probes cannot be read.
            WeightsError: its calibration cannot be read.
        """
        old = self.gallery
        gallery = galleries.load(old.address or old.folder, old.fingerprint, bundled.name_by)
        other = self.over(gallery, _read_examples(gallery.folder))
        own = confidences.read(gallery.folder / confidences.FILE, old.fingerprint)
        other.calibration = own or self.calibration
        return other

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        gallery: str | Path | None = None,
        device: str | None = None,
        runtime: str | None = None,
    ) -> "Engine":
        """Read weights and gallery, from folders or as `hf://` and `milvus://` name them; the shipped ones by default.

        The shipped gallery follows the weights: with others than its own it is described anew on first use, and kept.

        Raises:
            WeightsError, GalleryError: missing, damaged, or not made for each other.
            HubError: they cannot be fetched.
            ConfigError: no such runtime, or it is not installed.
            DatasetError, OcclusionError: the gallery's listing of probes, or its cut-outs, are damaged.
        """
        named, weights = weights, bundled.weights_folder(weights)
        place = checkpoint.choose_device(device)
        describer = Describer(checkpoint.load_weights(weights), place, runtime=runtimes.named(runtime, place))
        fingerprint = checkpoint.fingerprint(weights)
        folder = bundled.gallery_folder(gallery) if gallery else bundled.gallery_for(describer, fingerprint)
        about = _read_about(weights, bundled.weights_name(named), fingerprint)
        own = confidences.read(folder / confidences.FILE, fingerprint)  # `calibrate --stored`
        return cls(
            describer,
            galleries.load(gallery if gallery and milvus.is_address(gallery) else folder, fingerprint, bundled.name_by),
            about=replace(about, calibration=own or about.calibration),
            examples=_read_examples(folder),
            cutouts=bundled.cutouts(folder),
        )

    @property
    def device_name(self) -> str:
        """Where the network runs, for people."""
        import torch

        device = self.describer.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the `P+1` terms of the similarity, global first."""
        return ("global", *self.part_names)

    @property
    def term_labels(self) -> tuple[str, ...]:
        """What people call the `P+1` terms, global first: "right leg", "arms 2", or "part 6" where not measured."""
        meanings = [meaning.removeprefix("mostly ").removeprefix("leans to ") for meaning in self.part_meanings]
        names = [meaning or part for meaning, part in zip(meanings, self.part_names, strict=True)]
        place = [names[: i + 1].count(name) for i, name in enumerate(names)]
        told = (f"{name} {n}" if names.count(name) > 1 else name for name, n in zip(names, place, strict=True))
        return ("whole person", *told)

    def describe(self, image: np.ndarray) -> Descriptor:
        """Describe one `(H, W, 3)` uint8 image."""
        return self.describer.describe([image])[0]

    def occlude(self, image: np.ndarray, occlusions: Sequence[Occlusion]) -> np.ndarray:
        """Apply occlusions with this gallery's cut-outs; `image` is not changed."""
        return occlude.apply(image, occlusions, self.cutouts)

    def occlude_within(
        self, image: np.ndarray, occlusions: Sequence[Occlusion], seconds: float
    ) -> tuple[np.ndarray, int]:
        """Apply occlusions in order until `seconds` have passed; return the picture and how many were applied."""
        ends = time.monotonic() + seconds
        done = 0
        for occlusion in occlusions:
            image = self.occlude(image, [occlusion])
            done += 1
            if time.monotonic() > ends:
                break
        return image.copy() if not done else image, done

    def search(
        self,
        probe: Descriptor,
        top_k: int = 10,
        scoring: Scoring | None = None,
        exclude_same_camera: tuple[int, int] | None = None,
    ) -> list[Match]:
        """Rank the gallery; `exclude_same_camera` (pid, camid) leaves out that person under that camera.

        Raises:
            GalleryError: `top_k` below 1, or a probe of another shape than the gallery's descriptors.
            ConfigError: a wrong number of part switches, or all are off.
        """
        exclude, scoring = self._same_camera(exclude_same_camera), scoring or self.default_scoring
        return self._in_turn([probe], lambda: self.gallery.search(probe, top_k, scoring, exclude))

    def ranks(
        self, probe: Descriptor, scoring: Scoring | None = None, exclude_same_camera: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Return the `(G,)` rank of every gallery image, 1 is the best; left-out images come last."""
        return self._ranking(probe, scoring, exclude_same_camera).ranks

    def search_and_rank(
        self,
        probe: Descriptor,
        top_k: int = 10,
        scoring: Scoring | None = None,
        exclude_same_camera: tuple[int, int] | None = None,
    ) -> tuple[list[Match], np.ndarray]:
        """Return what `search` and `ranks` return, with less work."""
        exclude, scoring = self._same_camera(exclude_same_camera), scoring or self.default_scoring
        found, ranking = self._in_turn([probe], lambda: self.gallery.search_and_rank(probe, top_k, scoring, exclude))
        return found, ranking.ranks

    def _in_turn(self, probes: Sequence[Descriptor], score: Callable[[], T]) -> T:
        """Score the gallery: a large one when it is this visitor's turn, a small one at once.

        Probes of several visitors that wait at the same moment are compared with a large gallery in one pass.
        """
        if len(self.gallery) <= QUICK or not self.gallery.passes_all:
            return self._alone(score)
        fresh = [probe for probe in probes if not self.gallery.is_compared(probe)]
        if fresh:
            self.describer.turns.ask(self.gallery.compare, fresh)
        return score()

    def _alone(self, score: Callable[[], T]) -> T:
        return self.describer.turns.alone(score) if len(self.gallery) > QUICK else score()

    def _same_camera(self, pair: tuple[int, int] | None) -> np.ndarray | None:
        """Mark the gallery images, `(G,)` bool, of one person under one camera."""
        return None if pair is None else same_person(self.pids, pair[0]) & same_camera(self.camids, pair[1])

    def right_matches(self, pid: int | None, exclude_same_camera: tuple[int, int] | None = None) -> np.ndarray:
        """Return the gallery rows, `(R,)` int, of a person; none where the identity is not known."""
        right = same_person(self.pids, pid)
        if exclude_same_camera is not None:
            right &= ~self._same_camera(exclude_same_camera)
        return np.flatnonzero(right)

    def compare_scorings(
        self, probe: Descriptor, index: int, scoring: Scoring, exclude_same_camera: tuple[int, int] | None = None
    ) -> dict[str, tuple[float, int]]:
        """Return similarity and rank of one gallery image under each of `WEIGHINGS`, with the parts of `scoring`."""
        self._check_index(index)
        found = {}
        for name in WEIGHINGS:
            ranking = self._ranking(probe, replace(scoring, weighing=name), exclude_same_camera)
            found[name] = float(ranking.similarity[index]), int(ranking.ranks[index])
        return found

    def _ranking(
        self, probe: Descriptor, scoring: Scoring | None, exclude_same_camera: tuple[int, int] | None
    ) -> galleries.Ranking:
        exclude, scoring = self._same_camera(exclude_same_camera), scoring or self.default_scoring
        return self._in_turn([probe], lambda: self.gallery.ranking(probe, scoring, exclude))

    def _check_index(self, index: int) -> None:
        if not 0 <= index < len(self.gallery):
            raise GalleryError(f"The gallery has no image {index}; it has {len(self.gallery)}.")

    def confidence(self, match: Match, scoring: Scoring, *, occluded: bool) -> confidences.Verdict | None:
        """Say whether a first match is confident; `None` where these weights were not calibrated for such a search.

        Args:
            match: the first one.
            scoring: which similarity ranked it.
            occluded: whether part of the probe is hidden.
        """
        return confidences.judge(self.calibration, self._searched(scoring), match.similarity, occluded=occluded)

    def why_not_confident(self, scoring: Scoring, *, occluded: bool = False) -> str:
        """Say in one sentence why `confidence` gives no answer for such searches; empty where it does."""
        return confidences.why_not(self.calibration, self._searched(scoring), occluded=occluded)

    def _searched(self, scoring: Scoring) -> confidences.Searched:
        return confidences.Searched(self.gallery.name, len(self.gallery), scoring, self.gallery.views)

    def visible_parts(self, probe: Descriptor) -> tuple[confidences.Seen, ...]:
        """Say how probable it is that each body part can be seen; nothing where these weights were not measured."""
        return confidences.visible_parts(self.visibility, probe)

    def described_anew(self, index: int) -> Descriptor:
        """Describe a gallery image from its picture: with attention maps, and not as a mean over views.

        The last ones are remembered, because all that explains a match asks for them.

        Raises:
            GalleryError: there is no such image.
            ImageError: its picture cannot be read.
        """
        self._check_index(index)
        return self._described_anew(index)

    def explain(self, probe: Descriptor, match: Match, scoring: Scoring | None = None) -> Explanation:
        """Split a match's similarity into terms; the match's image is described anew for its attention maps.

        Terms come from the gallery's stored vectors, so they sum to the similarity that the list shows.
        """
        stored = self.gallery.descriptor(match.index)
        fresh = self.described_anew(match.index)
        shown = Descriptor(stored.parts, stored.presence, fresh.template_attention, fresh.part_attention)
        return explanations.explain(probe, shown, self.term_names, scoring or self.default_scoring)

    def hide_places(self, image: np.ndarray, probe: Descriptor) -> explanations.Places:
        """Describe a `(H, W, 3)` uint8 probe with one coarse place after another hidden: where its templates look."""
        return explanations.hide_for(image, probe, functools.partial(self.describer.describe, maps=False))

    def place_changes(
        self, probe: Descriptor, places: explanations.Places, index: int, scoring: Scoring | None = None
    ) -> np.ndarray:
        """Return what hiding each place adds to the similarity of one gallery image, `(T,)` float32.

        Raises:
            GalleryError: there is no such image.
        """
        self._check_index(index)
        stored = self.gallery.descriptor(index)
        return explanations.place_changes(probe, places, stored, scoring or self.default_scoring)

    def what_if(
        self,
        image: np.ndarray,
        occlusions: Sequence[Occlusion],
        top_k: int = 10,
        scoring: Scoring | None = None,
        exclude_same_camera: tuple[int, int] | None = None,
    ) -> WhatIf:
        """Search with the untouched and the changed probe, and say who moved."""
        return self.before_and_after(image, self.occlude(image, occlusions), top_k, scoring, exclude_same_camera)

    def before_and_after(
        self,
        image: np.ndarray,
        changed: np.ndarray,
        top_k: int = 10,
        scoring: Scoring | None = None,
        exclude_same_camera: tuple[int, int] | None = None,
    ) -> WhatIf:
        """Search with the untouched probe and with another picture of it, and say who moved."""
        probes = self.describer.describe([image, changed])
        self._in_turn(probes, lambda: None)  # one pass for both
        lists = [tuple(self.search(probe, top_k, scoring, exclude_same_camera)) for probe in probes]
        rankings = [self._ranking(probe, scoring, exclude_same_camera) for probe in probes]
        return WhatIf(changed, *lists, *probes, comparing.moves_of(comparing.listed(*lists), *rankings))

    def compare(
        self,
        probes: tuple[Descriptor, Descriptor],
        *,
        top_k: int = 10,
        pid: int | None = None,
        scoring: Scoring | None = None,
        exclude_same_camera: tuple[int, int] | None = None,
    ) -> comparing.Comparison:
        """Compare the rankings of an untouched and of a changed probe.

        Args:
            probes: the untouched and the changed one.
            top_k: length of both lists.
            pid: of the probe's person, where known.
            scoring: which similarity.
            exclude_same_camera: (pid, camid) to leave out of both lists.
        """
        right = self.right_matches(pid, exclude_same_camera)
        exclude, scoring = self._same_camera(exclude_same_camera), scoring or self.default_scoring
        return self._in_turn(probes, lambda: comparing.compare(self.gallery, probes, right, top_k, scoring, exclude))

    def sweep(
        self,
        image: np.ndarray,
        groups: Sequence[Sequence[int]],
        window: sweeping.Window = sweeping.Window(),
        scoring: Scoring | None = None,
        exclude_same_camera: tuple[int, int] | None = None,
    ) -> Iterator[sweeping.SweepStep]:
        """Slide an occluder over the probe, coarse to fine, and watch groups of gallery images.

        Args:
            image: `(H, W, 3)` uint8, not changed.
            groups: `K` groups of gallery rows, such as a match alone or all images of a person; a group has the
                similarity and the rank of its best image.
            window: the occluder.
            scoring: which similarity.
            exclude_same_camera: (pid, camid) to leave out of the ranking.

        Raises:
            GalleryError: nothing to watch, or there is no such image.
            OcclusionError: the window's size or stride is out of range.
        """
        if not groups or not all(len(group) for group in groups):
            raise GalleryError("A sweep needs at least one gallery image to watch.")
        for index in (int(i) for group in groups for i in group):
            self._check_index(index)
        scoring = scoring or self.default_scoring
        out = self._same_camera(exclude_same_camera)

        def measure(probes: Sequence[Descriptor]) -> np.ndarray:
            values = self._alone(lambda: self.gallery.scores_of(probes, scoring))  # (n, G)
            others = values if out is None else values[:, ~out]
            best = [values[:, list(group)].max(axis=1) for group in groups]
            return np.array([(value, (others > value[:, None]).sum(axis=1) + 1) for value in best]).transpose(2, 0, 1)

        return sweeping.sweep(image, window, functools.partial(self.describer.describe, maps=False), measure)


def _read_about(weights: Path, name: str, fingerprint: str) -> AboutWeights:
    card, quality = weights / "MODEL_CARD.md", weights / "quality.json"
    says = Quality(trained=True)
    if quality.is_file():
        mend = 'It must be {"trained": true or false, "note": "text"}.'
        says = read_json(Quality, quality, WeightsError, mend)
    return AboutWeights(
        name,
        card.read_text(encoding="utf-8") if card.is_file() else "",
        confidences.read_part_meanings(weights / confidences.MEANINGS_FILE, fingerprint),
        replace(says, note=says.note.strip()),
        confidences.read(weights / confidences.FILE, fingerprint),
        confidences.read_visibility(weights / confidences.VISIBILITY_FILE, fingerprint),
    )


def _read_examples(folder: Path) -> list[Example]:
    if not (folder / FOLDER / LISTING).is_file():
        return []
    return [
        Example(folder / FOLDER / row.path, row.title, row.pid, row.camid, row.kind, row.featured)
        for row in read_probes(folder)
    ]
