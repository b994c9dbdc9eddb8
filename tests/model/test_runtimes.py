"""Every runtime returns PyTorch's results, and the fastest is determined only once."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from figures import draw_person

from reid_demo.__main__ import main
from reid_demo.config import variant
from reid_demo.errors import ConfigError, WeightsError
from reid_demo.model import export, runtimes
from reid_demo.model.checkpoint import load_weights
from reid_demo.model.describer import Describer, bulk_precision
from reid_demo.model.dpti import build_model
from reid_demo.search.bundled import DEFAULT_WEIGHTS
from reid_demo.search.similarity import unit_vectors

CPU = torch.device("cpu")
GRAPHS = [
    pytest.param(name, marks=pytest.mark.skipif(not runtimes.is_installed(name), reason=f"{name} is not installed"))
    for name in ("openvino", "onnxruntime")
]
EVERY = [
    pytest.param(name, marks=pytest.mark.skipif(not runtimes.is_installed(name), reason=f"{name} is not installed"))
    for name in runtimes.RUNTIMES
]
needs_export = pytest.mark.skipif(not runtimes.is_installed("onnxruntime"), reason="onnxruntime or onnx is missing")


@pytest.fixture(scope="module")
def shipped():
    return load_weights(DEFAULT_WEIGHTS)


@pytest.fixture(scope="module")
def images():
    return [draw_person(pid, 1) for pid in range(3)]


@pytest.mark.parametrize("name", GRAPHS)
def test_a_runtime_answers_as_pytorch(name, shipped, images):
    wanted, found = (Describer(shipped, runtime=runtime).describe(images) for runtime in ("torch", name))
    for a, b in zip(wanted, found, strict=True):
        one, other = (unit_vectors(d.parts[None], d.presence[None])[0] for d in (a, b))
        assert one @ other == pytest.approx(1, abs=1e-5)
        for field in ("parts", "presence", "template_attention", "part_attention"):
            mine, theirs = getattr(a, field), getattr(b, field)
            assert theirs.shape == mine.shape and theirs.dtype == np.float32
            np.testing.assert_allclose(theirs, mine, atol=1e-4 * max(1, np.abs(mine).max()))
        assert b.presence.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_alone_or_in_a_batch_an_image_has_one_answer(name, shipped, images):
    describer = Describer(shipped, runtime=name)
    together = describer.describe(images)
    for image, described in zip(images, together, strict=True):
        alone = describer.describe([image])[0]
        one, other = (unit_vectors(d.parts[None], d.presence[None])[0] for d in (alone, described))
        assert one @ other == pytest.approx(1, abs=1e-5)


@pytest.fixture(params=[2, 5])
def several_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("maps", [True, False])
def test_shared_out_among_threads_a_batch_has_the_same_answers(name, maps, shipped, several_threads):
    run = Describer(shipped, runtime=name)._run
    for count in (2, 3, 9):
        pixels = export.sample(count, seed=count)
        together = run(pixels, maps)
        alone = [run(one[None], maps) for one in pixels]
        for field in export.outputs(True):
            each = np.concatenate([getattr(one, field) for one in alone])
            assert each.shape == getattr(together, field).shape == (count, *each.shape[1:])
            np.testing.assert_allclose(getattr(together, field), each, atol=1e-4 * np.abs(each).max(initial=1))
        assert (together.part_attention.size > 0) == maps


OTHER_BACKBONE = {"backbone": "osnet_lct", "global_pooling": "weighted"}


@pytest.mark.parametrize(
    ("row", "changes"),
    [*((row, {}) for row in ("G", "G+P", "G+T", "G+D+W")), ("G", OTHER_BACKBONE), ("G+D", OTHER_BACKBONE)],
)
@pytest.mark.parametrize("name", GRAPHS)
def test_every_variant_runs_as_a_graph(name, row, changes):
    torch.manual_seed(0)
    model = build_model(variant(row, dim=32, ffn_dim=64, **changes)).eval()
    wanted, found = (Describer(model, runtime=runtime)._run(export.sample(3)) for runtime in ("torch", name))
    # Random weights make attention nearly one-hot, which magnifies the last digits of float32.
    assert export.difference(wanted, found) <= 10 * export.TOLERANCE
    parts = model.config.parts
    assert found.global_embedding.shape == (3, 32) and found.part_embeddings.shape == (3, parts, 32)
    assert found.presence.shape == (3, parts)
    assert found.template_attention.shape == found.part_attention.shape == (3, parts, 16, 8)


@pytest.mark.skipif(not runtimes.is_installed("openvino"), reason="openvino is not installed")
def test_openvino_in_bfloat16_stays_close(shipped, images):
    exact = Describer(shipped).describe(images)
    rough = Describer(shipped, precision="bfloat16", runtime="openvino").describe(images)
    for a, b in zip(exact, rough, strict=True):
        one, other = (unit_vectors(d.parts[None], d.presence[None])[0] for d in (a, b))
        assert one @ other > 0.999 and b.parts.dtype == np.float32


def test_the_fastest_is_sought_once_and_kept(tiny_weights, tmp_path, monkeypatch, capsys):
    if not any(runtimes.is_installed(name) for name in runtimes.NEEDS):
        pytest.skip("neither openvino nor onnxruntime is installed: there is no choice")
    monkeypatch.setenv("REID_DEMO_CACHE", str(tmp_path))
    opened, open_graph = [], runtimes.open_onnx
    monkeypatch.setattr(runtimes, "open_onnx", lambda name, *given: opened.append(name) or open_graph(name, *given))
    model = load_weights(tiny_weights)
    first = Describer(model, runtime="auto")
    assert "describes a probe fastest here" in capsys.readouterr().err
    assert opened == [name for name in runtimes.NEEDS if runtimes.is_installed(name)]  # what was measured runs on
    (kept,) = (tmp_path / "runtimes").glob("*.json")
    said = json.loads(kept.read_text(encoding="utf-8"))
    assert said["runtime"] == first.runtime in said["ms"] and said["ms"].keys() >= {"torch"}
    assert first.runtime == "torch" or said["ms"][first.runtime] == min(said["ms"].values())
    said["runtime"] = "torch"  # what is kept decides, not another measurement
    kept.write_text(json.dumps(said), encoding="utf-8")
    assert Describer(model, runtime="auto").runtime == "torch" and capsys.readouterr().err == ""
    kept.write_text("oops", encoding="utf-8")
    Describer(model, runtime="auto")
    assert json.loads(kept.read_text(encoding="utf-8"))["runtime"] in runtimes.RUNTIMES
    monkeypatch.setattr(runtimes, "_candidates", lambda names, model, own, precision: dict.fromkeys(names, own))
    torch.manual_seed(5)
    Describer(build_model(model.config), runtime="auto")
    assert len(list((tmp_path / "runtimes").glob("*.json"))) == 2  # other weights are another choice


@pytest.mark.parametrize("name", GRAPHS)
def test_a_cache_that_cannot_be_written_is_done_without(name, tiny_weights, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("REID_DEMO_CACHE", str(tmp_path / "file"))
    describer = Describer(load_weights(tiny_weights), runtime=name)
    assert describer.runtime == name
    assert "cannot be kept" in caplog.text
    images = [draw_person(pid, 1) for pid in range(4)]
    assert len(describer.describe(images)) == 4  # for which the graph is opened once more


def keep_graph(name, model, folder, monkeypatch):
    """Make `folder` the cache, with this network's graph in it, made once for all tests; return what ran it."""
    describer = Describer(model, runtime=name)
    made = runtimes._fingerprint(describer.model)
    (folder / "graphs").mkdir()
    for suffix in (".xml", ".bin") if name == "openvino" else (".onnx",):
        (path,) = (runtimes.cache_folder() / "graphs").glob(f"{made}-*{suffix}")
        shutil.copy(path, folder / "graphs")
    monkeypatch.setenv("REID_DEMO_CACHE", str(folder))
    return describer


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("left", [None, 0, 1000])
def test_a_damaged_graph_is_made_again(name, left, tiny_weights, tmp_path, monkeypatch, caplog):
    model, image = load_weights(tiny_weights), draw_person(1, 1)
    wanted = keep_graph(name, model, tmp_path, monkeypatch).describe([image])[0]
    graphs = sorted((tmp_path / "graphs").iterdir())  # .bin before .xml
    if left is None and name == "openvino":
        graphs[0].unlink()
    else:  # a graph in one file is not damaged where that is absent: it was not made yet
        graphs[0].write_bytes(graphs[0].read_bytes()[: left or 0])
    assert caplog.text == ""
    found = Describer(model, runtime=name).describe([image])[0]
    assert "that was kept cannot be opened" in caplog.text
    np.testing.assert_array_equal(found.parts, wanted.parts)
    caplog.clear()
    Describer(model, runtime=name)
    assert caplog.text == ""


