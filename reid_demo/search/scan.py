"""List the pictures in a folder, and what was not read. Knows only names, not contents."""

import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reid_demo.images import looks_like_image
from reid_demo.search.journal import FOLDER as JOURNAL
from reid_demo.search.store import META, PARTS, RECORDS

_KANA = range(0x3041, 0x30FF)  # code points of hiragana and katakana
HEIC = (".heic", ".heif")


@dataclass(frozen=True)
class Found:
    """The contents of a folder; hidden files and folders are ignored."""

    images: list[Path]  # sorted
    unread: list[tuple[str, str]]  # (path relative to the folder, reason), sorted


def scan(source: Path, out: Path) -> Found:
    """List the pictures under `source` recursively, except those under `out`."""
    images: list[Path] = []
    unread: list[tuple[str, str]] = []

    def note(path: Path, reason: str) -> None:
        unread.append((printable(path.relative_to(source).as_posix()), reason))

    def closed(error: OSError) -> None:
        note(Path(error.filename), f"The folder cannot be opened ({error.strerror}).")

    for place, folders, files in os.walk(source, onerror=closed):
        folder = Path(place)
        for name in list(folders):
            path = folder / name
            reason = _not_entered(path)
            if reason or name.startswith(".") or path == out:
                folders.remove(name)
            if reason and path != out and not name.startswith("."):
                note(path, reason)
        for name in files:
            path = folder / name
            if name.startswith("."):
                continue
            if not looks_like_image(name):
                note(path, _not_read(path))
            elif path.is_file():
                images.append(path)
            else:
                note(path, "It is a broken link." if path.is_symlink() else "It is not a file.")
    return Found(sorted(images), sorted(unread))


def _not_entered(folder: Path) -> str:
    """Return the reason not to search a folder; empty if it should be searched."""
    if folder.is_symlink():
        return "Linked folders are not followed. Index their target by itself."
    if all(os.path.isfile(folder / name) for name in (META, PARTS, RECORDS)):
        return "It is a gallery that `index` wrote."
    if (folder / JOURNAL).is_dir():
        return "It is a gallery that a stopped `index` left unfinished."
    return ""


def _not_read(path: Path) -> str:
    if path.suffix.lower() in HEIC:
        return "HEIC pictures are read after `pip install pillow-heif`."
    return f"Files that end in {printable(path.suffix)!r} are not read." if path.suffix else "Its name has no suffix."


def printable(text: str) -> str:
    """Return a file name as valid UTF-8 text, with undecodable bytes escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def cut_to_bytes(text: str, most: int) -> str:
    """Cut a name to at most `most` bytes of UTF-8 (file systems count bytes) without splitting a character."""
    return text.encode("utf-8")[:most].decode("utf-8", "ignore")


def zip_name(entry: zipfile.ZipInfo) -> str:
    """Return the name of a file in a zip, decoded as its packer meant it.

    Without the UTF-8 flag the name is in the packer's code page, which the zip does not state. Try UTF-8, then
    Japanese if it yields kana, then Chinese. Separators, `/` or `\\`, stay as they are.
    """
    if entry.flag_bits & 0x800 or entry.filename.isascii():
        return entry.filename
    try:
        raw = entry.filename.encode("cp437")
    except UnicodeEncodeError:
        return entry.filename
    read = dict(_readings(raw))
    if "utf-8" in read:
        return read["utf-8"]
    japanese = read.get("cp932", "")
    if any(ord(letter) in _KANA for letter in japanese):
        return japanese
    return read.get("gbk") or japanese or entry.filename


def _readings(raw: bytes) -> Iterator[tuple[str, str]]:
    for encoding in ("utf-8", "cp932", "gbk"):
        try:
            yield encoding, raw.decode(encoding)
        except UnicodeDecodeError:
            continue
