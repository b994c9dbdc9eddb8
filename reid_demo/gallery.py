"""`Gallery`: vectors, records and the model's fingerprint travel together. Knows no images' contents and no model."""

import json
import shutil
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import faiss
import numpy as np

from reid_demo import matching
from reid_demo.errors import GalleryError
from reid_demo.records import Descriptor, ImageRecord, Match, Scoring

FORMAT_VERSION = 1
VECTORS, PARTS, PRESENCE, RECORDS, META = (
    "vectors.faiss",
    "parts.npy",
    "presence.npy",
    "records.jsonl",
    "meta.json",
)


class Gallery:
    """A searchable set. Read-only after load; searches from several threads do not disturb each other."""

    def __init__(
        self,
        folder: Path,
        records: Sequence[ImageRecord],
        parts: np.ndarray,
        presence: np.ndarray,
        meta: dict,
        index: faiss.Index,
    ) -> None:
        """Hold what `load` read; see the attributes of the files in this module."""
        self.folder = folder
        self.records = list(records)
        self.parts = parts  # (G, P+1, D) float16, unweighted, memory-mapped
        self.presence = presence  # (G, P) float32
        self.meta = meta
        self.index = index
        self.fingerprint: str = meta["fingerprint"]
        self._matrices: dict[tuple, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

    @property
    def name(self) -> str:
        """Name given when the gallery was built."""
        return self.meta.get("name", self.folder.name)

    @property
    def num_pids(self) -> int:
        """Number of known persons."""
        return len({r.pid for r in self.records if r.pid is not None})

    def image_path(self, index: int) -> Path:
        """Give the file of an image; never one outside the gallery's own folder."""
        path = (self.folder / self.records[index].path).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise GalleryError(f"The gallery names an image outside its folder: {self.records[index].path!r}.")
        return path

    def descriptor(self, index: int) -> Descriptor:
        """Give the stored descriptor of an image, without attention maps `(P, 0, 0)`."""
        empty = np.zeros((self.presence.shape[1], 0, 0), np.float32)
        return Descriptor(self.parts[index].astype(np.float32), self.presence[index].copy(), empty, empty)

    def scores(self, probe: Descriptor, scoring: Scoring = Scoring()) -> np.ndarray:
        """Give the `(G,)` float32 similarity of every image; exact."""
        if scoring.part_aware:
            return matching.similarities(
                probe.parts, probe.presence, self.parts.astype(np.float32), self.presence, scoring
            )
        return self._matrix(scoring) @ matching.unit_vectors(probe.parts, probe.presence, scoring)

    def _matrix(self, scoring: Scoring) -> np.ndarray:
        """Unit vectors under a scoring; the default lives in the FAISS index, two others are kept."""
        key = (scoring.adaptive, scoring.enabled)
        with self._lock:
            if key not in self._matrices:
                if len(self._matrices) >= 2:
                    self._matrices.pop(next(iter(self._matrices)))
                self._matrices[key] = matching.unit_vectors(self.parts.astype(np.float32), self.presence, scoring)
            return self._matrices[key]

    def is_indexed(self, scoring: Scoring) -> bool:
        """Say whether the FAISS index itself holds vectors under this scoring."""
        all_on = scoring.enabled is None or all(scoring.enabled)
        return all_on and not scoring.part_aware and scoring.adaptive == self.meta["adaptive"]

    def search(
        self,
        probe: Descriptor,
        top_k: int = 10,
        scoring: Scoring = Scoring(),
        exclude: np.ndarray | None = None,
    ) -> list[Match]:
        """Rank the gallery.

        Args:
            probe: as `Describer` gives it.
            top_k: how many matches; fewer come back from a smaller gallery.
            scoring: which similarity.
            exclude: `(G,)` bool, images to leave out.

        Returns:
            Best first; equal similarities in gallery order. `contributions` sum to `similarity`.
        """
        if top_k < 1:
            raise GalleryError(f"Ask for at least one match, not {top_k}.")
        if probe.parts.shape != self.parts.shape[1:]:
            raise GalleryError(
                f"The probe has descriptors {probe.parts.shape}, this gallery {self.parts.shape[1:]}; "
                "rebuild the gallery with `python -m reid_demo index`."
            )
        terms_of = min(len(self), 4 * top_k + 32)  # more than asked, so that half-precision rounding cannot lose one
        if exclude is None and self.is_indexed(scoring):
            vector = matching.unit_vectors(probe.parts, probe.presence, scoring)[None]
            candidates = self.index.search(np.ascontiguousarray(vector), terms_of)[1][0]
        else:
            values = self.scores(probe, scoring)
            if exclude is not None:
                values = np.where(exclude, -np.inf, values)
                terms_of = min(terms_of, int((~exclude).sum()))
            candidates = np.argsort(-values, kind="stable")[:terms_of]
        terms = matching.contributions(
            probe.parts, probe.presence, self.parts[candidates].astype(np.float32), self.presence[candidates], scoring
        )
        totals = terms.sum(axis=1)
        best = np.lexsort((candidates, -totals))[:top_k]
        return [
            Match(self.records[candidates[i]], int(candidates[i]), rank, float(totals[i]), terms[i])
            for rank, i in enumerate(best, start=1)
        ]

    def ranks(self, probe: Descriptor, scoring: Scoring = Scoring(), exclude: np.ndarray | None = None) -> np.ndarray:
        """Give the `(G,)` int64 rank of every image, 1 is the best, ties in gallery order; excluded ones come last."""
        values = self.scores(probe, scoring)
        if exclude is not None:
            values = np.where(exclude, -np.inf, values)
        ranks = np.empty(len(values), np.int64)
        ranks[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
        return ranks


def load(folder: str | Path, fingerprint: str | None = None) -> Gallery:
    """Read a gallery.

    Args:
        folder: as `save` wrote it.
        fingerprint: of the weights in use; a gallery made by others is refused.

    Raises:
        GalleryError: missing, damaged or made by other weights.
    """
    folder = Path(folder)
    missing = [n for n in (VECTORS, PARTS, PRESENCE, RECORDS, META) if not (folder / n).is_file()]
    rebuild = f"Rebuild it with `python -m reid_demo index IMAGES --out {folder.name}`."
    if missing:
        raise GalleryError(f"The gallery {folder.name!r} has no {missing[0]}. {rebuild}")
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        with open(folder / RECORDS, encoding="utf-8") as lines:
            records = [ImageRecord(**json.loads(line)) for line in lines]
        parts = np.load(folder / PARTS, mmap_mode="r", allow_pickle=False)
        presence = np.load(folder / PRESENCE, allow_pickle=False)
        index = faiss.read_index(str(folder / VECTORS))
        made_by, version = meta["fingerprint"], meta["format_version"]
    except (ValueError, KeyError, TypeError, RuntimeError, EOFError) as error:
        raise GalleryError(f"The gallery {folder.name!r} is damaged ({error}). {rebuild}") from error
    if version != FORMAT_VERSION:
        raise GalleryError(
            f"The gallery {folder.name!r} has format {version}, this program reads {FORMAT_VERSION}. {rebuild}"
        )
    if fingerprint is not None and made_by != fingerprint:
        raise GalleryError(
            f"The gallery {folder.name!r} was made by other weights ({made_by}, now {fingerprint}). {rebuild}"
        )
    if not len(records) == len(parts) == len(presence) == index.ntotal or not len(records):
        raise GalleryError(f"The files of the gallery {folder.name!r} disagree in length. {rebuild}")
    return Gallery(folder, records, parts, presence.astype(np.float32), meta, index)


def save(
    folder: str | Path,
    records: Sequence[ImageRecord],
    descriptors: Iterable[Descriptor],
    *,
    fingerprint: str,
    adaptive: bool,
    name: str,
) -> None:
    """Write the gallery files beside the images that already lie in `folder`; each file appears whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    descriptors = list(descriptors)
    if not records or len(records) != len(descriptors):
        raise GalleryError(f"{len(records)} images and {len(descriptors)} descriptors do not make a gallery.")
    parts = np.stack([d.parts for d in descriptors]).astype(np.float16)
    presence = np.stack([d.presence for d in descriptors]).astype(np.float32)
    # The index holds what the stored half-precision parts say, so both ways of scoring agree.
    vectors = matching.unit_vectors(parts.astype(np.float32), presence, Scoring(adaptive=adaptive))
    index = faiss.index_factory(vectors.shape[1], "SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    meta = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "fingerprint": fingerprint,
        "adaptive": adaptive,
        "count": len(records),
        "pids": len({r.pid for r in records if r.pid is not None}),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
        stage = Path(temporary)
        faiss.write_index(index, str(stage / VECTORS))
        np.save(stage / PARTS, parts)
        np.save(stage / PRESENCE, presence)
        lines = (json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
        (stage / RECORDS).write_text("".join(lines), encoding="utf-8")
        (stage / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        for file_name in (VECTORS, PARTS, PRESENCE, RECORDS, META):  # meta last: without it the gallery is refused
            shutil.move(stage / file_name, folder / file_name)
