"""A live teacher sees the picture before it is hidden; its words alone can be what moves the backbone."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from figures import write_people
from network_file import Writer

from reid_demo.__main__ import main
from reid_demo.config import ModelConfig, TrainConfig, variant
from reid_demo.data.body import Body
from reid_demo.data.layouts import load_train
from reid_demo.data.loaders import BatchLoader, Inputs, TrainingSet
from reid_demo.errors import TrainingError
from reid_demo.images import normalised, read_image, to_model_input
from reid_demo.model import osnet_lct
from reid_demo.model.dpti import build_model
from reid_demo.model.start import start_from_ir
from reid_demo.training.distributed import Team, WholeBatch
from reid_demo.training.losses import Objective
from reid_demo.training.run import Limits, Sources, train
from reid_demo.training.state import Start
from reid_demo.training.teacher import LiveTeacher, blended, describe_with_backbone, from_clear

DIM = 256
CPU = torch.device("cpu")
MODEL = ModelConfig(backbone="osnet_lct", templates="dynamic", global_pooling="weighted", num_heads=2, ffn_dim=512)
RECIPE = TrainConfig(
    model=MODEL, epochs=2, warmup_epochs=0, ids_per_batch=2, imgs_per_id=2, augmix=False, random_erasing=0.0,
    occlusion=1.0, cut=1.0, grey=1.0, recolour=1.0, degrade=1.0, live_teacher=True, distill_global=1.0,
    distill_global_similarity=1.0, parts_gradient=0.0, clip_norm=1.0,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def small_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(osnet_lct, "CHANNELS", (16, 128, 192, 256))
        yield


@pytest.fixture(scope="module")
def network(small_network, tmp_path_factory):
    torch.manual_seed(5)
    backbone, rng = osnet_lct.OSNetLCTBackbone(3).eval(), np.random.default_rng(6)
    sizes = {"places": (256, 16, 8), "channels": 256, "linear": (DIM, 256), "bias": DIM, "scale": DIM, "shift": DIM}
    writer = Writer()
    writer.network(backbone.requires_grad_(False))
    writer.head({name: rng.normal(size=size) / 8 for name, size in sizes.items()})
    path = tmp_path_factory.mktemp("network") / "net.xml"
    writer.write(path)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), range(1, 4), 128, 64)


def run(config, root, out, teacher, resume=False, **limits):
    start = Start(init=None if resume else teacher, resume=resume)
    sources = Sources("market1501", [root], teacher=teacher)
    return train(config, sources, out, start=start, limits=Limits(**limits), device="cpu")


def test_its_vectors_are_those_of_the_network_at_length_one(network, root):
    model = build_model(variant("G", backbone="osnet_lct", global_pooling="weighted"))
    start_from_ir(model, network)
    records = load_train("market1501", root)
    pixels = torch.from_numpy(np.stack([to_model_input(read_image(root / record.path)) for record in records]))
    with torch.no_grad():
        own = model.eval()(pixels).descriptor
    told = LiveTeacher(network, CPU)(pixels)
    assert told.shape == (6, DIM) and told.dtype == torch.float32 and not told.requires_grad
    torch.testing.assert_close(told, own / own.norm(dim=1, keepdim=True))
    np.testing.assert_allclose(describe_with_backbone(network, root, records, batch=4), told, atol=1e-5)


def test_a_network_is_measured_by_itself_and_by_its_file_alone(network, root, tmp_path, capsys):
    """Its similarity is the cosine of its own vectors."""
    records = load_train("market1501", root)
    for folder, camid in (("query", 1), ("bounding_box_test", 2)):
        (tmp_path / folder).mkdir()
        for record in records:
            if record.camid == camid:
                shutil.copy(root / record.path, tmp_path / folder)
    options = ["--dataset", "market1501", "--root", str(tmp_path), "--device", "cpu", "--runtime", "torch", "--json"]
    assert main(["evaluate", "--weights", str(network), *options]) == 0
    told = json.loads(capsys.readouterr().out)
    vectors = describe_with_backbone(network, root, records)
    asked, shown = ([i for i, record in enumerate(records) if record.camid == camid] for camid in (1, 2))
    first = (vectors[asked] @ vectors[shown].T).argmax(1)
    right = [records[shown[best]].pid == records[query].pid for best, query in zip(first, asked, strict=True)]
    assert told["weights"] == "net.xml" and told["num_query"] == 3
    assert told["rank1"] == pytest.approx(np.mean(right), abs=1e-4)
    other = tmp_path / "net.xml"
    shutil.copy(network, other)
    other.with_suffix(".bin").write_bytes(network.with_suffix(".bin").read_bytes() + b"1")
    assert main(["evaluate", "--weights", str(other), *options]) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] != told["fingerprint"]
    assert main(["index", str(tmp_path / "query"), "--weights", str(other), "--out", str(tmp_path / "out")]) == 1
    assert "net.xml" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_run_learns_from_it_and_resumes(network, root, tmp_path):
    result = run(RECIPE, root, tmp_path / "run", network)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert result["finished"] and {"distill_global", "distill_global_similarity"} <= set(rows[0])
    assert 0 < rows[0]["distill_global"] < 2
    assert not run(RECIPE, root, tmp_path / "halves", network, stop_after=1)["finished"]
    again = run(RECIPE, root, tmp_path / "halves", network, resume=True)
    assert again["finished"] and again["fingerprint"] == result["fingerprint"]


def test_the_teacher_sees_the_picture_before_it_is_hidden_with_the_same_colours(root):
    data = TrainingSet("market1501", [root])
    calm = dataclasses.replace(RECIPE, flip=0.0, pad=0, recolour=0.0, degrade=0.0)
    batch = BatchLoader(data, calm).load(0, [0, 1, 2, 3], (256, 128))
    seen, clear = batch.before
    clean = np.stack([to_model_input(read_image(data.paths[row])) for row in range(4)])
    torch.testing.assert_close(normalised(seen), torch.from_numpy(clean))
    assert clear.all() and not torch.equal(seen, batch.images)
    recoloured = dataclasses.replace(RECIPE, occlusion=0.0, cut=0.0, grey=0.0)
    batch = BatchLoader(data, recoloured).load(0, [0, 1, 2, 3], (256, 128))
    assert torch.equal(batch.before[0], batch.images)  # recoloured, degraded, flipped and shifted alike
    assert not torch.equal(batch.images, seen)
    inputs = batch.on(CPU)
    torch.testing.assert_close(inputs.before[0], inputs.pixels)


def test_older_recipes_draw_the_pictures_that_they_drew(root):
    data = TrainingSet("market1501", [root])
    cached = dataclasses.replace(RECIPE, live_teacher=False)
    live, old = (BatchLoader(data, config).load(3, [0, 1, 2, 3], (256, 128)) for config in (RECIPE, cached))
    assert old.before is None and torch.equal(live.images, old.images)


def test_what_stands_in_front_is_told_by_the_persons_clear_pictures_of_the_batch():
    vectors = torch.nn.functional.normalize(torch.randn(6, 5), dim=1)
    labels, clear = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([True, True, False, False, True, False])
    got = from_clear(vectors, labels, clear)
    mean = vectors[0] + vectors[1]
    torch.testing.assert_close(got[2], mean / mean.norm())
    torch.testing.assert_close(got[3], vectors[4])
    torch.testing.assert_close(got[[0, 1, 4, 5]], vectors[[0, 1, 4, 5]])  # nobody tells of the last person


def test_blended_pictures_are_blended_for_the_teacher_too_and_belong_to_nobody():
    torch.manual_seed(1)
    pixels, before, labels = torch.rand(40, 3, 2, 2), torch.rand(40, 3, 2, 2), torch.arange(40) % 7
    body = torch.ones(40, 2, 2, dtype=torch.uint8), torch.ones(40, 8)
    inputs = Inputs(pixels, labels, None, body, (before, torch.ones(40, dtype=torch.bool)))
    out, people = blended(inputs, 0.5)
    mixed = (out.pixels != pixels).flatten(1).any(1)
    assert 8 < mixed.sum() < 32
    assert torch.equal(out.body[1].isnan().all(1), mixed) and torch.equal(people < 0, mixed)
    assert torch.equal(people[~mixed], labels[~mixed]) and len(set(people[mixed].tolist())) == mixed.sum()
    for row in mixed.nonzero().flatten().tolist():  # one partner and one weight explain both pictures
        away = [(out.pixels[row] - pixels[row], out.before[0][row] - before[row])]
        fits = []
        for other in range(40):
            toward = torch.stack([pixels[other] - pixels[row], before[other] - before[row]]).flatten()
            step = torch.stack(away[0]).flatten()
            weight = (step @ toward) / (toward @ toward).clamp_min(1e-9)
            fits.append(0 < weight <= 0.5 and torch.allclose(step, weight * toward, atol=1e-5))
        assert any(fits)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_only_a_share_of_the_parts_gradient_reaches_the_backbone(share):
    torch.manual_seed(2)
    model = build_model(MODEL).eval()
    pixels = torch.randn(2, 3, 256, 128)

    def gradient(of):
        model.zero_grad()
        of(model(pixels)).backward()
        grads = (p.grad for p in model.backbone.parameters())
        return torch.cat([torch.zeros(1) if g is None else g.flatten() for g in grads])

    def parts(output):
        return output.part_embeddings.square().mean() + output.presence.square().mean()

    plain, whole = gradient(parts), gradient(lambda output: output.global_embedding.square().mean())
    model.parts_gradient = share
    torch.testing.assert_close(gradient(parts), share * plain, rtol=2e-3, atol=1e-6)
    torch.testing.assert_close(gradient(lambda o: o.global_embedding.square().mean()), whole)
    assert plain.abs().max() > 0


def test_the_global_similarity_is_that_of_the_global_descriptor_alone():
    torch.manual_seed(3)
    config = dataclasses.replace(RECIPE, distill_global=0.0, distill_global_similarity=2.0)
    objective = Objective(config, 2, DIM)
    output = build_model(MODEL).eval()(torch.randn(3, 3, 256, 128))
    teacher, labels = torch.randn(3, DIM), torch.tensor([0, 1, 1])
    terms = objective(output, labels, teacher)
    own, told = (torch.nn.functional.normalize(v, dim=1) for v in (output.global_embedding, teacher))
    gaps = [(own[i] @ own[j] - told[i] @ told[j]).square().item() for i in range(3) for j in range(3) if i != j]
    assert terms["distill_global_similarity"].item() == pytest.approx(sum(gaps) / 6, rel=1e-4)
    without = Objective(dataclasses.replace(config, distill_global_similarity=0.0), 2, DIM)
    without.load_state_dict(objective.state_dict())
    rest = without(output, labels, teacher)["total"].item()
    assert terms["total"].item() - rest == pytest.approx(2 * sum(gaps) / 6, rel=1e-3)


def test_terms_of_a_batch_with_a_live_teacher_use_its_vectors(network):
    torch.manual_seed(4)
    model = build_model(MODEL).eval()
    module = WholeBatch(model, Objective(RECIPE, 2, DIM).eval(), Team(CPU), LiveTeacher(network, CPU))
    pixels, before = torch.randn(2, 3, 256, 128), torch.randn(2, 3, 256, 128)
    terms = module.eval()(Inputs(pixels, torch.tensor([0, 1]), None, None, (before, torch.tensor([True, True]))))
    with torch.no_grad():
        cosines = torch.cosine_similarity(model(pixels).global_embedding, LiveTeacher(network, CPU)(before))
    assert terms["distill_global"].item() == pytest.approx((1 - cosines).mean().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"live_teacher": True, "distill_global": 0.0, "distill_global_similarity": 0.0}, "needs a distillation term"),
        ({"toward_person": 0.5}, "toward_person"),
        ({"live_teacher": False}, "set live_teacher=true"),
        ({"live_teacher": False, "blend": 0.5}, "blend needs"),
        ({"blend": 1.5}, "share"),
        ({"parts_gradient": 0.5, "model": dataclasses.replace(MODEL, global_pooling="mean")}, "global_pooling"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(change, words, network, root, tmp_path):
    with pytest.raises(TrainingError, match=words):
        run(dataclasses.replace(RECIPE, **change), root, tmp_path / "run", network)


def test_a_cache_is_no_live_teacher(root, tmp_path):
    with pytest.raises(TrainingError, match=r"\.xml"):
        run(RECIPE, root, tmp_path / "run", tmp_path / "cache.npz")


def test_whether_something_stands_in_front_is_known_of_rendered_pictures_alone(root, monkeypatch):
    data = TrainingSet("market1501", [root])
    assert data.clear.tolist() == [True] * 6
    hidden = Body(np.zeros((4, 2), np.uint8), np.zeros(8, np.float32), clear=False)
    monkeypatch.setattr(
        "reid_demo.data.loaders.read_bodies", lambda root: {data.paths[1].relative_to(root).as_posix(): hidden}
    )
    known = TrainingSet("market1501", [root], body_parts=True)
    assert known.clear.tolist() == [True, False, True, True, True, True]


def test_blended_pictures_of_two_processes_are_different_people(network, monkeypatch):
    """Each process numbers its own from -1 on; `from_clear` would take two of one number for one person."""
    monkeypatch.setattr(Team, "gather", lambda self, tensor: torch.cat([tensor, tensor]))  # two that drew the same
    seen = []
    monkeypatch.setattr(
        "reid_demo.training.distributed.from_clear", lambda vectors, people, clear: seen.append(people) or vectors
    )
    torch.manual_seed(7)
    model = build_model(MODEL).eval()
    module = WholeBatch(model, Objective(dataclasses.replace(RECIPE, blend=1.0), 2, DIM), Team(CPU, 0, 2), None)
    module.teacher = LiveTeacher(network, CPU)
    pixels, clear = torch.randn(2, 3, 256, 128), torch.tensor([True, False])
    module(Inputs(pixels, torch.tensor([0, 1]), None, None, (pixels, clear)))
    assert len(set(seen[0].tolist())) == 4 and (seen[0] < 0).all()
