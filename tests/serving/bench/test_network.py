"""The network's speed table: its rows, and that it needs neither pictures nor FAISS nor Gradio."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]
BARE = """
import functools, sys
for name in ("faiss", "gradio", "openvino"):
    sys.modules[name] = None  # as if it were not installed
from reid_demo.__main__ import main
from reid_demo.serving.bench import network
network.BATCH = 4
network.bench_network = functools.partial(network.bench_network, repeats=2)  # nobody reads these times
sys.exit(main(sys.argv[1:]))
"""


def test_a_machine_without_pictures_faiss_and_gradio_measures_the_network(tiny_weights, tiny_gallery_folder, tmp_path):
    bare = tmp_path / "gallery"
    bare.mkdir()
    for path in tiny_gallery_folder.iterdir():
        if path.is_file():
            shutil.copy(path, bare)
    named = ["--weights", str(tiny_weights), "--gallery", str(bare), "--device", "cpu", "--runtime", "torch"]
    command = [sys.executable, "-c", BARE, "bench", "--network", *named, "--json"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["what"], row["unit"], row["precision"]) for row in rows] == [
        ("describe one probe, by torch", "ms", "float32"),
        ("describe, batch 4, images per second, by torch", "1/s", "float32"),
        ("describe one probe, by torch", "ms", "bfloat16"),
        ("describe, batch 4, images per second, by torch", "1/s", "bfloat16"),
        ("occlude, describe and search 18 images", "ms", "float32"),
    ]
    assert all(0 < row["low"] <= row["value"] <= row["high"] and row["reference"] > 0 for row in rows)