@pytest.mark.parametrize("name", GRAPHS)
def test_a_full_disk_is_done_without(name, tiny_weights, tmp_path, monkeypatch, caplog):
    def full(path, write):
        raise RuntimeError("basic_ios::clear: iostream error")  # as OpenVINO says it

    monkeypatch.setenv("REID_DEMO_CACHE", str(tmp_path))
    monkeypatch.setattr(runtimes, "_write", full)
    monkeypatch.setattr(runtimes, "_spare_folder", functools.cache(runtimes._spare_folder.__wrapped__))
    model = load_weights(tiny_weights)
    assert Describer(model, runtime=name).runtime == name and "cannot be kept (basic_ios" in caplog.text
    for make in ("to_onnx", "_to_openvino"):
        monkeypatch.setattr(runtimes, make, lambda model, path: pytest.fail("made again"))
    assert Describer(model, runtime=name).runtime == name  # by the graph that this process has made
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", GRAPHS[:1])
def test_a_runtime_that_failed_is_tried_at_the_next_start(name, tiny_weights, tmp_path, monkeypatch, caplog):
    opened, model = runtimes.open_onnx, load_weights(tiny_weights)
    keep_graph(name, model, tmp_path, monkeypatch)
    monkeypatch.setattr(runtimes, "is_installed", lambda runtime: runtime in ("torch", name))
    monkeypatch.setattr(runtimes, "GAIN", 1e9)  # whatever runs is quick enough
    monkeypatch.setattr(runtimes, "_to_openvino", lambda model, path: None)  # it is kept already

    def broken(*given):
        raise ValueError

    monkeypatch.setattr(runtimes, "open_onnx", broken)
    assert Describer(model, runtime="auto").runtime == "torch"
    assert "cannot run this network (ValueError)" in caplog.text and not (tmp_path / "runtimes").exists()
    monkeypatch.setattr(runtimes, "open_onnx", opened)
    monkeypatch.setattr(
        runtimes, "_measure", lambda candidates, pixels: {one: float(one == "torch") for one in candidates}
    )
    assert Describer(model, runtime="auto").runtime == name
    monkeypatch.setattr(runtimes, "open_onnx", broken)  # it was chosen, and does not run any more
    caplog.clear()
    assert Describer(model, runtime="auto").runtime == "torch" and "any more (ValueError); PyTorch does" in caplog.text


