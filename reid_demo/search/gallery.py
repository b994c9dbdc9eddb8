"""Read and rank a gallery: vectors, records and the weights' fingerprint. Knows no pixels and no model."""

import functools
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import BaseModel

from reid_demo.data.files import read_json, read_json_lines
from reid_demo.errors import ConfigError, GalleryError, ReidError
from reid_demo.images import inside
from reid_demo.records import WEIGHINGS, Descriptor, Identities, ImageRecord, Match, Scoring
from reid_demo.search import milvus, similarity, vectors
from reid_demo.search.gallery_views import ONE_VIEW
from reid_demo.search.journal import FOLDER as JOURNAL
from reid_demo.search.store import (
    FORMAT_VERSION,
    META,
    PARTS,
    PRESENCE,
    READY,
    RECORDS,
    VECTORS,
    finish,
)

PASSES = 16  # probes whose products with a gallery are remembered; 36 bytes an image each
SAMPLE_BYTES = 256 << 20  # descriptors that are checked when a gallery is opened


class Gallery:
    """A searchable set of `G` images. Read-only after loading and safe to search from several threads."""

    def __init__(
        self,
        folder: Path,
        records: Sequence[ImageRecord],
        parts: np.ndarray,
        presence: np.ndarray,
        meta: dict,
        index: "vectors.Flat | vectors.Compressed | milvus.Collection",
    ) -> None:
        """Hold what `load` read."""
        self.folder = folder
        self.records = list(records)
        self.identities = Identities.of((r.pid for r in self.records), (r.camid for r in self.records))
        self.pids, self.camids = self.identities.pids, self.identities.camids
        self.parts = parts  # (G, P+1, D) float16, unweighted, averaged over the views; memory-mapped
        self.presence = presence  # (G, P) float32
        self.meta = meta
        self.index = index
        self.fingerprint: str = meta["fingerprint"]
        self.stamp = stamp_of(folder)  # of the files that were read: another one says that they were replaced
        self.address: str | None = None  # of its vectors in Milvus, where it was opened by that
        self.scoring = Scoring.read(meta)  # of the index's vectors, and the default of a search
        self.views: tuple[str, ...] = tuple(meta.get("views", ONE_VIEW))
        # Probe -> `similarity.part_products` of it: one pass serves all that a click shows, under every scoring.
        self._passes: WeakKeyDictionary[Descriptor, np.ndarray] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.records)

    @property
    def name(self) -> str:
        """The name given when the gallery was built, else its folder's name."""
        return self.meta.get("name", self.folder.name)

    @property
    def exact(self) -> bool:
        """Whether a search compares every image; a compressed gallery compares candidates only."""
        return self.index.exact

    @property
    def passes_all(self) -> bool:
        """Whether every search compares the probe with all images; otherwise an index proposes candidates."""
        return not self.index.proposes

    @property
    def num_pids(self) -> int:
        """Number of people; junk and distractors do not count."""
        return int((self.people > 0).sum())

    @functools.cached_property
    def people(self) -> np.ndarray:
        """All distinct pids, `(N,)` int64, ascending; includes `UNKNOWN` if an image has none."""
        return _distinct(self.pids)

    @functools.cached_property
    def cameras(self) -> np.ndarray:
        """All distinct camids, `(C,)` int64, ascending; includes `UNKNOWN` if an image has none."""
        return _distinct(self.camids)

    def rows_of(self, pid: int | None = None, camid: int | None = None) -> range | np.ndarray:
        """Return the rows of the images of a person and a camera, in gallery order.

        Args:
            pid: of the person; `UNKNOWN` for images without one, `None` for all people.
            camid: of the camera; likewise.

        Returns:
            `(n,)` int64; a `range` if both are `None`, to spare memory in a large gallery.
        """
        asked = [marks == wanted for marks, wanted in ((self.pids, pid), (self.camids, camid)) if wanted is not None]
        return np.flatnonzero(np.logical_and.reduce(asked)) if asked else range(len(self))

    def stamp_now(self) -> tuple[int, int] | None:
        """Return `stamp_of` the folder that this gallery was read from."""
        return stamp_of(self.folder)

    @property
    def is_replaced(self) -> bool:
        """Tell whether other files of a gallery lie where this one was read from."""
        return self.stamp_now() not in (None, self.stamp)

    def image_path(self, index: int) -> Path:
        """Return the path of an image's file.

        Raises:
            GalleryError: the record's path leads outside the gallery's folder.
        """
        return inside(self.folder, self.records[index].path, GalleryError)

    def descriptor(self, index: int) -> Descriptor:
        """Return the stored descriptor of an image; its attention maps are empty, `(P, 0, 0)`."""
        empty = np.zeros((self.presence.shape[1], 0, 0), np.float32)
        return Descriptor(self.parts[index].astype(np.float32), self.presence[index].copy(), empty, empty)

    def rows(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the stored `(n, P+1, D)` float16 parts and `(n, P)` float32 presence of the given rows."""
        # A new memory map each time, so that its pages are released
        stored = np.load(self.folder / PARTS, mmap_mode="r", allow_pickle=False)
        return stored[numbers], self.presence[numbers]

    def scores(self, probe: Descriptor, scoring: Scoring = Scoring()) -> np.ndarray:
        """Return the `(G,)` float32 similarity of every image.

        All values are exact, except in a compressed gallery under its own scoring: there only the candidates' are,
        and the others are estimated from their codes. Any other scoring reads every stored vector.
        """
        if not self.exact and self.is_indexed(scoring):
            return self._estimates(probe, scoring)
        return self._exact(probe, scoring)

    def is_compared(self, probe: Descriptor) -> bool:
        """Tell whether `scores` of this probe needs no pass over the gallery, because it had one."""
        with self._lock:
            return probe in self._passes

    def compare(self, probes: Sequence[Descriptor]) -> list[np.ndarray]:
        """Compare probes with every image in one pass, which `scores` and all that ranks by it then make use of.

        Returns:
            For each probe the `similarity.part_products` of it, `(P+1, G)` float32.

        Raises:
            GalleryError: a probe has another shape than the gallery's descriptors.
        """
        for probe in probes:
            self._check_shape(probe)
        passed = similarity.part_products(self.parts, np.stack([probe.parts for probe in probes]))
        with self._lock:
            for probe, products in zip(probes, passed, strict=True):
                while len(self._passes) >= PASSES:
                    self._passes.pop(next(iter(self._passes)), None)
                self._passes[probe] = products.copy() if len(probes) > 1 else products  # to be forgotten one by one
        return list(passed)

    def _check_shape(self, probe: Descriptor) -> None:
        if probe.parts.shape != self.parts.shape[1:]:
            raise GalleryError(
                f"The probe has descriptors {probe.parts.shape}, this gallery {self.parts.shape[1:]}; "
                "rebuild the gallery with `python -m reid_demo index`."
            )

    def scores_of(self, probes: Sequence[Descriptor], scoring: Scoring = Scoring()) -> np.ndarray:
        """Return the `(n, G)` float32 `scores` of several probes from one pass over the gallery."""
        if not self.exact and self.is_indexed(scoring):
            return np.stack([self._estimates(probe, scoring) for probe in probes])
        passed = similarity.part_products(self.parts, np.stack([probe.parts for probe in probes]))
        each = zip(passed, probes, strict=True)
        return np.stack([similarity.from_products(some, probe, self._measured, scoring) for some, probe in each])

    def _exact(self, probe: Descriptor, scoring: Scoring) -> np.ndarray:
        """Return the `(G,)` similarities of a probe that was compared before, or is compared now and remembered."""
        with self._lock:
            products = self._passes.get(probe)
        if products is None:
            products = self.compare([probe])[0]
        return similarity.from_products(products, probe, self._measured, scoring)

    @functools.cached_property
    def _measured(self) -> similarity.Candidates:
        return similarity.Candidates(similarity.part_lengths(self.parts), self.presence)

    def ranking(self, probe: Descriptor, scoring: Scoring = Scoring(), exclude: np.ndarray | None = None) -> "Ranking":
        """Score and rank all images; arguments as for `search`.

        Ranks follow `scores`, so in a compressed gallery those of images that are not candidates are estimates.
        """
        return Ranking.of(self.scores(probe, scoring), exclude)

    def _estimates(self, probe: Descriptor, scoring: Scoring) -> np.ndarray:
        vector = similarity.probe_vectors(probe.parts, probe.presence, scoring)
        values = self.index.estimate(vector)
        candidates = self.index.nearest(vector, self.index.tuning.depth)
        exact = self._terms(probe, candidates, scoring).sum(axis=1)
        # Dropping axes raises all estimates by about the same amount; measure it on the candidates
        values += np.mean(exact - values[candidates], dtype=np.float32)
        values[candidates] = exact
        return values

    def _terms(self, probe: Descriptor, rows: np.ndarray, scoring: Scoring) -> np.ndarray:
        return similarity.contributions(
            probe.parts, probe.presence, self.parts[rows].astype(np.float32), self.presence[rows], scoring
        )

    def is_indexed(self, scoring: Scoring) -> bool:
        """Return whether the index holds vectors of this scoring."""
        # Part-aware switches act on the probe alone
        return scoring.weighing == self.scoring.weighing and (scoring.weighing == "part_aware" or scoring.counts_all)

    def search(
        self,
        probe: Descriptor,
        top_k: int = 10,
        scoring: Scoring = Scoring(),
        exclude: np.ndarray | None = None,
    ) -> list[Match]:
        """Rank the gallery.

        Args:
            probe: a descriptor from `Describer`.
            top_k: number of matches; a smaller gallery returns fewer.
            scoring: which similarity.
            exclude: `(G,)` bool, images to leave out.

        Returns:
            Best first, equal similarities in gallery order. `contributions` sum to `similarity`.

        Raises:
            GalleryError: `top_k` below 1, or a probe of another shape than the gallery's descriptors.
        """
        if top_k < 1:
            raise GalleryError(f"Ask for at least one match, not {top_k}.")
        self._check_shape(probe)
        return self._best(probe, self._candidates(probe, top_k, scoring, exclude), top_k, scoring)

    def search_and_rank(
        self,
        probe: Descriptor,
        top_k: int = 10,
        scoring: Scoring = Scoring(),
        exclude: np.ndarray | None = None,
    ) -> tuple[list[Match], "Ranking"]:
        """Return the results of `search` and `ranking`; where the scores are exact, they are made only once for both.

        A compressed gallery estimates them under the index's own scoring alone.
        """
        estimated = not self.exact and self.is_indexed(scoring)
        if estimated or top_k < 1 or probe.parts.shape != self.parts.shape[1:]:
            return self.search(probe, top_k, scoring, exclude), self.ranking(probe, scoring, exclude)
        values = self.scores(probe, scoring)
        candidates = _first(values, 4 * top_k + 32, exclude)
        found = self._best(probe, candidates, top_k, scoring)
        values[[match.index for match in found]] = [match.similarity for match in found]  # ranks follow what is listed
        return found, Ranking.of(values, exclude)

    def _best(self, probe: Descriptor, candidates: np.ndarray, top_k: int, scoring: Scoring) -> list[Match]:
        terms = self._terms(probe, candidates, scoring)
        totals = terms.sum(axis=1)
        best = np.lexsort((candidates, -totals))[:top_k]
        return [
            Match(self.records[candidates[i]], int(candidates[i]), rank, float(totals[i]), terms[i])
            for rank, i in enumerate(best, start=1)
        ]

    def _candidates(self, probe: Descriptor, top_k: int, scoring: Scoring, exclude: np.ndarray | None) -> np.ndarray:
        """Return the rows to score for `top_k` matches: more than that, so that rounding in the index loses none."""
        count = min(len(self), 4 * top_k + 32)
        if self.index.proposes and self.is_indexed(scoring):
            if not self.exact:
                count = max(count, min(self.index.tuning.depth * -(-top_k // 10), vectors.MAX_DEPTH))
            return self.index.nearest(similarity.probe_vectors(probe.parts, probe.presence, scoring), count, exclude)
        if not self.exact:  # the codes are of another scoring: take many candidates, then rescore them
            vector = similarity.probe_vectors(probe.parts, probe.presence, self.scoring)
            return self.index.nearest(vector, max(count, vectors.MAX_DEPTH), exclude)
        return _first(self.scores(probe, scoring), count, exclude)


@dataclass(frozen=True, eq=False)
class Ranking:
    """The similarity and rank of every image, in gallery order."""

    similarity: np.ndarray  # (G,) float32
    ranks: np.ndarray  # (G,) int64, 1 is the best; ties in gallery order, excluded images last

    @classmethod
    def of(cls, similarity: np.ndarray, exclude: np.ndarray | None = None) -> "Ranking":
        """Rank `(G,)` similarities; `exclude`, `(G,)` bool, marks the images to rank last."""
        values = similarity if exclude is None else np.where(exclude, -np.inf, similarity)
        ranks = np.empty(len(values), np.int64)
        ranks[_best_first(values)] = np.arange(1, len(values) + 1)
        return cls(similarity, ranks)


def _best_first(values: np.ndarray) -> np.ndarray:
    """Return the `(G,)` int64 rows of float32 values from the highest to the lowest, ties in gallery order.

    What a stable sort of the rows returns, in a tenth of its time: each value and its row become one integer, because
    NumPy sorts plain integers by vector instructions.
    """
    # The subtraction leaves no -0, which would come before 0.
    bits = (np.float32(0) - np.asarray(values, np.float32)).view(np.int32)
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # negative numbers count the other way
    keys = (ascending.astype(np.int64) << 32) | np.arange(len(values))
    keys.sort()
    return keys & 0xFFFFFFFF


def _first(values: np.ndarray, count: int, exclude: np.ndarray | None) -> np.ndarray:
    """Return at most `count` rows of the highest `(G,)` values, in no order; `exclude` marks rows to leave out."""
    if exclude is not None:
        values = np.where(exclude, -np.inf, values)
        count = min(count, int((~exclude).sum()))
    if not 0 < count < len(values):
        return np.arange(len(values))[:count]
    edge = -np.partition(-values, count - 1)[count - 1]
    above = np.flatnonzero(values > edge)
    return np.concatenate([above, np.flatnonzero(values == edge)[: count - len(above)]])  # of equal ones the first


def _distinct(numbers: np.ndarray) -> np.ndarray:
    # With counts NumPy sorts; without, it uses a hash table, six times slower for 100,000 people
    return np.unique(numbers, return_counts=True)[0]


def load(
    folder: str | Path,
    fingerprint: str | None = None,
    weights_called: Callable[[str], str | None] = lambda fingerprint: None,
) -> Gallery:
    """Read a gallery.

    Args:
        folder: written by `store.write`, or the `milvus://` address of its vectors.
        fingerprint: of the weights in use; a gallery made with others is refused. `None` accepts any.
        weights_called: returns the name of the weights with a fingerprint, for the message; `None` if unknown.

    Raises:
        GalleryError: missing, damaged or made by other weights; the message then names both ways out.
    """
    address = str(folder) if milvus.is_address(folder) else None
    folder = milvus.folder_of(address) if address else Path(folder)
    for _ in range(3):
        finish(folder)
        before = stamp_of(folder)
        try:
            loaded = _read(folder, address, fingerprint, weights_called)
        except GalleryError:
            if not (folder / READY).exists() and before == stamp_of(folder):
                raise
            continue
        if not (folder / READY).exists() and before == stamp_of(folder):
            return loaded  # no writer replaced the files meanwhile
    raise GalleryError(f"The gallery {folder.name!r} is being rewritten. Wait for `index` to end.")


def stamp_of(folder: Path) -> tuple[int, int] | None:
    """Return what changes whenever a gallery is written, by one look at `meta.json`; `None` where there is none.

    `meta.json` is the last file that a writer puts in its place.
    """
    try:
        facts = (folder / META).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return facts.st_mtime_ns, facts.st_ino


ELSEWHERE = "Describe its pictures again into an empty folder: `python -m reid_demo index IMAGES --out GALLERY`."


def _read(
    folder: Path, address: str | None, fingerprint: str | None, weights_called: Callable[[str], str | None]
) -> Gallery:
    rebuild = f"Rebuild it with `python -m reid_demo index IMAGES --out {folder}`."
    _check_files(folder, rebuild)
    meta = read_meta(folder, ELSEWHERE)
    if meta.format_version not in range(1, FORMAT_VERSION + 1):
        raise GalleryError(
            f"The gallery {folder.name!r} has format {meta.format_version}, this program reads {FORMAT_VERSION}. "
            f"{rebuild}"
        )
    if fingerprint is not None and meta.fingerprint != fingerprint:
        raise GalleryError(
            f"The gallery {folder.name!r} was made by other weights ({meta.fingerprint}, now {fingerprint}). Search it "
            f"with those, by --weights {weights_called(meta.fingerprint) or 'FOLDER'}; or describe its pictures anew, "
            f"by `python -m reid_demo index IMAGES --out {folder}`."
        )
    records = list(read_json_lines(ImageRecord, folder / RECORDS, GalleryError, rebuild))
    if meta.count != len(records):  # as while a copy of it is under way
        raise GalleryError(
            f"The gallery {folder.name!r} is damaged: {META} tells of {meta.count} images, "
            f"{RECORDS} of {len(records)}. {rebuild}"
        )
    try:
        stored = _arrays(folder, len(records))
        gallery = Gallery(folder, records, *stored, meta.model_dump(exclude_unset=True), None)
        gallery.index, gallery.address = _open_index(gallery, address), address
    except OSError as error:
        raise GalleryError(f"The gallery {folder.name!r} cannot be read ({error.strerror}). {rebuild}") from error
    except ReidError as error:
        raise GalleryError(f"The gallery {folder.name!r}: {error} {rebuild}") from error
    return gallery


def _check_files(folder: Path, rebuild: str) -> None:
    """Raise `GalleryError` if the folder is not a gallery; the message says what it is instead."""
    names = (PARTS, PRESENCE, RECORDS, META)
    missing = [name for name in names if not (folder / name).is_file()]
    if not folder.exists():
        words = "Make one with `python -m reid_demo index IMAGES --out GALLERY`, or name the folder of one."
        raise GalleryError(f"There is no gallery {str(folder)!r}. {words}")
    if not folder.is_dir():
        raise GalleryError(f"{str(folder)!r} is a file, not a gallery. Name the folder that `index` wrote.")
    if len(missing) == len(names):
        if (folder / JOURNAL).is_dir():
            raise GalleryError(f"The gallery {folder.name!r} is not made yet: its `index` has not ended. Run it again.")
        words = f"Describe its pictures with `python -m reid_demo index {folder} --out GALLERY`."
        raise GalleryError(f"The folder {folder.name!r} is not a gallery. {words}")
    if missing:
        mend = ELSEWHERE if {META, RECORDS} & set(missing) else rebuild
        raise GalleryError(f"The gallery {folder.name!r} has no {missing[0]}. {mend}")


class IndexFacts(BaseModel, extra="allow"):
    """The index in `meta.json`; a compressed one also has the fields of `vectors.Tuning`."""

    kind: str  # "flat", "compressed" or "milvus"
    address: str = ""  # of the Milvus collection
    stamp: str = ""  # identifies the build that filled it
    first_id: int = 0  # of row 0 in the collection


class Meta(BaseModel, extra="allow"):
    """`meta.json`."""

    format_version: int
    fingerprint: str
    count: int
    name: str = ""
    similarity: str | None = None
    adaptive: bool = False  # in format 1, in place of `similarity`
    views: tuple[str, ...] = ONE_VIEW
    created: str = ""
    index: IndexFacts = IndexFacts(kind="flat")
    finder: str = ""
    empty_frames: list[str] = []


def read_meta(folder: Path, mend: str = "") -> Meta:
    """Read `meta.json` of a gallery; `mend` ends the message of an error.

    Raises:
        GalleryError: it cannot be read, or a field is wrong.
    """
    try:
        meta = read_json(Meta, folder / META, GalleryError, mend)
        Scoring.read(meta.model_dump(exclude_unset=True))
    except (GalleryError, ConfigError) as error:
        raise GalleryError(f"The gallery {folder.name!r} is damaged. {error}") from error
    return meta


def _arrays(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Map the parts, `(G, P+1, D)` float16, and read the presence, `(G, P)` float32."""
    parts, presence = _mapped(folder / PARTS, 3), _mapped(folder / PRESENCE, 2)
    if parts.dtype != np.float16:
        raise GalleryError(f"{PARTS} is damaged: it holds {parts.dtype}, not half-precision numbers.")
    if not count or not count == len(parts) == len(presence) or parts.shape[1] != presence.shape[1] + 1:
        raise GalleryError(
            f"Its files disagree in length: {count} records, parts {parts.shape}, presence {presence.shape}."
        )
    step = max(1, parts.size * 2 // SAMPLE_BYTES)  # of a large gallery, a sample
    if not np.isfinite(parts[::step]).all() or not np.isfinite(presence).all():
        raise GalleryError("Its descriptors are damaged: some are not finite numbers.")
    return parts, np.array(presence, np.float32)


def _mapped(path: Path, dimensions: int) -> np.ndarray:
    try:  # a memory map refuses a header that claims more than the file; "c" because PyTorch warns of read-only arrays
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, TypeError, EOFError, OverflowError, SyntaxError) as error:
        raise GalleryError(f"{path.name} is damaged ({error}).") from error
    if not isinstance(array, np.ndarray) or array.ndim != dimensions or array.dtype.kind != "f":
        raise GalleryError(f"{path.name} is damaged: it is not an array of {dimensions} dimensions.")
    return array


def _open_index(gallery: Gallery, address: str | None):
    """Open the index; connect to Milvus only if the user named the address, never because a gallery's file does."""
    facts = gallery.meta.get("index", {"kind": "flat"})
    count, terms, dim = gallery.parts.shape
    if facts["kind"] == "milvus":
        if address is not None:
            if facts.get("address") != address:
                raise GalleryError(f"its vectors are not those at {address}.")
            return milvus.load(facts)
        print(
            f"The vectors of the gallery {gallery.folder.name!r} are also in Milvus; its own are searched. "
            f"To search those, name their address: --gallery {facts.get('address')!r}.",
            file=sys.stderr,
        )
        # A flat index proposes nothing: a probe is compared with the parts, and nobody asks for its vectors.
        return vectors.Flat(np.broadcast_to(np.float16(0), (count, terms * dim)))
    if not (gallery.folder / VECTORS).is_file():
        raise GalleryError(f"it has no {VECTORS}.")
    index = vectors.load(gallery.folder / VECTORS, facts, count, terms * dim)
    if len(index) != count:
        raise GalleryError(f"its files disagree in length: {count} records, {len(index)} vectors.")
    _check_index(gallery, index)
    return index


def _check_index(gallery: Gallery, index) -> None:
    """Compare a few vectors of the index with the stored parts, to catch zeros or another gallery's index.

    Raises:
        GalleryError: they differ under every scoring.
    """
    for row in {0, len(gallery) // 2, len(gallery) - 1}:
        parts, presence = gallery.rows(np.array([row]))
        ways = (similarity.gallery_vectors(parts.astype(np.float32), presence, Scoring(name))[0] for name in WEIGHINGS)
        if not any(index.holds(row, vector) for vector in ways):
            raise GalleryError(f"{VECTORS} is damaged: its vectors are not those of {PARTS}.")
