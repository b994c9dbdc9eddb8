"""The journal of a run of `index`: keeps descriptors on disk until the gallery is written. Knows no network.

It also notes the path of each picture before the run stores or deletes it. If the run is killed, the next one knows
which of these pictures no gallery names, and deletes them.
"""

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, PositiveInt

from reid_demo.data.files import parse_json, read_json
from reid_demo.errors import GalleryError
from reid_demo.records import Descriptor, ImageRecord

FOLDER = ".journal"  # in a gallery's folder
ABOUT, NOTED = "about.json", "noted.txt"


@dataclass(frozen=True)
class MadeWith:
    """What must be equal for a run to resume another."""

    fingerprint: str  # of the weights
    finder: str  # name of the detector that cut people out of whole frames; empty if none
    views: tuple[str, ...]


class _About(BaseModel):
    """`about.json` of a journal."""

    fingerprint: str
    finder: str
    views: tuple[str, ...]
    terms: PositiveInt
    dim: PositiveInt


class Journal:
    """The descriptors of a running `index`, appended batch by batch, so that a killed run can be resumed."""

    def __init__(self, folder: Path, made_with: MadeWith) -> None:
        """Resume the journal of a stopped run with equal `made_with`, or start an empty one."""
        self.folder, self._made_with, self._shape = folder, made_with, None
        self.records: list[ImageRecord] = []
        self.damaged = ""  # why an existing journal could not be resumed
        self.noted: set[str] = set()  # pictures that stopped runs stored, or were about to store or delete
        if folder.is_symlink() or folder.exists() and not folder.is_dir():
            raise GalleryError(f"{folder.name!r} in {folder.parent.name!r} is not a folder of `index`. Remove it.")
        folder.mkdir(exist_ok=True)
        try:
            self.noted = self._read_noted()
            if (folder / ABOUT).is_file():
                said = read_json(_About, folder / ABOUT, GalleryError, "")
                if MadeWith(said.fingerprint, said.finder, said.views) == made_with:
                    self._shape = (said.terms, said.dim)
                    self._take_up()
                    self.noted |= {record.path for record in self.records}
                    return
                held = {record.path for record in self._lines()}
                self.note(held - self.noted)  # an earlier version noted none
                self.noted |= held
        except (GalleryError, OSError, ValueError) as error:
            self.damaged = f"The journal of a stopped run is damaged and was left out. {error}"
            self._shape, self.records = None, []
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != NOTED:
                path.unlink()

    def _read_noted(self) -> set[str]:
        """Return the paths of complete lines; cut off an incomplete last one, whose picture was not touched yet.

        A line that a power failure spoiled names no picture, and costs no descriptor.
        """
        path, noted = self.folder / NOTED, set()
        if path.is_file():
            lines = _complete_lines(path)
            os.truncate(path, sum(len(line) + 1 for line in lines))
            for line in lines:
                with contextlib.suppress(GalleryError):
                    noted.add(parse_json(str, line, "A line of its notes", GalleryError, ""))
        return noted

    def note(self, paths: Iterable[str]) -> None:
        """Write down pictures, by their paths in the gallery, that are about to be stored or deleted."""
        lines = "".join(json.dumps(path) + "\n" for path in paths)
        if lines:
            with open(self.folder / NOTED, "ab") as file:
                file.write(lines.encode())

    def _lines(self) -> Iterator[ImageRecord]:
        """Yield the records of complete lines; skip an incomplete last one."""
        for line in _complete_lines(self.folder / "records.jsonl"):
            yield parse_json(ImageRecord, line, "A line of its records", GalleryError, "")

    def _take_up(self) -> None:
        """Read the rows that are complete in every file; truncate the files after them."""
        terms, dim = self._shape
        lines = _complete_lines(self.folder / "records.jsonl")
        sizes = {"parts.f16": 2 * terms * dim, "presence.f32": 4 * (terms - 1)}
        whole = [len(lines), *((self.folder / n).stat().st_size // size for n, size in sizes.items() if size)]
        count = min(whole)
        records = list(itertools.islice(self._lines(), count))
        if records and records[-1].box is not None:  # drop the last frame: some of its people may be missing
            last = records[-1].sha256
            count = next(row for row, record in enumerate(records) if record.sha256 == last)
        for file_name, size in (*sizes.items(), ("records.jsonl", None)):
            length = count * size if size is not None else sum(len(line) + 1 for line in lines[:count])
            with open(self.folder / file_name, "r+b") as file:
                file.truncate(length)
        self.records = records[:count]

    def append(self, waiting: list[tuple[ImageRecord, np.ndarray]], descriptors: list[Descriptor]) -> range:
        """Append a batch of (record, image) and its descriptors; return its row numbers."""
        if self._shape is None:
            self._shape = descriptors[0].parts.shape
            terms, dim = self._shape
            for file_name in ("records.jsonl", "parts.f16", "presence.f32"):
                (self.folder / file_name).touch()
            about = json.dumps({**asdict(self._made_with), "terms": terms, "dim": dim})
            (self.folder / "about.tmp").write_text(about, encoding="utf-8")
            (self.folder / "about.tmp").replace(self.folder / ABOUT)
        first = len(self.records)
        parts = np.stack([d.parts for d in descriptors]).astype("<f2")
        presence = np.stack([d.presence for d in descriptors]).astype("<f4")
        lines = "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record, _ in waiting)
        chunks = (
            ("parts.f16", parts.tobytes()),
            ("presence.f32", presence.tobytes()),
            ("records.jsonl", lines.encode()),
        )
        for file_name, data in chunks:  # records last: a row counts once its line is complete
            with open(self.folder / file_name, "ab") as file:
                file.write(data)
        self.records.extend(record for record, _ in waiting)
        return range(first, len(self.records))

    def rows(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the `(n, P+1, D)` float16 parts and `(n, P)` float32 presence of the given rows."""
        terms, dim = self._shape
        count = len(self.records)
        parts = np.memmap(self.folder / "parts.f16", "<f2", "r", shape=(count, terms, dim))[numbers]
        if terms == 1:
            return parts, np.zeros((len(numbers), 0), np.float32)
        return parts, np.memmap(self.folder / "presence.f32", "<f4", "r", shape=(count, terms - 1))[numbers]

    def remove(self) -> None:
        """Delete the journal's files, once the gallery holds their contents."""
        shutil.rmtree(self.folder)


def _complete_lines(path: Path) -> list[bytes]:
    """Return a file's lines without what follows the last line feed."""
    return path.read_bytes().split(b"\n")[:-1]
