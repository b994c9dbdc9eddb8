"""Shared fixtures: a tiny real network, coloured synthetic figures, a tiny gallery and an engine over them."""

# Before torch is imported.
from side_by_side import (  # noqa: F401
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_configure_node,
    pytest_runtest_protocol,
    pytest_unconfigure,
    pytest_xdist_auto_num_workers,
)

# isort: split
import huggingface_hub
import numpy as np
import pytest
import torch
from figures import draw_person, one_block
from hub_server import Hub
from huggingface_hub import constants
from PIL import Image

from reid_demo.config import ModelConfig
from reid_demo.engine import AboutWeights, Engine, Example
from reid_demo.images import read_image
from reid_demo.model import checkpoint
from reid_demo.model.describer import Describer
from reid_demo.model.dpti import build_model
from reid_demo.records import ImageRecord
from reid_demo.search import gallery, store


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Cache outside the home folder, and run the network in PyTorch whatever else is installed.

    Tests of other runtimes name theirs; all other tests compare numbers to the last digit.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REID_DEMO_RUNTIME", "torch")
        patch.setenv("REID_DEMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    """Return a small but complete G+D configuration."""
    return ModelConfig(backbone="osnet_x0_25", dim=32, ffn_dim=64)


@pytest.fixture(autouse=True)
def same_draws():
    """Seed PyTorch before each test, so that random weights do not depend on the tests before it, or on luck.

    The seed is none of those that fixtures and tests name: what is drawn without one differs from what they draw.
    """
    torch.manual_seed(1000)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory, tiny_config):
    """Save random weights of the tiny configuration; return their folder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    checkpoint.save_weights(build_model(tiny_config), folder)
    (folder / "MODEL_CARD.md").write_text("# tiny\n\nRandom weights for tests.\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_describer(tiny_weights) -> Describer:
    """Return a describer over the tiny weights."""
    return Describer(checkpoint.load_weights(tiny_weights), "cpu", batch_size=8)


@pytest.fixture(scope="session")
def tiny_gallery_folder(tmp_path_factory, tiny_describer, tiny_weights):
    """Build a gallery of 6 people under 3 cameras; return its folder."""
    folder = tmp_path_factory.mktemp("galleries") / "tiny"
    (folder / "images").mkdir(parents=True)
    records = []
    for pid in range(1, 7):
        for camid in range(1, 4):
            path = f"images/{pid:04d}_c{camid}s1_000001_00.png"
            Image.fromarray(draw_person(pid, camid)).save(folder / path)
            records.append(ImageRecord(path, pid, camid, 64, 128))
    descriptors = list(tiny_describer.describe_stream(read_image(folder / r.path) for r in records))
    store.write(folder, records, one_block(descriptors), store.About(checkpoint.fingerprint(tiny_weights), "tiny"))
    return folder


@pytest.fixture(scope="session")
def tiny_engine(tiny_describer, tiny_gallery_folder, tiny_weights) -> Engine:
    """Return a real engine over the tiny gallery, with two example probes."""
    probes = tiny_gallery_folder / "probes"
    probes.mkdir(exist_ok=True)
    examples = []
    for pid, kind in ((2, "whole"), (50, "absent")):
        path = probes / f"{pid:04d}.png"
        Image.fromarray(draw_person(pid, 4)).save(path)
        examples.append(Example(path, f"person {pid}", pid, 4, kind))
    person = np.zeros((40, 16, 4), np.uint8)
    person[4:, 4:12] = (40, 60, 90, 255)
    return Engine(
        tiny_describer,
        gallery.load(tiny_gallery_folder, checkpoint.fingerprint(tiny_weights)),
        about=AboutWeights("tiny", "# tiny"),
        examples=examples,
        cutouts={"person": [person]},
    )


@pytest.fixture
def probe_image(tiny_engine) -> np.ndarray:
    """Return the first example's picture."""
    return read_image(tiny_engine.examples[0].path)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a Hub on loopback and redirect every call of the Hub's client to it."""
    one = Hub()
    for name, value in {
        "ENDPOINT": one.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": one.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
        "HF_TOKEN_PATH": str(tmp_path / "no-token"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(huggingface_hub.HfApi, "__init__", _with_endpoint(huggingface_hub.HfApi.__init__, one.url))
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield one
    one.close()


def _with_endpoint(init, url):
    def patched(self, endpoint=None, **more):
        init(self, endpoint=endpoint or url, **more)

    return patched
