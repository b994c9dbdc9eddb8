"""Parts that are held stay where the initial weights have them, while presence learns."""

import dataclasses

import numpy as np
import pytest
import torch
from figures import write_people
from runs import SMALL, rows, state

from reid_demo.config import LossConfig
from reid_demo.data.loaders import Inputs
from reid_demo.errors import ShapeError, TrainingError
from reid_demo.model.dpti import build_model
from reid_demo.training.distributed import Team, WholeBatch
from reid_demo.training.held import HeldParts
from reid_demo.training.losses import Objective, held_parts
from reid_demo.training.run import Limits, Sources, train
from reid_demo.training.state import Start
from reid_demo.training.step import MOVED

CPU = torch.device("cpu")
MODEL = dataclasses.replace(SMALL.model, template_norm=True)
START = dataclasses.replace(SMALL, model=MODEL)
HELD = dataclasses.replace(START, frozen_backbone=True, hold_parts=3.0, learning_rate=3e-3)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), range(1, 5))


@pytest.fixture(scope="module")
def first(root, tmp_path_factory):
    """Return a run whose weights and batch-norm statistics are not those of a new network."""
    out = tmp_path_factory.mktemp("runs") / "first"
    run(START, root, out, max_steps=3)
    return out


def run(config, root, out, *, init=None, resume=False, **limits):
    start = Start(init=init, resume=resume)
    return train(config, Sources("market1501", [root]), out, start=start, limits=Limits(**limits), device="cpu")


def test_the_distance_is_in_units_of_the_held_length():
    rng = np.random.default_rng(1)
    parts, held = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    each = [np.sum((p - h) ** 2) / np.sum(h**2) for p, h in zip(parts.reshape(-1, 5), held.reshape(-1, 5), strict=True)]
    got = held_parts(torch.from_numpy(parts), torch.from_numpy(held))
    assert got.item() == pytest.approx(np.mean(each), rel=1e-5)
    assert held_parts(*map(torch.from_numpy, (3 * parts, 3 * held))).item() == pytest.approx(got.item(), rel=1e-5)


def test_only_templates_and_their_attention_move_and_the_distance_starts_at_nothing(root, first, tmp_path):
    run(HELD, root, tmp_path / "run", init=first, max_steps=4)
    before, after = state(first)["model"], state(tmp_path / "run")["model"]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(name.startswith(MOVED) for name in moved)
    assert {name.split(".")[0] for name in moved} == set(MOVED)
    assert not any("running_" in name for name in moved)
    distances = rows(tmp_path / "run", "hold_parts")
    assert distances[0] == 0 and min(distances[1:]) > 0


def test_what_is_held_moves_less_than_what_is_not(root, first, tmp_path):
    how_far = {}
    for weight in (1e-6, 100.0):
        out = tmp_path / str(weight)
        run(dataclasses.replace(HELD, hold_parts=weight), root, out, init=first, max_steps=12)
        how_far[weight] = rows(out, "hold_parts")[-1]
    assert 0 < how_far[100.0] < how_far[1e-6] / 4


def test_a_resumed_run_holds_the_parts_of_the_first_weights(root, first, tmp_path):
    run(HELD, root, tmp_path / "whole", init=first, max_steps=4)
    run(HELD, root, tmp_path / "halves", init=first, max_steps=4, stop_after=2)
    run(HELD, root, tmp_path / "halves", resume=True, max_steps=4)
    whole, halves = (state(tmp_path / name) for name in ("whole", "halves"))
    initial = state(first)["model"]
    assert all(torch.equal(tensor, halves["model"][name]) for name, tensor in whole["model"].items())
    for name, tensor in whole["held"].items():
        assert torch.equal(tensor, halves["held"][name]) and torch.equal(tensor, initial[name])
    assert not any(name.startswith("backbone.") for name in whole["held"])
    assert rows(tmp_path / "whole", "hold_parts") == rows(tmp_path / "halves", "hold_parts")


@pytest.mark.parametrize("pooling", ["mean", "weighted"])
def test_a_batch_is_compared_with_the_whole_initial_network(pooling):
    torch.manual_seed(2)
    config = dataclasses.replace(
        HELD, model=dataclasses.replace(MODEL, global_pooling=pooling), loss=LossConfig(identity=0.0, triplet=0.0)
    )
    initial, model = build_model(config.model).eval(), build_model(config.model).eval()
    model.backbone.load_state_dict(initial.backbone.state_dict())  # frozen, so the same
    held = HeldParts(initial)
    pixels = torch.randn(3, 3, 256, 128)
    with torch.no_grad():
        wanted, parts = initial(pixels).part_embeddings, model(pixels).part_embeddings
        initial.part_attention.block.value.weight.zero_()  # what is held is a copy
    module = WholeBatch(model, Objective(config, 2).eval(), Team(CPU), held=held).eval()
    terms = module(Inputs(pixels, torch.tensor([0, 1, 1])))
    assert terms["hold_parts"].item() == pytest.approx(held_parts(parts, wanted).item(), rel=1e-4)
    rest = config.loss.diversity * terms["diversity"].item()
    assert terms["total"].item() - rest == pytest.approx(3 * terms["hold_parts"].item(), rel=1e-3)


def test_the_objective_wants_held_parts_of_its_shape():
    output = build_model(MODEL).eval()(torch.randn(2, 3, 32, 16))
    objective, labels = Objective(HELD, 2).eval(), torch.tensor([0, 1])
    for held in (None, torch.zeros(2, 3, 16)):
        with pytest.raises(ShapeError, match=r"Expected held parts \(2, 2, 16\)"):
            objective(output, labels, held=held)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frozen_backbone": False}, "frozen_backbone=true"),
        ({"model": dataclasses.replace(MODEL, templates="static")}, "dynamic part templates"),
    ],
)
def test_recipes_that_cannot_hold_parts_are_refused(change, words, root, first, tmp_path):
    with pytest.raises(TrainingError, match=words):
        run(dataclasses.replace(HELD, **change), root, tmp_path / "run", init=first)


def test_a_random_start_has_nothing_to_hold(root, tmp_path):
    with pytest.raises(TrainingError, match="--init"):
        run(HELD, root, tmp_path / "run")
    assert not (tmp_path / "run").exists()