def test_a_user_without_a_home_has_a_cache(monkeypatch):
    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("REID_DEMO_CACHE")
    monkeypatch.setattr(Path, "expanduser", homeless)
    assert runtimes.cache_folder().is_dir() and runtimes.cache_folder() == runtimes.cache_folder()


@pytest.mark.parametrize("name", GRAPHS)
def test_many_callers_at_once_get_their_own_answers(name, tiny_weights, several_threads):
    run = Describer(load_weights(tiny_weights), runtime=name)._run
    batches = [export.sample(count, seed=count) for count in (1, 9, 1, 4, 2, 1, 5, 3)]
    wanted = [run(pixels, False) for pixels in batches]
    with ThreadPoolExecutor(len(batches)) as pool:
        for _ in range(5):
            for one, other in zip(wanted, pool.map(lambda pixels: run(pixels, False), batches), strict=True):
                np.testing.assert_allclose(other.part_embeddings, one.part_embeddings, atol=1e-5)


@pytest.mark.skipif(len(runtimes.NEEDS) > sum(map(runtimes.is_installed, runtimes.NEEDS)), reason="one is missing")
def test_networks_are_opened_side_by_side_while_another_runs(tiny_weights, tmp_path, monkeypatch):
    """PyTorch's tracers and its exporter change what the whole process has of them."""
    monkeypatch.setenv("REID_DEMO_CACHE", str(tmp_path))
    made = []
    for make in ("to_onnx", "_to_openvino"):
        one = getattr(runtimes, make)
        monkeypatch.setattr(runtimes, make, lambda *given, one=one, make=make: made.append(make) or one(*given))
    running, pixels, done = Describer(load_weights(tiny_weights)), export.sample(2), threading.Event()
    wanted = running._run(pixels)

    def run_on() -> int:
        rounds = 0
        while rounds < 3 or not done.is_set():
            assert export.difference(wanted, running._run(pixels)) <= export.TOLERANCE
            rounds += 1
        return rounds

    names = ["openvino", "onnxruntime", "torch", "openvino", "torch"]
    with ThreadPoolExecutor(len(names) + 1) as pool:
        others = pool.submit(run_on)
        opened = list(pool.map(lambda name: Describer(load_weights(tiny_weights), runtime=name), names))
        done.set()
        assert others.result() >= 3
    assert sorted(made) == ["_to_openvino", "to_onnx"]  # each once, though two wanted OpenVINO's
    for describer in opened:
        assert export.difference(wanted, describer._run(pixels)) <= export.TOLERANCE


