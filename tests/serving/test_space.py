"""The shipped tree works as a Space; each fault of a tree is found without a network; the upload holds that tree."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reid_demo.__main__ import main
from reid_demo.errors import HubError
from reid_demo.records import ImageRecord
from reid_demo.search import store
from reid_demo.serving import space

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "project"
    for name in ("weights/net", "gallery_data/images", "tests"):
        (root / name).mkdir(parents=True)
    for name in ("README.md", "requirements.txt", "app.py"):
        shutil.copyfile(PROJECT / name, root / name)
    (root / "weights" / "net" / "model.safetensors").write_bytes(b"0" * 11_000_000)
    (root / "gallery_data" / "meta.json").write_text('{"count": 3}')
    (root / "gallery_data" / "vectors.faiss").write_bytes(b"0" * 1000)
    (root / "tests" / "test_nothing.py").write_text("")
    return root


def test_the_shipped_tree_is_fit(capsys):
    assert space.check(PROJECT)["problems"] == []
    assert main(["push", "--space", "me/demo", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] and told["torch_versions"] == ["2.8.0", "2.9.0", "2.10.0", "2.11.0"]
    assert 0.7 < told["memory_gb"] < 4 and "weights/dpti-r18/model.safetensors" in told["large_files"]


def test_a_copied_tree_is_fit(tree):
    found = space.check(tree)
    assert found["problems"] == [] and found["files"] == 6
    assert found["large_files"] == {"weights/net/model.safetensors": 11_000_000}


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("README.md", "sdk_version: 6.31.0", "sdk_version: 6.30.0", "Make them equal"),
        ("README.md", 'python_version: "3.12"', "python_version: 3.9", "python_version must be"),
        ("README.md", "suggested_hardware: cpu-basic", "suggested_hardware: mainframe", "suggested_hardware must be"),
        ("README.md", "app_file: app.py", "app_file: run.py", "run.py, which is not there"),
        ("README.md", "sdk: gradio\n", "sdk: docker\n", "sdk: gradio"),
        ("README.md", "license: apache-2.0\n", "", "no license"),
        ("README.md", "---\n", "", "no front matter"),
        ("README.md", "title: reid_demo", "title: [reid", "not YAML"),
        ("requirements.txt", "gradio==6.31.0", "gradio>=6", "no pinned version"),
        ("requirements.txt", "torch>=2.8,<2.12", "torch>=2.9,<2.11", "does not admit torch 2.8.0, 2.11.0"),
    ],
)
def test_faults_are_found(tree, name, old, new, problem):
    text = (tree / name).read_text()
    assert old in text
    (tree / name).write_text(text.replace(old, new))
    found = space.check(tree)
    assert not found["ok"] and any(problem in line for line in found["problems"]), found["problems"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("weights/net/old.pt", "pickled"),
        ("data.tar.gz", "archive"),
        ("gallery_data/images/0002_c1s1_000451_03.jpg", "real person"),
        ("conf/credentials.json", "secrets"),
    ],
)
def test_forbidden_files_are_found(tree, name, problem):
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_bytes(b"x")
    assert any(name in line and problem in line for line in space.check(tree)["problems"])
    with pytest.raises(HubError, match="not fit for a Space"):
        space.push(tree, "me/demo")


def test_a_token_in_a_file_is_found(tree):
    (tree / "notes.txt").write_text("use hf_" + "a" * 34 + " please")
    assert any("Hub token" in line for line in space.check(tree)["problems"])


MEMORY = """
import re, sys
from pathlib import Path
import app
from reid_demo.engine import Engine
from reid_demo.serving.page.view import build_ui
engine = Engine.load(sys.argv[1], sys.argv[2], "cpu")
build_ui(engine)
engine.search(engine.gallery.descriptor(0))
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024 / 1e9
alone = resident()
from reid_demo.search import gallery
large = gallery.load(sys.argv[3])
large.search(large.descriptor(0))
print(alone, resident())
"""
LARGE = 30_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process's memory")
def test_the_memory_is_that_of_a_page_that_was_searched(tree, tmp_path, tiny_weights, tiny_gallery_folder):
    """Within a quarter; and what a large gallery adds, within a third."""
    shutil.copytree(tiny_weights, tree / "weights" / "net", dirs_exist_ok=True)
    shutil.rmtree(tree / "gallery_data")
    shutil.copytree(tiny_gallery_folder, tree / "gallery_data")
    small = space.check(tree)["memory_gb"]
    rng = np.random.default_rng(0)
    block = rng.standard_normal((3000, 9, 256), np.float32).astype(np.float16), np.full((3000, 8), 0.125, np.float32)
    records = [ImageRecord(f"images/{i:08d}_c1s1_000001_00.jpg", i, 1) for i in range(LARGE)]
    store.write(tree / "large", records, iter([block] * (LARGE // len(block[0]))), store.About("x", "large"))
    large = space.check(tree)["memory_gb"]
    told = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tiny_weights), str(tiny_gallery_folder), str(tree / "large")],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    alone, both = map(float, told.stdout.split()[-2:])
    print(
        f"a page {alone:.2f} GB, estimated {small}; {LARGE} images {both - alone:.2f} GB, estimated {large - small:.2f}"
    )
    assert small == pytest.approx(alone, rel=0.25)
    assert large - small == pytest.approx(both - alone, rel=0.33)


def test_too_large_a_gallery_is_found(tree):
    (tree / "gallery_data" / "meta.json").write_text('{"count": 60000000}')
    assert any("GB of memory" in line for line in space.check(tree)["problems"])


def test_the_upload_holds_the_tracked_tree_and_no_tests(tree, server):
    git = ["git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    (tree / "private.txt").write_text("not tracked")
    address = space.push(tree, "me/demo")
    files = server.repos["spaces/me/demo"][-1][1]
    assert address.startswith("hf://spaces/me/demo@") and server.settings["spaces/me/demo"]["sdk"] == "gradio"
    assert "app.py" in files and "private.txt" not in files and not any(name.startswith("tests") for name in files)
    assert files["weights/net/model.safetensors"] == (tree / "weights/net/model.safetensors").read_bytes()
    assert any(method == "PUT" for method, _, _ in server.log)


FAKE_SPACES = """
import sys
assert "torch" not in sys.modules, "spaces must come before torch"
calls = []
def GPU(duration=60):
    def decorate(function):
        def run(*arguments):
            calls.append(duration)
            return function(*arguments)
        return run
    return decorate
