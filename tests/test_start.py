"""Starting loads nothing that the first screen does not need."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Compilers of PyTorch, plotting, statistics, and what only some commands need: a second or more of each start.
HEAVY = {
    "torch._dynamo",
    "torch._inductor",
    "torch.onnx",
    "torchvision",
    "sympy",
    "scipy",
    "matplotlib",
    "networkx",
    "onnx",
    "onnxruntime",
    "openvino",
    "pymilvus",
    "moderngl",
    "spaces",
}
SMALL = {"gradio", "faiss", "pandas", "cv2"}  # a command that lists its options needs none of them either


def loaded_by(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after running `code`."""
    code = f"import sys; {code}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("code", ["import reid_demo.engine", "import app"])
def test_the_start_loads_nothing_heavy_that_it_does_not_use(code):
    loaded = loaded_by(code)
    assert "torch" in loaded  # or the list says nothing
    assert not loaded & {*HEAVY, "pandas"}


@pytest.mark.parametrize("name", ["dpti-osnet", "dpti-r18"])
def test_weights_load_without_a_compiler(name):
    read = "from reid_demo.model.checkpoint import load_weights"
    assert not loaded_by(f"{read}; assert load_weights('weights/{name}').config.parts == 8") & HEAVY


@pytest.mark.parametrize("use", ["caching.pd.DataFrame", "importlib.import_module('pandas.io.formats.style')"])
def test_pandas_is_there_once_gradio_uses_it(use):
    code = f"import importlib, app; from gradio import caching; {use}; import pandas"
    loaded = loaded_by(f"{code}; assert pandas.Series is caching.pd.Series and pandas is not caching.pd")
    assert "pandas.core.frame" in loaded


def test_pandas_loads_while_gradio_is_imported_if_it_is_used_then():
    code = (
        "from reid_demo.serving.gradio_patches import without_pandas; context = without_pandas(); context.__enter__()"
    )
    code = f"{code}; import pandas; import pandas.io; pandas.Series; context.__exit__(None, None, None)"
    assert "pandas.core.frame" in loaded_by(code)


def test_the_package_itself_loads_nothing():
    assert not loaded_by("import reid_demo") & {"torch", "numpy", *HEAVY, *SMALL}