@needs_export
def test_a_network_that_is_exported_keeps_its_channels_last(tiny_weights, tmp_path):
    model = Describer(load_weights(tiny_weights)).model
    wide = [weight for weight in model.parameters() if weight.ndim == 4 and min(weight.shape) > 1]
    export.to_onnx(model, tmp_path / "net.onnx")
    assert wide and all(weight.is_contiguous(memory_format=torch.channels_last) for weight in wide)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_of_an_older_form_is_not_used(name, tiny_weights, tmp_path, monkeypatch):
    model = load_weights(tiny_weights)
    keep_graph(name, model, tmp_path, monkeypatch)
    suffix = ".xml" if name == "openvino" else ".onnx"
    for form, kept in ((runtimes.GRAPH, 1), (runtimes.GRAPH + 1, 2), (runtimes.GRAPH + 1, 2)):
        monkeypatch.setattr(runtimes, "GRAPH", form)
        Describer(model, runtime=name)
        assert len(list((tmp_path / "graphs").glob(f"*{suffix}"))) == kept


def test_the_cache_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REID_DEMO_CACHE", "~/here")
    assert runtimes.cache_folder() == tmp_path / "here"


def test_a_runtime_is_named_by_option_or_environment(monkeypatch):
    monkeypatch.delenv("REID_DEMO_RUNTIME")
    assert runtimes.named(None, CPU) == "auto"
    monkeypatch.setenv("REID_DEMO_RUNTIME", "torch")
    assert runtimes.named(None, CPU) == "torch" and runtimes.named("auto", CPU) == "auto"
    with pytest.raises(ConfigError, match="Unknown runtime 'tensorrt'; choose one of auto, torch"):
        runtimes.named("tensorrt", CPU)


def test_a_gpu_is_left_to_pytorch():
    gpu = torch.device("cuda")
    assert runtimes.named(None, gpu) == runtimes.named("torch", gpu) == "torch"
    with pytest.raises(ConfigError, match="openvino runs on the CPU alone; use --device cpu"):
        runtimes.named("openvino", gpu)


@pytest.mark.parametrize(("name", "install"), [("openvino", "openvino"), ("onnxruntime", "onnxruntime onnx")])
def test_a_missing_runtime_says_what_to_install(name, install, monkeypatch):
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda package: None)
    assert not runtimes.is_installed(name)
    with pytest.raises(ConfigError, match=f"{name} needs {name}.*pip install {re.escape(install)}"):
        runtimes.named(name, CPU)


def test_what_is_there_need_not_be_installed(monkeypatch):
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda package: package == "onnx" or None)
    with pytest.raises(ConfigError, match="needs onnxruntime, not installed here: pip install onnxruntime.$"):
        runtimes.named("onnxruntime", CPU)


@pytest.mark.skipif(not runtimes.is_installed("openvino"), reason="openvino is not installed")
def test_openvino_reports_nothing_home(tmp_path):
    code = "import sys; from reid_demo.model import runtimes; runtimes.import_openvino().Core()"
    home = {**os.environ, "HOME": str(tmp_path), "CI": ""}  # reports would be off in CI
    subprocess.run([sys.executable, "-c", code], env=home, check=True)
    assert not list(tmp_path.rglob("openvino_ga_cid"))  # the number under which it would report


TWO_CLOSED = """
import gc, signal, sys
from reid_demo.model.checkpoint import load_weights
from reid_demo.model.describer import Describer

opened = [Describer(load_weights(sys.argv[1]), runtime="openvino") for _ in range(2)]
while opened:
    del opened[0]  # the first one goes first
    gc.collect()
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(True))
signal.raise_signal(signal.SIGUSR1)
assert heard
"""


