"""The mean of trained and untouched weights: its ends are exact, its middle is a mean, and the parts stay trained."""

import json
from dataclasses import replace

import pytest
import torch

from reid_demo.__main__ import main
from reid_demo.config import ModelConfig, TrainConfig, to_dict, variant
from reid_demo.errors import WeightsError
from reid_demo.model import checkpoint
from reid_demo.model.dpti import build_model
from reid_demo.training.average import average
from reid_demo.training.state import STATE_FILE

CONFIG = ModelConfig(backbone="osnet_x0_25", dim=16, ffn_dim=16, num_parts=2, num_heads=2, global_pooling="weighted")


def write(folder, config=CONFIG, seed=0):
    """Write random weights; some are -0, as half precision makes of small negative numbers."""
    torch.manual_seed(seed)
    model = build_model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.view(-1)[:1] = -0.0
    checkpoint.save_weights(model, folder)
    return folder


def state_of(folder):
    return checkpoint.load_weights(folder).state_dict()


def is_averaged(name, tensor):
    return name.split(".")[0] in ("backbone", "global_pooling") and tensor.is_floating_point()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("runs") / "trained", seed=1)
    (folder / "recipe.json").write_text('{"seed": 1}\n')
    return folder


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    return write(tmp_path_factory.mktemp("start") / "untouched", seed=2)


def test_a_share_of_one_is_the_trained_weights_bit_for_bit(trained, untouched, tmp_path):
    assert average(trained, untouched, 1, tmp_path).fingerprint == checkpoint.fingerprint(trained)
    assert (tmp_path / "recipe.json").read_bytes() == (trained / "recipe.json").read_bytes()


def test_a_share_of_zero_is_the_untouched_backbone_and_pooling_bit_for_bit(trained, untouched, tmp_path):
    average(trained, untouched, 0, tmp_path)
    after, before, made = state_of(trained), state_of(untouched), state_of(tmp_path)
    for name, tensor in made.items():
        wanted = (before if is_averaged(name, tensor) else after)[name]
        assert tensor.numpy().tobytes() == wanted.numpy().tobytes(), name
    assert any(not torch.equal(made[name], before[name]) for name in made)  # the parts are the trained weights'


def test_half_is_the_mean_and_the_parts_stay_trained(trained, untouched, tmp_path):
    told = average(trained, untouched, 0.5, tmp_path)
    after, before, made = state_of(trained), state_of(untouched), state_of(tmp_path)
    averaged = {name for name, tensor in made.items() if is_averaged(name, tensor)}
    assert told.tensors == len(averaged) > 0 and "global_pooling.weight" in averaged
    for name, tensor in made.items():
        if name in averaged:  # stored in half precision
            wanted = torch.stack([before[name].double(), after[name].double()]).mean(dim=0)
            torch.testing.assert_close(tensor.double(), wanted, rtol=1e-3, atol=1e-6, msg=name)
        else:
            assert torch.equal(tensor, after[name]), name


def test_a_runs_checkpoint_is_read_before_its_weights(trained, untouched, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    model = checkpoint.load_weights(untouched)
    config = json.dumps(to_dict(TrainConfig(model=CONFIG)))
    torch.save({"config": config, "model": model.state_dict(), "objective": {}}, run / STATE_FILE)
    assert average(run, trained, 1, tmp_path / "out").fingerprint == checkpoint.fingerprint(untouched)
    assert not (tmp_path / "out" / "recipe.json").exists()


def test_other_models_and_shares_are_refused_and_nothing_is_written(trained, untouched, tmp_path, capsys):
    other = write(tmp_path / "other", variant("G", backbone="osnet_x0_25", dim=16, ffn_dim=16, num_heads=2))
    out = tmp_path / "out"
    assert main(["average", str(trained), str(other), "--share", "0.5", "--out", str(out)]) == 1
    told = capsys.readouterr().err
    assert "'trained' and 'other' are different models" in told and told.count("\n") == 1
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(WeightsError, match="between 0 and 1, not"):
            average(trained, untouched, share, out)
    with pytest.raises(WeightsError, match="osnet_lct alone"):
        average(trained, tmp_path / "net.xml", 0.5, out)
    assert not out.exists()


def test_other_weights_are_not_overwritten(trained, untouched):
    before = checkpoint.fingerprint(trained)
    with pytest.raises(WeightsError, match="already holds weights"):
        average(untouched, trained, 0.5, trained)
    assert checkpoint.fingerprint(trained) == before


def test_the_command_prints_the_fingerprint(trained, untouched, tmp_path, capsys):
    command = ["average", str(trained), str(untouched), "--share", "0.5", "--out"]
    assert main([*command, str(tmp_path / "a"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["fingerprint"] == checkpoint.fingerprint(tmp_path / "a") and told["share"] == 0.5
    assert main([*command, str(tmp_path / "b")]) == 0
    assert told["fingerprint"] in capsys.readouterr().out


def test_the_emphasis_multiplies_the_global_descriptor_alone(trained, untouched, tmp_path):
    average(trained, untouched, 1, tmp_path, emphasis=2.5)
    images = torch.randn(2, 3, 256, 128)
    with torch.no_grad():
        plain, emphasised = (checkpoint.load_weights(f).eval()(images) for f in (trained, tmp_path))
    torch.testing.assert_close(emphasised.global_embedding, 2.5 * plain.global_embedding, rtol=2e-3, atol=1e-3)
    assert torch.equal(emphasised.part_embeddings, plain.part_embeddings)
    assert torch.equal(emphasised.presence, plain.presence)


def test_an_emphasis_that_cannot_be_is_refused(trained, untouched, tmp_path):
    with pytest.raises(WeightsError, match="above 0"):
        average(trained, untouched, 1, tmp_path / "a", emphasis=0)
    mean = write(tmp_path / "mean", replace(CONFIG, global_pooling="mean"))
    with pytest.raises(WeightsError, match="'weighted'"):
        average(mean, mean, 1, tmp_path / "a", emphasis=2)
    assert not (tmp_path / "a").exists()


def test_several_runs_count_alike_and_the_parts_are_the_first_ones(trained, untouched, tmp_path):
    more = [write(tmp_path / str(seed), seed=seed) for seed in (3, 4)]
    command = [
        "average",
        *map(str, [trained, *more]),
        str(untouched),
        "--share",
        "0.75",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 0
    states, before, made = [state_of(f) for f in (trained, *more)], state_of(untouched), state_of(tmp_path / "out")
    for name, tensor in made.items():
        if is_averaged(name, tensor):
            mean = torch.stack([state[name].double() for state in states]).mean(dim=0)
            wanted = 0.25 * before[name].double() + 0.75 * mean
            torch.testing.assert_close(tensor.double(), wanted, rtol=1e-3, atol=1e-5, msg=name)
        else:
            assert torch.equal(tensor, states[0][name]), name


def test_a_network_without_parts_is_averaged_with_one_that_has_them(trained, tmp_path):
    base = write(tmp_path / "base", replace(CONFIG, templates="none", one_view=not CONFIG.one_view), seed=5)
    average(trained, base, 0.5, tmp_path / "out")
    assert checkpoint.load_weights(tmp_path / "out").config == CONFIG
    made, before, after = state_of(tmp_path / "out"), state_of(base), state_of(trained)
    name = "global_pooling.linear.weight"
    torch.testing.assert_close(made[name], (before[name] + after[name]) / 2, rtol=1e-3, atol=1e-4)
    other = write(tmp_path / "wide", replace(CONFIG, dim=32), seed=6)
    with pytest.raises(WeightsError, match="different models"):
        average([trained, other], base, 0.5, tmp_path / "none")
