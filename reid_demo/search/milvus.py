"""Keep vectors in Milvus instead of a FAISS file: `milvus://host:port/collection` or `milvus+file://path.db`.

Records, images and exact scoring stay in the gallery's folder; the collection stores the path to it. Needs the extra
`milvus`. Knows no images, records or scorings.
"""

import json
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reid_demo.errors import GalleryError

SERVER = re.compile(r"^milvus://(?P<place>[^/@]+:\d+)/(?P<collection>[A-Za-z_]\w{0,254})$")
FILE = re.compile(r"^milvus\+file://(?P<place>.+\.db)(?:#(?P<collection>[A-Za-z_]\w{0,254}))?$")
BLOCK = 1000  # rows sent at a time, 9 MB
MAX_RESULTS = 16_384  # Milvus's limit for one search


WRONG_ADDRESS = "{address!r} is not a Milvus address; use milvus://host:port/collection or milvus+file://x.db."
FOREIGN = "{address} holds a collection that is not a gallery. Name another collection."


def is_address(name: str | Path) -> bool:
    """Return whether a gallery's name looks like the address of a Milvus collection."""
    return str(name).startswith(("milvus://", "milvus+file:"))


class Collection:
    """A flat inner-product collection; its answers are exact. Searched by `nearest`, as `vectors.Compressed` is."""

    exact = True
    proposes = True

    def __init__(self, client, address: str, name: str, facts: dict, count: int) -> None:
        """Hold an open client, and what `meta.json` says of the collection."""
        self._client, self._address, self._name, self._facts, self._count = client, address, name, facts, count
        self._first = facts.get("first_id", 0)  # of row 0

    def __len__(self) -> int:
        """Return the number of vectors."""
        return self._count

    def nearest(self, vector: np.ndarray, count: int, exclude: np.ndarray | None = None) -> np.ndarray:
        """Return the rows, `(n,)` int64, at most `count`, best first; arguments as `vectors.Compressed.nearest`.

        Raises:
            GalleryError: no answer, or `index` has filled the collection anew since it was opened.
        """
        import pymilvus

        left_out = np.flatnonzero(exclude) + self._first if exclude is not None else np.zeros(0, np.int64)
        try:
            found = self._client.search(
                self._name,
                data=[np.asarray(vector, np.float32).tolist()],
                limit=min(count, len(self), MAX_RESULTS),
                search_params={"metric_type": "IP"},
                filter=f"id not in {left_out.tolist()}" if len(left_out) else "",
                output_fields=["id"],
            )[0]
        except pymilvus.MilvusException as error:
            raise _unreachable(self._address, error) from error
        rows = np.array([hit["id"] for hit in found], np.int64) - self._first
        lost = rows.min() < 0 or rows.max() >= len(self) if len(rows) else len(left_out) < len(self)
        if lost:
            raise GalleryError(
                f"The collection {self._address} was filled anew after it was opened. Wait for `index` to end, or open "
                "the gallery again."
            )
        return rows

    def facts(self) -> dict:
        """Return what `meta.json` stores about the index."""
        return self._facts


def build(
    address: str,
    rows: Callable[[np.ndarray], np.ndarray],
    count: int,
    dim: int,
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
) -> Collection:
    """Fill a new collection with `count` vectors; replace a gallery's collection of the same name.

    Args:
        address: `milvus://host:port/collection` or `milvus+file://path.db`.
        rows: returns `(n, D)` float32 unit vectors for ascending row numbers.
        count: G.
        dim: D.
        folder: of the gallery; stored with the collection.
        say: called with lines of progress.

    Raises:
        GalleryError: no Milvus address, no answer, or another program's collection has this name.
    """
    import_pymilvus()
    from pymilvus import DataType, MilvusClient, MilvusException

    client, name = _open(address)
    stamp = uuid.uuid4().hex
    # Each filling counts from a number of its own, so that a page which opened an earlier one sees that it is gone.
    first = int(stamp[:7], 16) << 32
    about = {"reid_demo": stamp, "folder": str(Path(folder).resolve())}
    try:
        if client.has_collection(name):
            if _about(client, name) is None:
                raise GalleryError(FOREIGN.format(address=address))
            client.drop_collection(name)
        # A server keeps the description, Milvus Lite only the properties, so write both
        schema = MilvusClient.create_schema(auto_id=False, description=json.dumps(about))
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong", properties=about)
        for start in range(0, count, BLOCK):
            numbers = np.arange(start, min(start + BLOCK, count))
            block = rows(numbers)
            client.insert(
                name, [{"id": first + int(i), "vector": v.tolist()} for i, v in zip(numbers, block, strict=True)]
            )
            say(f"sent {numbers[-1] + 1:,} of {count:,} vectors to {address}")
        client.flush(name)
        client.load_collection(name)
    except MilvusException as error:
        raise _unreachable(address, error) from error
    facts = {"kind": "milvus", "address": address, "stamp": stamp, "first_id": first}
    return Collection(client, address, name, facts, count)


