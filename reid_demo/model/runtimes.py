"""Run the network on a CPU with the fastest of PyTorch, OpenVINO and ONNX Runtime. Knows no images.

The choice for a machine and weights is measured once and kept in `REID_DEMO_CACHE`, beside the graph itself.
"""

import functools
import hashlib
import importlib.util
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from reid_demo.config import IMAGE_HEIGHT, IMAGE_WIDTH, to_dict
from reid_demo.errors import ConfigError
from reid_demo.model.dpti import DPTI
from reid_demo.model.export import (
    BATCH,
    INPUT,
    OUTPUTS,
    TOLERANCE,
    DescribedBatch,
    Shown,
    difference,
    outputs,
    sample,
    to_onnx,
)

if TYPE_CHECKING:
    from openvino import Core
    from openvino import InferRequest as Request

AUTO = "auto"
TORCH, OPENVINO, ONNXRUNTIME = "torch", "openvino", "onnxruntime"
RUNTIMES = (TORCH, OPENVINO, ONNXRUNTIME)
VARIABLE = "REID_DEMO_RUNTIME"
NEEDS = {OPENVINO: ("openvino",), ONNXRUNTIME: ("onnxruntime", "onnx")}  # beside PyTorch
ROUNDS = 5  # timed runs of each candidate
BULK_BATCH = 8  # images a run, where many are to be described
GRAPH = 2  # in the name of a kept graph: raised where the same weights make another one
GAIN = 0.95  # another runtime than PyTorch must take less than this share of its time
SHARE = 4  # most images that one thread takes at once
SPIN_US = 100  # for which a thread of ONNX Runtime looks out for more work before it sleeps
BFLOAT16_COSINE = 0.999  # of descriptors in bfloat16 with those in float32


# Runs a graph: names of outputs and `(B, 3, 256, 128)` float32 pixels in, the outputs' own arrays out.
Lane = Callable[[tuple[str, ...], np.ndarray], list[np.ndarray]]


class Run(Protocol):
    """Runs the network."""

    def __call__(self, pixels: Tensor, maps: bool = True) -> DescribedBatch:
        """Describe `(B, 3, 256, 128)` float32 normalised pixels, with attention maps or without."""


log = logging.getLogger(__name__)
_loading = threading.Lock()  # two threads would make two cores
_making = threading.Lock()  # PyTorch exports one network at a time, and who comes second finds the graph of the first


@dataclass(frozen=True)
class Choice:
    """Which runtime a machine runs these weights by, and the figures that say why; one JSON file each."""

    runtime: str
    precision: str
    images: int  # in a run that was timed
    ms: dict[str, float]  # runtime -> median of a run
    processor: str
    versions: dict[str, str]


def cache_folder() -> Path:
    """Return the folder of what can be made anew: `REID_DEMO_CACHE`, by default `~/.cache/reid_demo`.

    For a user without a home folder, it is one that lasts as long as the process.
    """
    try:
        return Path(os.environ.get("REID_DEMO_CACHE") or "~/.cache/reid_demo").expanduser()
    except RuntimeError:
        return Path(_spare_folder().name)


def is_installed(name: str) -> bool:
    """Tell whether all that a runtime needs can be imported."""
    return all(importlib.util.find_spec(package) for package in NEEDS.get(name, ()))


def named(name: str | None, device: torch.device) -> str:
    """Return the runtime that an option, or else `REID_DEMO_RUNTIME`, asks for on a device: one of RUNTIMES, or auto.

    Raises:
        ConfigError: there is no such runtime, it is not installed, or it does not run on that device.
    """
    name = name or os.environ.get(VARIABLE) or AUTO
    if name == AUTO:
        return AUTO if device.type == "cpu" else TORCH
    if name not in RUNTIMES:
        raise ConfigError(f"Unknown runtime {name!r}; choose one of {', '.join((AUTO, *RUNTIMES))}.")
    if name != TORCH and device.type != "cpu":
        raise ConfigError(f"The runtime {name} runs on the CPU alone; use --device cpu, or --runtime torch.")
    missing = [package for package in NEEDS.get(name, ()) if not importlib.util.find_spec(package)]
    if missing:
        lacks = " and ".join(missing)
        raise ConfigError(f"The runtime {name} needs {lacks}, not installed here: pip install {' '.join(missing)}.")
    return name


