"""Weights and galleries go to the Hub and back: cached, resumed, checked by hash, usable without a network."""

import errno
import json
import shutil
import subprocess
import sys

import huggingface_hub
import pytest

from reid_demo.__main__ import main
from reid_demo.config import ModelConfig
from reid_demo.errors import HubError
from reid_demo.model import checkpoint, hub
from reid_demo.model.dpti import build_model
from reid_demo.search import gallery
from reid_demo.search.build import JOURNAL


def contents(folder) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def is_private(settings: dict) -> bool:
    """Return whether `create_repo` asked for privacy, in the form of older and newer libraries."""
    return settings.get("private", settings.get("visibility") == "private")


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("hf://me/net", "weights", hub.Address("me/net", "model")),
        ("hf://me/net@v1.2", "weights", hub.Address("me/net", "model", "v1.2")),
        ("hf://me/people@abc/small/one", "gallery", hub.Address("me/people", "dataset", "abc", "small/one")),
        ("hf://models/me/both/gallery", "gallery", hub.Address("me/both", "model", None, "gallery")),
    ],
)
def test_addresses(name, kind, wanted):
    assert hub.parse(name, kind) == wanted


@pytest.mark.parametrize("name", ["hf://me", "hf:me/net", "hf://me/net@", "hf://me/net/../../etc", "hf://me/net@a@b"])
def test_bad_addresses_are_refused(name):
    with pytest.raises(HubError, match="no place on the Hub"):
        hub.local_folder(name, "weights")


def test_a_local_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    assert hub.local_folder(tmp_path, "weights") == tmp_path
    assert hub.local_folder("weights/somewhere", "gallery").name == "somewhere"


def test_weights_are_fetched_once_and_work_without_a_network(server, tiny_weights):
    oid = server.add("models/me/net", contents(tiny_weights))
    server.add("models/me/net", {"config.json": b"{}", "evil.pkl": b"no"})
    folder = hub.local_folder(f"hf://me/net@{oid}", "weights")
    assert checkpoint.fingerprint(folder) == checkpoint.fingerprint(tiny_weights)
    checkpoint.load_weights(folder)
    fetched = sum(method == "GET" and "/resolve/" in path for method, path, _ in server.log)
    assert hub.local_folder(f"hf://me/net@{oid}", "weights") == folder
    assert sum(method == "GET" and "/resolve/" in path for method, path, _ in server.log) == fetched
    newest = hub.local_folder("hf://me/net", "weights")
    assert (newest / "config.json").read_bytes() == b"{}" and not (newest / "evil.pkl").exists()
    server.close()
    assert hub.local_folder(f"hf://me/net@{oid}", "weights") == folder
    assert hub.local_folder("hf://me/net", "weights") == newest
    with pytest.raises(HubError, match="not in the cache and the Hub cannot be reached"):
        hub.local_folder("hf://me/other", "weights")