@pytest.mark.skipif(not runtimes.is_installed("openvino"), reason="openvino is not installed")
def test_a_signal_is_heard_after_two_networks_are_closed(tiny_weights):
    """OpenVINO takes away a signal stack that the thread may still have: the process died of the next signal."""
    ended = subprocess.run([sys.executable, "-X", "faulthandler", "-c", TWO_CLOSED, tiny_weights], check=False)
    assert ended.returncode == 0


@pytest.mark.skipif(not runtimes.is_installed("onnxruntime"), reason="onnxruntime is not installed")
def test_onnx_runtime_reports_nothing_home(tmp_path):
    """Where it would send reports (1.32 does), it writes the number of the process into a file."""
    code = "from reid_demo.model import runtimes; runtimes.import_onnxruntime()"
    home = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    subprocess.run(
        [sys.executable, "-c", code], env={**home, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}, check=True
    )
    assert not list(tmp_path.rglob("*"))


@needs_export
def test_onnx_runtime_has_no_bfloat16(tiny_weights, monkeypatch):
    with pytest.raises(ConfigError, match="no bfloat16 on a CPU"):
        Describer(load_weights(tiny_weights), precision="bfloat16", runtime="onnxruntime")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert bulk_precision(CPU, "onnxruntime") == "float32" and bulk_precision(CPU, "torch") == "bfloat16"


@needs_export
def test_an_exported_file_takes_any_batch(tiny_weights, tmp_path, capsys):
    onnxruntime = runtimes.import_onnxruntime()
    path = tmp_path / "deep" / "net.onnx"
    assert main(["export", "--onnx", str(path), "--weights", str(tiny_weights), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["largest_difference"] <= 1e-4 and told["checked_by"] == "onnxruntime"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == told["outputs"] == list(export.OUTPUTS)
    model = load_weights(tiny_weights)
    for batch in (1, 5):
        pixels = export.sample(batch, seed=9)
        with torch.inference_mode():
            wanted = model(pixels)
        for name, found in zip(export.OUTPUTS, session.run(None, {"images": pixels.numpy()}), strict=True):
            np.testing.assert_allclose(found, getattr(wanted, name).numpy(), atol=1e-4)
    assert [file.name for file in path.parent.iterdir()] == ["net.onnx"]


@needs_export
def test_an_export_that_differs_is_not_left_behind(tiny_weights, tmp_path, monkeypatch):
    other = build_model(load_weights(tiny_weights).config).eval()
    write = export.to_onnx
    monkeypatch.setattr(export, "to_onnx", lambda model, path: write(other, path))
    with pytest.raises(WeightsError, match="differs from PyTorch by .*nothing was written"):
        export.export(load_weights(tiny_weights), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


FIRST_RUNS = """
import threading
import numpy as np
from reid_demo.model import runtimes
openvino, core = runtimes.import_openvino(), runtimes.openvino_core()
pixels = openvino.opset13.parameter([-1, 4], np.float32)
compiled = core.compile_model(openvino.Model([openvino.opset13.relu(pixels)], [pixels], "graph"), "CPU")
requests = [compiled.create_infer_request() for _ in range(4)]
together = threading.Barrier(len(requests))
def first(request):
    together.wait()
    request.infer([np.ones((2, 4), np.float32)], share_outputs=True)
threads = [threading.Thread(target=first, args=[request], daemon=True) for request in requests]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("ran")
"""


@pytest.mark.skipif(not runtimes.is_installed("openvino"), reason="openvino is not installed")
def test_the_first_runs_may_be_at_once():
    """A command whose first pictures were many hung for ever, about every second time that it happened here."""
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", FIRST_RUNS], capture_output=True, text=True, timeout=60)
        assert ran.stdout == "ran\n", ran.stderr


def test_a_runtime_that_came_with_another_package_has_a_version(monkeypatch):
    """`onnxruntime-gpu` brings the module, not the distribution, of that name."""

    def version(name):
        if name == "onnxruntime":
            raise runtimes.metadata.PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(runtimes.metadata, "version", version)
    for packages, wanted in (({"onnxruntime": ["onnxruntime-gpu"]}, "1.2.3"), ({}, "unknown")):
        monkeypatch.setattr(runtimes.metadata, "packages_distributions", lambda packages=packages: packages)
        assert runtimes.version("onnxruntime") == wanted
