"""Maps of a frozen backbone that are kept: what is repeated, what it equals, how a run goes on with them."""

import dataclasses
import itertools
import shutil
from types import SimpleNamespace

import pytest
import torch
from figures import write_people
from runs import SMALL, rows, state
from safetensors.torch import save_file

from reid_demo.data.loaders import Batch, BatchLoader, TrainingSet
from reid_demo.errors import TrainingError
from reid_demo.model.dpti import build_model
from reid_demo.training import cached_maps
from reid_demo.training.cached_maps import CachedMaps
from reid_demo.training.distributed import Team
from reid_demo.training.run import Limits, Sources, train
from reid_demo.training.state import Start

CPU = torch.device("cpu")
CONFIG = dataclasses.replace(SMALL, occlusion=0.5, frozen_backbone=True, cached_batches=3)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), range(1, 5))


def run(config, root, out, *, resume=False, **limits):
    return train(
        config, Sources("market1501", [root]), out, start=Start(resume=resume), limits=Limits(**limits), device="cpu"
    )


def size_now(_number):
    return 32, 16


def cached(root, folder, crew=Team(CPU), config=CONFIG):
    torch.manual_seed(3)
    loader = BatchLoader(TrainingSet("market1501", [root]), config, crew.rank, crew.size)
    return CachedMaps(loader, build_model(config.model).backbone, crew, folder)


def taken(source, count, start=0):
    return list(itertools.islice(source.batches(start, size_now), count))


def same(one, other):
    return torch.equal(one.labels, other.labels) and all(map(torch.equal, one.maps, other.maps))


def test_the_maps_are_the_backbones_in_half_precision(root, tmp_path):
    source = cached(root, tmp_path / "maps")
    batches = taken(source, 3)
    drawn = taken(source.loader, 3)
    for batch, pictures in zip(batches, drawn, strict=True):
        assert batch.images is None and torch.equal(batch.labels, pictures.labels)
        with torch.no_grad():
            wanted = source.backbone(pictures.on(CPU).pixels)
        inputs = batch.on(CPU)
        assert inputs.pixels is None and inputs.size == pictures.on(CPU).size == (32, 16)
        for got, on_device, exact in zip(batch.maps, inputs.maps, wanted, strict=True):
            assert (got.dtype, on_device.dtype) == (torch.float16, torch.float32)
            assert torch.equal(got, exact.half()) and torch.equal(on_device, got.float())
        assert batch.maps[1].shape == (4, source.backbone.final_channels, 2, 1)


def test_each_further_pass_repeats_every_batch_once_in_an_order_of_its_own(root, tmp_path):
    source = cached(root, tmp_path / "maps", config=dataclasses.replace(CONFIG, cached_batches=7))
    passes = [[source.repeated(7 * turn + place) for place in range(7)] for turn in range(4)]
    assert passes[0] == list(range(7))
    assert all(sorted(order) == list(range(7)) for order in passes)
    assert len(set(map(tuple, passes))) == 4
    batches = taken(source, 21)
    for number in range(7, 21):
        assert same(batches[number], batches[source.repeated(number)])


def test_the_backbone_runs_once_a_batch_and_a_lost_file_is_made_again(root, tmp_path):
    source = cached(root, tmp_path / "maps")
    calls = []
    source.backbone.register_forward_hook(lambda *_: calls.append(1))
    batches = taken(source, 9)
    assert len(calls) == 3
    shutil.rmtree(source.folder)
    assert all(map(same, taken(source, 3, start=6), batches[6:]))
    assert len(calls) == 6
    source.remove()
    assert not source.folder.exists()