def test_a_hub_in_trouble_gives_way_to_the_cache(server, tiny_weights, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    server.add("models/me/net", contents(tiny_weights))
    folder = hub.local_folder("hf://me/net", "weights")
    server.broken = True
    assert hub.local_folder("hf://me/net", "weights") == folder
    with pytest.raises(HubError, match="cannot be reached"):
        hub.local_folder("hf://me/other", "weights")


def test_a_broken_download_is_resumed(server, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    large = tmp_path / "large"  # the client writes 10 MB at once: half of the file must be more than that
    checkpoint.save_weights(build_model(ModelConfig(backbone="resnet18", dim=32, ffn_dim=64)), large)
    server.add("models/me/net", contents(large))
    server.cut_once.add("model.safetensors")
    folder = hub.local_folder("hf://me/net", "weights")
    assert checkpoint.fingerprint(folder) == checkpoint.fingerprint(large)
    ranges = [wanted for method, path, wanted in server.log if method == "GET" and path.endswith("model.safetensors")]
    assert ranges[0] == "" and ranges[-1].startswith("bytes=") and ranges[-1] != "bytes=0-"


def test_a_damaged_file_is_noticed_and_fetched_anew(server, tiny_weights):
    server.add("models/me/net", contents(tiny_weights))
    folder = hub.local_folder("hf://me/net", "weights")
    assert hub.verify(folder) == 3
    for name in ("model.safetensors", "config.json"):
        real = (folder / name).resolve()
        data = bytearray(real.read_bytes())
        data[len(data) // 2] ^= 1
        real.write_bytes(data)
        with pytest.raises(HubError, match=f"{name} in the cache is damaged"):
            hub.local_folder("hf://me/net", "weights")
        folder = hub.local_folder("hf://me/net", "weights")
    assert checkpoint.fingerprint(folder) == checkpoint.fingerprint(tiny_weights)


def test_what_is_not_there_is_said(server, tiny_weights):
    server.add("models/me/net", {"README.md": b"hello", **{f"deep/{k}": v for k, v in contents(tiny_weights).items()}})
    with pytest.raises(HubError, match="HTTP 404"):
        hub.local_folder("hf://me/nothing", "weights")
    with pytest.raises(HubError, match="HTTP 404"):
        hub.local_folder("hf://me/net@v9", "weights")
    with pytest.raises(HubError, match="holds no weights"):
        hub.local_folder("hf://me/net/shallow", "weights")
    assert (hub.local_folder("hf://me/net/deep", "weights") / "model.safetensors").is_file()


def test_weights_are_pushed_with_their_card_and_come_back(server, tiny_weights):
    address = hub.push(tiny_weights, "weights", "me/net")
    assert is_private(server.settings["models/me/net"])
    files = server.repos["models/me/net"][-1][1]
    assert files["README.md"].startswith(b"---\nlibrary_name: reid_demo") and b"# tiny" in files["README.md"]
    assert any(method == "PUT" for method, _, _ in server.log)  # the tensors went as a large file
    back = hub.local_folder(address, "weights")
    assert checkpoint.fingerprint(back) == checkpoint.fingerprint(tiny_weights)


def test_a_gallery_is_pushed_and_searched_from_the_hub(server, tiny_engine, tiny_gallery_folder, tmp_path, probe_image):
    own = tmp_path / "own"
    shutil.copytree(tiny_gallery_folder, own)
    (own / ".lock").touch()
    (own / "people.jsonl.gz").write_bytes(b"packed")
    address = hub.push(own, "gallery", "me/people", public=True)
    assert not is_private(server.settings["datasets/me/people"])
    files = server.repos["datasets/me/people"][-1][1]
    assert b"18 images, 6 known people" in files["README.md"] and ".lock" not in files
    back = gallery.load(hub.local_folder(address, "gallery"), tiny_engine.gallery.fingerprint)
    assert (back.folder / "people.jsonl.gz").read_bytes() == b"packed"
    probe = tiny_engine.describe(probe_image)
    assert [m.record for m in back.search(probe, 5)] == [m.record for m in tiny_engine.gallery.search(probe, 5)]
    assert back.image_path(0).read_bytes() == tiny_engine.gallery.image_path(0).read_bytes()


def test_incomplete_folders_are_not_pushed(server, tmp_path, tiny_weights):
    bare = tmp_path / "bare"
    shutil.copytree(tiny_weights, bare)
    (bare / "MODEL_CARD.md").unlink()
    with pytest.raises(HubError, match="no MODEL_CARD.md. Write one"):
        hub.push(bare, "weights", "me/net")
    with pytest.raises(HubError, match="no meta.json"):
        hub.push(bare, "gallery", "me/net")
    assert not server.log


def test_a_refused_upload_says_what_to_do(server, tiny_weights):
    server.refuse_writes = True
    with pytest.raises(HubError, match="HTTP 401.*hf auth login"):
        hub.push(tiny_weights, "weights", "me/net")


def test_the_command_pushes_and_the_engine_loads_from_the_hub(
    server, tiny_weights, tiny_gallery_folder, tmp_path, capsys
):
    assert main(["push", "--weights", str(tiny_weights), "--to", "me/net"]) == 0
    assert main(["push", "--gallery", str(tiny_gallery_folder), "--to", "me/people", "--json"]) == 0
    out = capsys.readouterr().out
    weights, people = out.splitlines()[0].split()[-1], json.loads("\n".join(out.splitlines()[1:]))["address"]
    assert main(["info", "--weights", weights, "--gallery", people, "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gallery_images"] == 18
    environment = {"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "reid_demo", "info", "--json", "--weights", weights, "--gallery", people]
    done = subprocess.run(command, env={**_clean_environment(), **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fingerprint"] == checkpoint.fingerprint(tiny_weights)


def test_a_damaged_gallery_is_not_pushed_and_a_stopped_writer_is_finished(
    server, tiny_gallery_folder, tmp_path, capsys
):
    folder = tmp_path / "gallery"
    shutil.copytree(tiny_gallery_folder, folder)
    ready = folder / gallery.READY
    ready.mkdir()
    (folder / gallery.META).rename(ready / gallery.META)
    assert main(["push", "--gallery", str(folder), "--to", "me/people"]) == 0
    assert (folder / gallery.META).is_file() and not ready.exists()
    server.log.clear()
    (folder / JOURNAL).mkdir()
    assert main(["push", "--gallery", str(folder), "--to", "me/people"]) != 0
    assert "has not ended. Run it again, then push" in capsys.readouterr().err and not server.log
    (folder / JOURNAL).rmdir()
    (folder / gallery.PARTS).write_bytes(b"")
    assert main(["push", "--gallery", str(folder), "--to", "me/people"]) != 0
    assert "Rebuild it with" in capsys.readouterr().err and not server.log


def _clean_environment() -> dict[str, str]:
    import os

    return {key: value for key, value in os.environ.items() if not key.startswith("HF_")}


def test_a_network_that_fails_in_whatever_way_is_a_sentence(server, tiny_weights, monkeypatch):
    class Lost(Exception):
        """As HTTP libraries have them: neither an OSError nor with words."""

    def lose(*given, **named):
        raise Lost

    monkeypatch.setattr("huggingface_hub.HfApi.create_commit", lose)
    with pytest.raises(HubError, match="failed .Lost.. Try again"):
        hub.push(tiny_weights, "weights", "me/net")


def test_a_full_disk_is_no_missing_network(server, monkeypatch):
    def full(*given, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(HubError, match="No space left on device"):
        hub.local_folder("hf://me/net", "weights")
