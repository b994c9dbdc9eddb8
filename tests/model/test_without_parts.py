"""Page, gallery and commands work with networks without parts (G) or with static templates (G+T)."""

import json

import numpy as np
import pytest
import torch
from figures import draw_person
from PIL import Image

from reid_demo.__main__ import main
from reid_demo.config import variant
from reid_demo.engine import Engine
from reid_demo.images import read_image
from reid_demo.model import checkpoint
from reid_demo.model.dpti import build_model
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import probe as probes
from reid_demo.serving.page.handlers import ranking
from reid_demo.serving.page.handlers.changed import changed
from reid_demo.serving.page.handlers.earned import earned
from reid_demo.serving.page.handlers.session import Session, Settings
from reid_demo.serving.page.handlers.why import why
from reid_demo.serving.page.view import build_ui


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for pid in range(1, 5):
        for camid in (1, 2):
            Image.fromarray(draw_person(pid, camid)).save(folder / f"{pid:04d}_c{camid}s1_000001_00.png")
    return folder


@pytest.fixture(scope="module", params=["G", "G+T"])
def made(request, tmp_path_factory, pictures):
    """Return options that name the variant's weights and a gallery built with them."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("variant")
    model = build_model(variant(request.param, backbone="osnet_x0_25", dim=16, ffn_dim=16, num_heads=2))
    checkpoint.save_weights(model, folder / "weights")
    weights = ["--weights", str(folder / "weights"), "--device", "cpu"]
    assert main(["index", str(pictures), "--out", str(folder / "gallery"), *weights]) == 0
    return model.config.parts, [*weights, "--gallery", str(folder / "gallery")]


def test_every_command_that_searches(made, pictures, tmp_path, capsys):
    parts, options = made
    probe = str(pictures / "0001_c1s1_000001_00.png")
    for more in ([], ["--part-aware"]):
        assert main(["search", probe, "--top-k", "3", "--json", *more, *options]) == 0
        matches = json.loads(capsys.readouterr().out)[0]["matches"]
        # below 1: the gallery was described in four views
        assert 0.98 < matches[0]["similarity"] < 1.001 and len(matches[0]["contributions"]) == parts + 1
        assert sum(matches[1]["contributions"]) == pytest.approx(matches[1]["similarity"], abs=1e-5)
    assert main(["explain", probe, "--out", str(tmp_path), *options]) == 0
    explained = json.loads((tmp_path / "explanation.json").read_text())
    assert len(explained["contributions"]) == parts + 1
    assert main(["sweep", probe, "--size", "0.9", "--stride", "0.9", *options]) == 0
    assert main(["what-if", probe, "--occlude", "lower_half", *options]) == 0
    assert main(["evaluate", "--dataset", "folder", "--root", str(pictures), *options[:4]]) == 0


def test_every_click_on_the_page(made, pictures):
    parts, (_, weights, _, device, _, folder) = made
    engine, settings = Engine.load(weights, folder, device), Settings()
    opened = probes.open_picture(engine, Session(), settings, read_image(pictures / "0002_c1s1_000001_00.png"))
    hidden = probes.hide(engine, opened, settings, probes.Hiding("lower_half", "black"))
    assert not np.array_equal(hidden.current, opened.current)
    shown = why(engine, hidden)
    assert shown.count("<article ") == parts and (text.WHY_NO_PARTS in shown) == (not parts)
    assert "<svg" in changed(engine, hidden) or "<table" in changed(engine, hidden)
    assert "<img" in earned(engine, hidden)
    weighed = ranking.rank_again(engine, hidden, Settings(weighing="part_aware"))
    assert {m.index for m in weighed.matches} == {m.index for m in hidden.matches}  # eight images, all shown
    assert build_ui(engine).fns