def test_targets_and_body_parts_are_kept_with_the_maps(tmp_path):
    torch.manual_seed(4)
    pictures = torch.randint(256, (4, 32, 16, 3), dtype=torch.uint8)
    body = torch.randint(9, (4, 8, 4), dtype=torch.uint8), torch.tensor([[0.5] * 8, [torch.nan] * 8] * 2)
    drawn = Batch(pictures, torch.tensor([0, 0, 1, 1]), torch.randn(4, 5), body)
    loader = SimpleNamespace(
        config=dataclasses.replace(CONFIG, cached_batches=1), batches=lambda *_: (drawn for _ in "1")
    )
    source = CachedMaps(loader, build_model(CONFIG.model).backbone, Team(CPU), tmp_path / "maps")
    for batch in taken(source, 3):
        assert torch.equal(batch.labels, drawn.labels) and torch.equal(batch.teacher, drawn.teacher)
        assert all(
            torch.equal(got.nan_to_num(9), part.nan_to_num(9)) for got, part in zip(batch.body, body, strict=True)
        )


def test_the_processes_of_a_team_keep_their_own_shares(root, tmp_path):
    alone = taken(cached(root, tmp_path / "one"), 5)
    shares = [taken(cached(root, tmp_path / "two", Team(CPU, rank, 2)), 5) for rank in range(2)]
    assert len(list((tmp_path / "two").iterdir())) == 6
    for whole, *parts in zip(alone, *shares, strict=True):
        assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))
        for number in range(2):
            joined = torch.cat([part.maps[number] for part in parts]).float()
            assert torch.allclose(whole.maps[number].float(), joined, rtol=1e-2, atol=1e-3)


def test_the_first_steps_are_those_of_a_run_without_a_cache(root, tmp_path):
    run(CONFIG, root, tmp_path / "cached", max_steps=3)
    run(dataclasses.replace(CONFIG, cached_batches=0), root, tmp_path / "drawn", max_steps=3)
    assert rows(tmp_path / "cached", "total") == pytest.approx(rows(tmp_path / "drawn", "total"), rel=5e-3)
    assert rows(tmp_path / "cached", "total") != rows(tmp_path / "drawn", "total")


@pytest.mark.parametrize("stop", [2, 5])
def test_a_run_goes_on_bit_for_bit_and_clears_up_at_its_end(root, tmp_path, stop):
    run(CONFIG, root, tmp_path / "whole", max_steps=8)
    run(CONFIG, root, tmp_path / "halves", max_steps=8, stop_after=stop)
    assert len(list((tmp_path / "halves" / "maps").iterdir())) == min(stop, 3)
    if stop == 5:
        (tmp_path / "halves" / "maps" / "1_0_of_1.safetensors").unlink()
        (tmp_path / "halves" / "maps" / "2_0_of_1.safetensors").write_bytes(b"damaged")
        save_file({"other": torch.zeros(2)}, tmp_path / "halves" / "maps" / "0_0_of_1.safetensors")
    run(CONFIG, root, tmp_path / "halves", resume=True, max_steps=8)
    whole, halves = (state(tmp_path / name)["model"] for name in ("whole", "halves"))
    assert all(torch.equal(tensor, halves[name]) for name, tensor in whole.items())
    assert rows(tmp_path / "whole", "total") == rows(tmp_path / "halves", "total")
    assert not (tmp_path / "whole" / "maps").exists() and not (tmp_path / "halves" / "maps").exists()


def test_a_disk_that_is_too_small_is_told_at_the_first_batch(root, tmp_path, monkeypatch):
    monkeypatch.setattr(cached_maps.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(TrainingError, match=r"maps of 3 batches need 0\.0 GB in .*maps, which has 0\.0 GB; lower"):
        run(CONFIG, root, tmp_path / "run", max_steps=4)
    assert not list((tmp_path / "run" / "maps").iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frozen_backbone": False}, "cached_batches needs frozen_backbone=true"),
        ({"cached_batches": -1}, "cached_batches must not be below 0"),
        ({"small_fraction": 0.5}, "set small_fraction=0"),
    ],
)
def test_recipes_that_keep_no_maps_are_refused(change, words, root, tmp_path):
    with pytest.raises(TrainingError, match=words):
        run(dataclasses.replace(CONFIG, **change), root, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_live_teacher_wants_pictures(root, tmp_path):
    config = dataclasses.replace(CONFIG, live_teacher=True, distill_global=1.0)
    with pytest.raises(TrainingError, match="no live_teacher"):
        train(config, Sources("market1501", [root], tmp_path / "net.xml"), tmp_path / "run", device="cpu")