"""
ON_ZEROGPU = """
from reid_demo.model import zerogpu
assert zerogpu.prepare() is (EXPECTED > 0)
import spaces, torch
from reid_demo.model import checkpoint
from reid_demo.model.describer import Describer
import numpy as np
describer = Describer(checkpoint.load_weights(WEIGHTS), "cpu", batch_size=4)
found = describer.describe([np.full((64, 32, 3), i, np.uint8) for i in range(6)])
assert len(found) == 6 and isinstance(found[0].parts, np.ndarray)
assert len(spaces.calls) == EXPECTED, spaces.calls
assert all(0 < seconds <= 60 for seconds in spaces.calls)
"""


@pytest.mark.parametrize(("flag", "calls"), [("true", 2), ("", 0)])
def test_zerogpu_lends_the_gpu_once_a_batch(tmp_path, tiny_weights, flag, calls):
    (tmp_path / "spaces.py").write_text(FAKE_SPACES)
    code = f"EXPECTED = {calls}\nWEIGHTS = {str(tiny_weights)!r}\n" + ON_ZEROGPU
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}", "SPACES_ZERO_GPU": flag}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_app_imports_spaces_before_torch():
    lines = (PROJECT / "app.py").read_text().splitlines()
    first = next(line for line in lines if line.startswith(("from reid_demo", "import torch")))
    assert first == "from reid_demo.model import zerogpu"
