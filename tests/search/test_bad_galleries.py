"""Damaged and malicious galleries: each is refused with one sentence. To add one, add a row to `DAMAGE`."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from reid_demo.__main__ import main
from reid_demo.data.probes import read_probes
from reid_demo.errors import DatasetError, GalleryError
from reid_demo.search import gallery

META, PARTS, PRESENCE, RECORDS, VECTORS = (
    gallery.META,
    gallery.PARTS,
    gallery.PRESENCE,
    gallery.RECORDS,
    gallery.VECTORS,
)


def meta(**changes):
    """Change fields of `meta.json`; `None` removes a field."""

    def damage(folder):
        said = {**json.loads((folder / META).read_text()), **changes}
        (folder / META).write_text(json.dumps({k: v for k, v in said.items() if v is not None}))

    return damage


def record(**changes):
    """Change fields of the second record."""

    def damage(folder):
        lines = (folder / RECORDS).read_text().splitlines()
        lines[1] = json.dumps({**json.loads(lines[1]), **changes})
        (folder / RECORDS).write_text("\n".join(lines) + "\n")

    return damage


def content(name: str, data: bytes):
    return lambda folder: (folder / name).write_bytes(data)


def array(name: str, change):
    """Apply `change` to a stored array."""
    return lambda folder: np.save(folder / name, change(np.load(folder / name)))


def cut(name: str, left: int):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:left])


def claim(name: str, shape: tuple):
    """Store a NumPy header without data."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return content(name, head.getvalue() + bytes(64))


def with_nan(values):
    values = values.copy()
    values[(3,) + (0,) * (values.ndim - 1)] = np.nan
    return values


def zeros(folder):
    """Replace the index's vectors with zeros; keep its header."""
    data = (folder / VECTORS).read_bytes()
    size = np.load(folder / PARTS, mmap_mode="r").nbytes
    (folder / VECTORS).write_bytes(data[:-size] + bytes(size))


def patched(at: int, data: bytes):
    """Overwrite bytes of the index."""

    def damage(folder):
        old = (folder / VECTORS).read_bytes()
        (folder / VECTORS).write_bytes(old[:at] + data + old[at + len(data) :])

    return damage


DAMAGE = {  # what -> (how it comes about, words of the error)
    "meta is no JSON": (content(META, b"{"), "meta.json"),
    "meta is a list": (content(META, b"[]"), "meta.json"),
    "meta is binary": (content(META, b"\xff\xfe\x00"), "meta.json"),
    "no fingerprint": (meta(fingerprint=None), "fingerprint: Field required"),
    "fingerprint is a number": (meta(fingerprint=7), "fingerprint"),
    "version is text": (meta(format_version="3"), "format_version"),
    "version of the future": (meta(format_version=99), "has format 99"),
    "count is a list": (meta(count=[1]), "count"),
    "index is text": (meta(index="flat"), "index"),
    "index without a kind": (meta(index={}), "index.kind"),
    "unknown index": (meta(index={"kind": "magic"}), "unknown kind 'magic'"),
    "unknown similarity": (meta(similarity="magic"), "magic"),
    "tuning of text": (meta(index={"kind": "compressed", "dims": "x"}), "damaged"),
    "camid is a script": (record(camid="<img src=x onerror=alert(1)>"), "Line 2 of records.jsonl.*camid"),
    "pid is a fraction": (record(pid=1.5), "pid"),
    "path is a number": (record(path=3), "path"),
    "box of three": (record(box=[1, 2, 3]), "box"),
    "records are no JSON": (content(RECORDS, b"{\n"), "Line 1 of records.jsonl"),
    "records are empty": (content(RECORDS, b""), "18 images, records.jsonl of 0"),
    "records are cut": (cut(RECORDS, 400), "records.jsonl|disagree"),
    "parts are empty": (content(PARTS, b""), "parts.npy"),
    "parts are a pickle": (content(PARTS, b"\x80\x04N."), "parts.npy"),
    "parts are cut": (cut(PARTS, 3000), "parts.npy"),
    "parts are wide": (array(PARTS, lambda a: a.astype(np.float32)), "half-precision"),
    "parts are flat": (array(PARTS, lambda a: a.reshape(len(a), -1)), "3 dimensions"),
    "a part too few": (array(PARTS, lambda a: a[:, 1:]), "disagree"),
    "parts of text": (array(PARTS, lambda a: a.astype("U4")), "parts.npy"),
    "parts are not numbers": (array(PARTS, with_nan), "not finite"),
    "parts of others": (array(PARTS, lambda a: a[::-1]), "not those of"),
    "presence is not numbers": (array(PRESENCE, with_nan), "not finite"),
    "presence claims 2.9 TiB": (claim(PRESENCE, (100_000_000_000, 8)), "presence.npy"),
    "presence claims more than there is": (claim(PRESENCE, (10**18, 10**18)), "presence.npy"),
    "presence of an image less": (array(PRESENCE, lambda a: a[1:]), "disagree"),
    "no index": (lambda folder: (folder / VECTORS).unlink(), "has no vectors.faiss"),
    "index is empty": (content(VECTORS, b""), "damaged"),
    "index is words": (content(VECTORS, b"oops"), "damaged"),
    "index is cut": (cut(VECTORS, 500), "damaged"),
    "index is zeros": (zeros, "not those of"),
    "index of another kind": (patched(0, b"IxFI"), "damaged"),
    "index of another width": (patched(4, (77).to_bytes(4, "little")), "damaged"),
    "index claims more vectors": (patched(8, (10**12).to_bytes(8, "little")), "damaged"),
    "index claims a long inner list": (patched(60, b"\xff" * 6), "damaged"),
}