def version(name: str) -> str:
    """Return the installed version of a runtime."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # the module came with another package, such as onnxruntime-gpu
        packages = metadata.packages_distributions().get(name)
        return metadata.version(packages[0]) if packages else "unknown"


def prepare(name: str, model: DPTI, own: Run, precision: str) -> tuple[str, Run]:
    """Return the runtime to use, and what runs a batch by it.

    Args:
        name: as `named` returns it.
        model: in evaluation mode on the CPU, float32.
        own: runs the same network by PyTorch, in `precision`.
        precision: float32 or bfloat16.

    Raises:
        ConfigError: the runtime has no such precision.
    """
    if name == ONNXRUNTIME and precision == "bfloat16":
        raise ConfigError("ONNX Runtime has no bfloat16 on a CPU; use --precision float32, or --runtime openvino.")
    if name != AUTO:
        return name, own if name == TORCH else _open(name, model, precision)
    chosen, run = _settled(model, own, precision)
    try:
        return chosen, run or _open(chosen, model, precision)
    except Exception as error:  # it ran when it was chosen
        log.warning("%s cannot run this network any more (%s); PyTorch does.", chosen, _reason(error))
        return TORCH, own


def _settled(model: DPTI, own: Run, precision: str) -> tuple[str, Run | None]:
    """Return the runtime chosen for this machine and these weights, and what runs by it where that is open already.

    The first time, it measures and keeps the choice.
    """
    able = [name for name in RUNTIMES if is_installed(name) and (name, precision) != (ONNXRUNTIME, "bfloat16")]
    if able == [TORCH]:
        return TORCH, own
    versions = {name: version(name) for name in able}
    situation = [_fingerprint(model), GRAPH, precision, _processor(), versions, torch.get_num_threads()]
    key = hashlib.sha256(json.dumps(situation).encode()).hexdigest()[:16]
    path = cache_folder() / "runtimes" / f"{key}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["runtime"]
        if kept in able:
            return kept, own if kept == TORCH else None
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not measured yet, or the file is damaged: it is written anew
    images, what = (1, "a probe") if precision == "float32" else (BULK_BATCH, "a gallery's images")
    print(f"Measuring which of {', '.join(able)} describes {what} fastest here (once).", file=sys.stderr)
    runs = _candidates(able, model, own, precision)
    ms = _measure(runs, sample(images))
    best = min(ms, key=ms.get)
    chosen = best if ms[best] < GAIN * ms[TORCH] else TORCH
    if len(ms) == len(able):  # what failed may run at the next start: a full disk does not last
        _keep(path, Choice(chosen, precision, images, ms, _processor(), versions))
    return chosen, runs[chosen]


def _candidates(names: list[str], model: DPTI, own: Run, precision: str) -> dict[str, Run]:
    """Open each runtime, without those that fail here or give other results than PyTorch."""
    pixels = sample(3)
    wanted, found = own(pixels), {TORCH: own}
    for name in names:
        if name == TORCH:
            continue
        try:
            run = _open(name, model, precision)
            answer = run(pixels)
        except Exception as error:  # of whatever kind a broken or too old installation raises
            log.warning("%s cannot run this network (%s); it is not used.", name, _reason(error))
            continue
        if not _agrees(wanted, answer, precision):
            log.warning("%s gives other results than PyTorch; it is not used.", name)
            continue
        found[name] = run
    return found


def _reason(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return said.splitlines()[0]


def _agrees(wanted: DescribedBatch, found: DescribedBatch, precision: str) -> bool:
    if precision == "float32":
        return difference(wanted, found) <= TOLERANCE
    one, other = (np.hstack([b.global_embedding, *b.part_embeddings.swapaxes(0, 1)]) for b in (wanted, found))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return bool(((one * other).sum(axis=1) >= BFLOAT16_COSINE * lengths).all())


def _measure(candidates: dict[str, Run], pixels: Tensor) -> dict[str, float]:
    """Return the median milliseconds of a run by each candidate. They take turns, so other load affects all alike."""
    took: dict[str, list[float]] = {name: [] for name in candidates}
    for round_ in range(ROUNDS + 1):
        for name, run in candidates.items():
            start = time.perf_counter()
            run(pixels)
            if round_:  # the first one warms up
                took[name].append(1000 * (time.perf_counter() - start))
    return {name: round(statistics.median(values), 2) for name, values in took.items()}


def _keep(path: Path, choice: Choice) -> None:
    try:
        _write(path, lambda temporary: temporary.write_text(json.dumps(asdict(choice), indent=2) + "\n", "utf-8"))
    except OSError as error:
        log.warning("The choice of a runtime cannot be kept (%s); the next start measures again.", error.strerror)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file, or a file with another beside it, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        write(Path(folder) / path.name)
        for made in sorted(Path(folder).iterdir()):  # .bin before .xml, which names it
            made.replace(path.parent / made.name)


def _open(name: str, model: DPTI, precision: str) -> Run:
    """Open a network by OpenVINO or ONNX Runtime; its graph is made once and kept where the cache can be written."""
    suffix, make = (".xml", _to_openvino) if name == OPENVINO else (".onnx", to_onnx)
    made_by = "-".join((_fingerprint(model), str(GRAPH), torch.__version__.partition("+")[0], version(NEEDS[name][-1])))
    path = cache_folder() / "graphs" / f"{made_by}{suffix}"
    with _making:
        if os.path.exists(path):  # unlike Path.exists, false in a folder that may not be entered
            try:
                return open_onnx(name, path, precision)
            except Exception as error:  # of whatever kind a damaged file raises
                log.warning("The graph that was kept cannot be opened (%s); it is made again.", _reason(error))
        try:
            _write(path, functools.partial(make, model))
        except (OSError, RuntimeError) as error:  # OpenVINO raises RuntimeError where the disk is full
            log.warning("The graph cannot be kept (%s); the next start makes it again.", _reason(error))
            path = Path(_spare_folder().name) / path.name
            if not path.exists():
                make(model, path)
        return open_onnx(name, path, precision)


@functools.cache
def _spare_folder() -> tempfile.TemporaryDirectory:
    """Return a folder that lasts as long as the process: a graph is opened a second time for the first many images."""
    return tempfile.TemporaryDirectory(prefix="reid_demo-graphs-")


def open_onnx(name: str, path: Path, precision: str = "float32") -> Run:
    """Open a graph file by OpenVINO (ONNX, or its own format) or ONNX Runtime, on as many threads as PyTorch has."""
    return (_by_openvino if name == OPENVINO else _by_onnxruntime)(path, precision)


class _Graph:
    """A graph that all threads run together for one image, and each thread by itself for its share of many.

    Threads that work together wait for each other at every layer, and for whoever else uses their core.
    """

    def __init__(self, together: Lane, open_apart: Callable[[int], list[Lane]]) -> None:
        """Take the graph for all threads and one image, and what opens it for each of several threads."""
        self._threads = torch.get_num_threads()
        self._together, self._open_apart = together, open_apart
        self._one_at_a_time, self._opening = threading.Lock(), threading.Lock()
        self._free: SimpleQueue[Lane] = SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None  # opened for the first images that are many

    def run(self, pixels: Tensor, maps: bool = True) -> DescribedBatch:
        """Describe a batch; see `Run`."""
        names, images = outputs(maps), pixels.numpy()
        if len(images) == 1 or 2 * len(images) <= self._threads:  # one after the other; else most threads have a share
            with self._one_at_a_time:
                parts = [self._together(names, images[i : i + 1]) for i in range(len(images))]
        else:
            rounds = -(-len(images) // (self._threads * SHARE))
            shares = np.array_split(images, min(len(images), self._threads * rounds))
            parts = list(self._apart().map(lambda share: self._by_a_free_lane(names, share), shares))
        found = [np.concatenate(each) for each in zip(*parts, strict=True)]
        return DescribedBatch.read(dict(zip(names, found, strict=True)).__getitem__, maps)

    def _by_a_free_lane(self, names: tuple[str, ...], images: np.ndarray) -> list[np.ndarray]:
        lane = self._free.get()
        try:
            return lane(names, images)
        finally:
            self._free.put(lane)

    def _apart(self) -> ThreadPoolExecutor:
        with self._opening:
            if self._pool is None:
                for lane in self._open_apart(self._threads):
                    self._free.put(lane)
                self._pool = ThreadPoolExecutor(self._threads, "network")
            return self._pool


def _by_onnxruntime(path: Path, _precision: str) -> Run:
    def opened(threads: int, **fixed: int) -> Lane:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 3  # errors
        settings.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
        for name, size in fixed.items():
            settings.add_free_dimension_override_by_name(name, size)
        # By its path: a session keeps what it is given, and the bytes would stay in memory beside the network.
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        return lambda names, images: session.run(names, {INPUT: images})

    onnxruntime = import_onnxruntime()
    return _Graph(opened(torch.get_num_threads(), **{BATCH: 1}), lambda lanes: [opened(1)] * lanes).run


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime without its reports of use, which its makers get from every process, and its file of them."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def import_openvino() -> ModuleType:
    """Import OpenVINO without its reports of use: with `openvino_telemetry`, each import sends one to the web."""
    sys.modules.setdefault("openvino_telemetry", None)  # as if it were not installed
    import openvino

    return openvino


def openvino_core() -> "Core":
    """Return the one core through which this process runs OpenVINO.

    OpenVINO puts a signal stack of its own under the thread that loads it, and takes it away with the core. After two
    cores a thread may keep the first one's, and the next signal with a handler in Python would end the process.
    """
    with _loading:
        return _core()


@functools.cache
def _core() -> "Core":
    openvino = import_openvino()
    # The first array that OpenVINO hands out sets up its bridge to NumPy. Two threads that ask for it at the same
    # moment wait for each other forever, one with Python's lock and one for it.
    _ = openvino.Tensor(np.zeros(1, np.float32)).data
    return openvino.Core()


def _by_openvino(path: Path, precision: str) -> Run:
    def opened(batch: int, lanes: int) -> list[Lane]:
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": lanes,
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # other programs share the cores
        }
        weights = path.with_suffix(".bin")  # read into memory: a mapped file must not change under a running program
        graph = core.read_model(path.read_bytes(), weights.read_bytes() if path.suffix == ".xml" else b"")
        graph.reshape([batch, 3, IMAGE_HEIGHT, IMAGE_WIDTH])
        compiled = core.compile_model(graph, "CPU", settings)
        return [_openvino_lane(compiled.create_infer_request()) for _ in range(lanes)]

    core = openvino_core()
    return _Graph(opened(1, 1)[0], lambda lanes: opened(-1, lanes)).run


def _openvino_lane(request: "Request") -> Lane:
    def run(names: tuple[str, ...], images: np.ndarray) -> list[np.ndarray]:
        found = request.infer([images], share_outputs=True)  # which the next run overwrites
        return [np.array(found[OUTPUTS.index(name)], np.float32) for name in names]

    return run


def _to_openvino(model: DPTI, path: Path) -> None:
    openvino = import_openvino()
    shown = Shown(model).eval()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer warns of the shape check
        traced = torch.jit.trace(shown, sample(2), strict=False, check_trace=False)  # to check doubles the time
        graph = openvino.convert_model(traced)
    openvino.save_model(graph, path, compress_to_fp16=False)


def _fingerprint(model: DPTI) -> str:
    """Return 16 hex digits of a network's tensors and configuration, as they are in memory."""
    digest = hashlib.sha256(json.dumps(to_dict(model.config), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
