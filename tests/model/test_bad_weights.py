"""Weights made to mislead: each folder is refused in one sentence. To try another, add a row to `DAMAGE`."""

import json
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from reid_demo.errors import WeightsError
from reid_demo.model import checkpoint
from reid_demo.model.checkpoint import CONFIG_FILE, MODEL_FILE


def config(**changes):
    """Change options of the network."""

    def damage(folder):
        said = json.loads((folder / CONFIG_FILE).read_text())
        (folder / CONFIG_FILE).write_text(json.dumps({"model": {**said["model"], **changes}}))

    return damage


def content(name: str, data: bytes):
    return lambda folder: (folder / name).write_bytes(data)


def tensors(change):
    """Store what `change` makes of the tensors."""

    def damage(folder):
        state = load_file(folder / MODEL_FILE)
        change(state)
        save_file(state, folder / MODEL_FILE)

    return damage


def cut(left: int):
    return lambda folder: (folder / MODEL_FILE).write_bytes((folder / MODEL_FILE).read_bytes()[:left])


def header(said: dict):
    """Store a header that claims tensors without numbers behind it."""
    data = json.dumps(said).encode()
    return content(MODEL_FILE, struct.pack("<Q", len(data)) + data + bytes(64))


def first(state: dict) -> str:
    return next(name for name in sorted(state) if state[name].is_floating_point() and state[name].ndim > 1)


def replaced(make):
    def change(state):
        state[first(state)] = make(state[first(state)]).contiguous()

    return tensors(change)


DAMAGE = {  # what -> (how it comes about, words of the error)
    "config is no JSON": (content(CONFIG_FILE, b"{"), "config.json.*Invalid JSON"),
    "config is a list": (content(CONFIG_FILE, b"[]"), "config.json"),
    "config is null": (content(CONFIG_FILE, b"null"), "config.json"),
    "config is a number": (content(CONFIG_FILE, b"7"), "config.json"),
    "config is text": (content(CONFIG_FILE, b'"model"'), "config.json"),
    "config is binary": (content(CONFIG_FILE, b"\xff\xfe\x00"), "config.json"),
    "config is empty": (content(CONFIG_FILE, b""), "config.json"),
    "config is deep": (content(CONFIG_FILE, b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "config.json"),
    "no model": (content(CONFIG_FILE, b"{}"), "model: Field required"),
    "model is a list": (content(CONFIG_FILE, b'{"model": []}'), "model: "),
    "model is text": (content(CONFIG_FILE, b'{"model": "G+D"}'), "model: "),
    "unknown option": (config(colour=1), "colour"),
    "dim is text": (config(dim="32"), "dim must be a whole number"),
    "dim is a fraction": (config(dim=32.5), "dim must be a whole number"),
    "dim is true": (config(dim=True), "dim must be a whole number"),
    "dim is 0": (config(dim=0), "dim must be at least 1"),
    "dim is 10^9": (config(dim=10**9), "do not fit|cannot be made"),
    "dim is 10^30": (config(dim=8 * 10**30), "do not fit|cannot be made"),
    "ffn_dim is 10^9": (config(ffn_dim=10**9), "do not fit|cannot be made"),
    "ffn_dim is negative": (config(ffn_dim=-4), "ffn_dim must be at least 1"),
    "no heads": (config(num_heads=0), "num_heads must be at least 1"),
    "heads are negative": (config(num_heads=-8), "num_heads must be at least 1"),
    "parts are 10^9": (config(templates="static", num_parts=10**9), "do not fit|cannot be made"),
    "no parts": (config(num_parts=0), "num_parts must be at least 1"),
    "dropout is no number": (content(CONFIG_FILE, b'{"model": {"ffn_dropout": NaN}}'), "config.json|ffn_dropout"),
    "dropout is 7": (config(ffn_dropout=7.0), "ffn_dropout must be at least 0 and below 1"),
    "unknown backbone": (config(backbone="vit"), "Unknown backbone 'vit'"),
    "another backbone": (config(backbone="resnet50"), "do not fit"),
    "other templates": (config(templates="static"), "do not fit"),
    "tensors are words": (content(MODEL_FILE, b"oops"), "damaged"),
    "tensors are empty": (content(MODEL_FILE, b""), "damaged"),
    "tensors are a pickle": (content(MODEL_FILE, b"\x80\x04N."), "damaged"),
    "tensors are a zip": (content(MODEL_FILE, b"PK\x03\x04" + bytes(100)), "damaged"),
    "tensors are cut": (cut(100_000), "damaged"),
    "header is cut": (cut(200), "damaged"),
    "header claims 2^60 bytes": (content(MODEL_FILE, struct.pack("<Q", 2**60) + b"{}"), "damaged"),
    "header is a list": (content(MODEL_FILE, struct.pack("<Q", 2) + b"[]"), "damaged"),
    "header claims a tensor of 4 TB": (
        header({"a": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}),
        "damaged",
    ),
    "header claims another size": (header({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 64]}}), "damaged"),
    "whole numbers for fractions": (replaced(lambda t: t.long()), "holds int64, not float32"),
    "another shape": (replaced(lambda t: t[:1]), r"is \(1, .*not \("),
    "not finite": (replaced(lambda t: t * float("nan")), "not finite"),
    "a tensor too few": (tensors(lambda state: state.pop(first(state))), "is missing"),
    "a tensor too many": (tensors(lambda state: state.update(extra=torch.zeros(2))), "extra belongs to no such"),
}


@pytest.fixture
def copied(tiny_weights, tmp_path):
    return shutil.copytree(tiny_weights, tmp_path / "copied")


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_weights_are_refused_in_a_sentence(what, copied):
    damage, words = DAMAGE[what]
    damage(copied)
    with pytest.raises(WeightsError, match=words) as told:
        checkpoint.load_weights(copied)
    assert "'copied'" in str(told.value) and "\n" not in str(told.value) and len(str(told.value)) < 900


def test_sound_weights_are_read(copied):
    assert checkpoint.load_weights(copied).config.dim == 32


@pytest.mark.parametrize("name", ["mps", "xla", "hip", "meta", "abacus", "cuda:99", "cpu:x"])
def test_a_device_that_is_none_of_ours_is_a_sentence(name):
    with pytest.raises(WeightsError, match="device|does not run on|No GPU|There is no"):
        checkpoint.choose_device(name)