@pytest.fixture
def copied(tiny_gallery_folder, tmp_path):
    return shutil.copytree(tiny_gallery_folder, tmp_path / "copied")


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_gallery_is_refused_in_a_sentence(what, copied):
    damage, words = DAMAGE[what]
    damage(copied)
    with pytest.raises(GalleryError, match=f"(?s){words}"):
        gallery.load(copied)


def test_a_sound_gallery_is_read(copied):
    assert len(gallery.load(copied)) == 18


def test_a_file_is_no_gallery(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(GalleryError, match="is a file, not a gallery"):
        gallery.load(tmp_path / "photo.jpg")


@pytest.mark.parametrize("path", ["/etc/passwd", "../../outside.png", "images/../../outside.png"])
def test_no_picture_outside_of_a_gallery_is_opened(path, copied):
    record(path=path)(copied)
    loaded = gallery.load(copied)
    with pytest.raises(GalleryError, match="outside of its folder"):
        loaded.image_path(1)


def shipped(**changes) -> str:
    return json.dumps({"path": "a.png", "title": "t", "pid": 1, "camid": 1, "kind": "whole", **changes})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (shipped(path="/etc/passwd"), "outside of its folder"),
        (shipped(path="../images/x.png"), "outside of its folder"),
        (shipped(path="link.png"), "outside of its folder"),
        (shipped(pid="=1+1"), "Line 1 of probes.jsonl.*pid"),
        (shipped(title=None), "title"),
        (shipped(featured="yes"), "featured"),
        ("[]", "probes.jsonl"),
        ("{", "probes.jsonl"),
    ],
)
def test_no_probe_outside_of_a_gallery_is_opened(line, words, tmp_path):
    folder = tmp_path / "gallery" / "probes"
    folder.mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "probes.jsonl").write_text(line + "\n")
    with pytest.raises(DatasetError, match=words):
        read_probes(folder.parent)


def test_a_gallery_sends_no_one_to_a_data_base_of_its_choice(copied, monkeypatch, capsys):
    def connect(*arguments):
        raise AssertionError("a connection was made")

    monkeypatch.setattr(gallery.milvus, "_open", connect)
    monkeypatch.setenv("MILVUS_TOKEN", "secret")
    wanted = gallery.load(copied)
    meta(index={"kind": "milvus", "address": "milvus://evil.example:19530/people", "stamp": "x"})(copied)
    (copied / VECTORS).unlink()
    loaded = gallery.load(copied)
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and "--gallery 'milvus://evil.example:19530/people'" in told[0] and "secret" not in told[0]
    found, same = (one.search(wanted.descriptor(4), 5) for one in (loaded, wanted))
    assert [m.index for m in found] == [m.index for m in same]


@pytest.mark.parametrize("file", [META, RECORDS, PARTS])
def test_the_advice_for_a_damaged_gallery_can_be_followed(file, copied, tmp_path, tiny_weights, capsys):
    (copied / file).unlink()
    with pytest.raises(GalleryError) as told:
        gallery.load(copied)
    command = re.search("python -m reid_demo (.*)`", str(told.value))[1]
    names = {"IMAGES": str(copied / "images"), "GALLERY": str(tmp_path / "new")}
    words = [names.get(word, word) for word in command.split()]
    assert main([*words, "--weights", str(tiny_weights), "--device", "cpu"]) == 0
    assert len(gallery.load(Path(words[-1]))) == 18


def test_a_gallery_that_is_half_of_another_one_is_refused(copied):
    """As while a larger one is copied over it, file by file."""
    about = json.loads((copied / META).read_text())
    (copied / META).write_text(json.dumps({**about, "count": 19}))
    with pytest.raises(GalleryError, match="19 images, records.jsonl of 18"):
        gallery.load(copied)