def check(address: str) -> None:
    """Check, before hours of describing, that vectors can be stored at an address.

    Raises:
        GalleryError: no Milvus address, no answer, or another program's collection has this name.
    """
    if not (SERVER.match(address) or FILE.match(address)):
        raise GalleryError(WRONG_ADDRESS.format(address=address))
    import_pymilvus()
    from pymilvus import MilvusException

    client, name = _open(address)
    try:
        foreign = client.has_collection(name) and _about(client, name) is None
    except MilvusException as error:
        raise _unreachable(address, error) from error
    finally:
        client.close()
    if foreign:
        raise GalleryError(FOREIGN.format(address=address))


def load(facts: dict) -> Collection:
    """Open the collection that a gallery's `meta.json` names.

    Raises:
        GalleryError: it cannot be reached, or was not filled for this gallery.
    """
    address = facts["address"]
    import_pymilvus()
    from pymilvus import MilvusException

    client, name = _open(address)
    try:
        if not _is_of(client, name, facts):
            raise GalleryError(f"the collection {address} was not filled for it.")
        count = _count(client, name)
    except MilvusException as error:
        raise _unreachable(address, error) from error
    return Collection(client, address, name, facts, count)


def is_filled(facts: dict, count: int) -> bool:
    """Return whether the collection that a gallery's `meta.json` names still holds its `count` vectors.

    Raises:
        GalleryError: it cannot be reached.
    """
    import_pymilvus()
    from pymilvus import MilvusException

    address = facts["address"]
    client, name = _open(address)
    try:
        return _is_of(client, name, facts) and _count(client, name) == count
    except MilvusException as error:
        raise _unreachable(address, error) from error
    finally:
        client.close()


def folder_of(address: str) -> Path:
    """Return the gallery's folder that is stored with a collection.

    Raises:
        GalleryError: no answer, no gallery at this address, or its folder is gone.
    """
    import_pymilvus()
    from pymilvus import MilvusException

    client, name = _open(str(address))
    try:
        about = _held(client, name)
    except MilvusException as error:
        raise _unreachable(str(address), error) from error
    if about is None:
        raise GalleryError(
            f"There is no gallery at {address}. Make one with `python -m reid_demo index IMAGES --out GALLERY "
            f"--store {address}`."
        )
    if not Path(about["folder"]).is_dir():
        raise GalleryError(f"The folder of the gallery at {address} no longer exists. Name it with --gallery.")
    return Path(about["folder"])


def import_pymilvus() -> None:
    """Raise `GalleryError` with the install command if pymilvus is missing."""
    try:
        import pymilvus  # noqa: F401
    except ImportError as error:
        raise GalleryError("Milvus needs `pip install '.[milvus]'` (pymilvus, milvus-lite).") from error


def _open(address: str):
    from pymilvus import MilvusClient, MilvusException

    if found := SERVER.match(address):
        where, name = f"http://{found['place']}", found["collection"]
    elif found := FILE.match(address):
        path = Path(found["place"]).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        where, name = str(path), found["collection"] or "gallery"
    else:
        raise GalleryError(WRONG_ADDRESS.format(address=address))
    try:
        return MilvusClient(where, token=os.environ.get("MILVUS_TOKEN", ""), timeout=10), name
    except (MilvusException, OSError, RuntimeError) as error:
        raise _unreachable(address, error) from error


def _held(client, name: str) -> dict | None:
    """Return `_about` of a collection; `None` where there is none."""
    return _about(client, name) if client.has_collection(name) else None


def _about(client, name: str) -> dict | None:
    """Return the stamp and folder that `build` stored with a collection; `None` if another program made it."""
    told = client.describe_collection(name)
    try:
        described = json.loads(told.get("description") or "{}")
    except ValueError:
        described = {}
    for about in (told.get("properties") or {}, described):
        if isinstance(about, dict) and {"reid_demo", "folder"} <= set(about):
            return about
    return None


def _is_of(client, name: str, facts: dict) -> bool:
    """Return whether a collection is there and was filled by the build that `meta.json` tells of."""
    about = _held(client, name)
    return about is not None and about["reid_demo"] == facts["stamp"]


def _count(client, name: str) -> int:
    client.load_collection(name)
    return int(client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"])


def _unreachable(address: str, error: Exception) -> GalleryError:
    text = str(getattr(error, "message", "") or error).splitlines()
    return GalleryError(f"Milvus at {address} does not answer ({text[0] if text else type(error).__name__}).")
