"""One optimiser step: a loss that is not finite changes nothing, and the terms use the whole descriptor."""

import dataclasses
import itertools

import pytest
import torch

from reid_demo.config import ModelConfig, TrainConfig, variant
from reid_demo.data.loaders import Batch
from reid_demo.errors import TrainingError
from reid_demo.model.dpti import build_model
from reid_demo.training.distributed import Team, WholeBatch
from reid_demo.training.losses import Objective, batch_hard_triplet, diversity
from reid_demo.training.step import build_optimizer, train_step

CONFIG = TrainConfig(model=ModelConfig(backbone="osnet_x0_25", dim=16, ffn_dim=16, num_heads=2), accumulate=2)
LABELS = torch.tensor([0, 0, 1, 1])


def pictures(count):
    return torch.randint(256, (count, 32, 16, 3), dtype=torch.uint8)


def parts_of(config, teacher_dim=0):
    torch.manual_seed(0)
    model, objective = build_model(config.model), Objective(config, 2, teacher_dim)
    return model, objective, build_optimizer(config, model, objective)


@pytest.mark.parametrize("broken", [0, 1])
def test_a_loss_that_is_not_finite_names_the_step_and_moves_no_parameter(broken):
    config = dataclasses.replace(CONFIG, distill_direct=1.0)
    model, objective, optimizer = parts_of(config, teacher_dim=5)
    teachers = [torch.ones(4, 5) for _ in range(2)]
    teachers[broken][2, 1] = torch.nan  # of the first or of the second batch that the step gathers
    before = {name: p.clone() for name, p in model.named_parameters()}
    module = WholeBatch(model, objective, Team(torch.device("cpu")))
    batches = (Batch(pictures(4), LABELS, vectors) for vectors in teachers)
    with pytest.raises(TrainingError, match=r"The loss 'distill_direct' is not finite at step 8\."):
        train_step(config, module, optimizer, batches, 7)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert not optimizer.state


@pytest.mark.parametrize("name", ["G", "G+D", "G+D+W"])
def test_the_terms_are_of_the_concatenated_descriptor_weighted_only_in_w(name):
    config = dataclasses.replace(
        CONFIG, model=variant(name, backbone="osnet_x0_25", dim=16, ffn_dim=16, num_heads=2), accumulate=1
    )
    model, objective, _ = parts_of(config)
    output = model.eval()(torch.randn(4, 3, 64, 32))
    terms = objective.eval()(output, LABELS)
    parts, weights = output.part_embeddings, output.presence * 8 if name == "G+D+W" else 1
    weighted = parts * weights[..., None] if name == "G+D+W" else parts
    descriptor = torch.cat([output.global_embedding, weighted.flatten(1)], 1)
    assert terms["triplet"].item() == pytest.approx(batch_hard_triplet(descriptor, LABELS, 0.3).item())
    assert terms["diversity"].item() == pytest.approx(diversity(parts).item())
    logits = objective.neck(descriptor) @ objective.classifier.weight.T
    assert terms["identity"].item() == pytest.approx(torch.nn.functional.cross_entropy(logits, LABELS).item())


def test_a_step_of_two_batches_moves_by_their_mean_gradient():
    config = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, ffn_dropout=0, attention_dropout=0))
    model, objective, optimizer = parts_of(config)
    module = WholeBatch(model, objective, Team(torch.device("cpu")))
    batches = [Batch(pictures(4), LABELS, None) for _ in range(2)]
    gradients = []
    for batch in batches:
        module.train().zero_grad()
        module(batch.on(torch.device("cpu")))["total"].backward()
        gradients.append({name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None})
    result = train_step(config, module, optimizer, itertools.cycle(batches), 0)
    assert (result.num_images, result.size) == (8, (32, 16)) and result.terms["total"] > 0
    for name, parameter in module.named_parameters():
        if name in gradients[0]:
            mean = (gradients[0][name] + gradients[1][name]) / 2
            assert (parameter.grad - mean).norm() <= 1e-3 * mean.norm() + 1e-4, name


def one_step(config):
    """Run one step on fixed pictures; return each parameter's change by name."""
    model, objective, optimizer = parts_of(config)
    module = WholeBatch(model, objective, Team(torch.device("cpu")))
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    train_step(config, module, optimizer, itertools.repeat(Batch(pictures(4), LABELS, None)), 0)
    return {name: (p.detach() - before[name]) for name, p in module.named_parameters()}, before


def test_the_bias_of_the_neck_does_not_learn():
    moved, before = one_step(CONFIG)
    assert not moved["objective.neck.bias"].any() and not before["objective.neck.bias"].any()
    assert moved["objective.neck.weight"].any() and moved["objective.classifier.weight"].any()


def test_weight_decay_reaches_every_group():
    config = dataclasses.replace(CONFIG, optimizer="adamw", weight_decay=0.5, learning_rate=1e-2)
    decayed, before = one_step(config)
    plain, _ = one_step(dataclasses.replace(config, weight_decay=0.0))
    for name in ("model.backbone.conv1.conv.weight", "objective.classifier.weight"):  # one of each group
        pulled = decayed[name] - plain[name]
        assert torch.allclose(pulled, -config.learning_rate * 0.5 * before[name], atol=1e-5), name
    groups = parts_of(dataclasses.replace(config, optimizer="adam"))[2].param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.5]
