"""Every loss term, recomputed with slow loops, and the cases with nothing to compare."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from reid_demo.config import LossConfig, ModelConfig, TrainConfig
from reid_demo.errors import ShapeError, TrainingError
from reid_demo.model.dpti import DPTIOutput
from reid_demo.records import Scoring
from reid_demo.search.similarity import similarity_matrix
from reid_demo.training.losses import (
    Objective,
    attention_overlap,
    batch_hard_triplet,
    body_attention,
    body_presence,
    diversity,
    presence_similarities,
    similarity_match,
)


def output_of(parts: torch.Tensor, global_embedding: torch.Tensor) -> DPTIOutput:
    batch, count, _ = parts.shape
    none = parts.new_zeros
    descriptor = torch.cat([global_embedding, parts.flatten(1)], 1)
    return DPTIOutput(
        global_embedding,
        parts,
        none(batch, count),
        none(batch, count, 1, 1),
        none(batch, count, 1, 1),
        descriptor,
    )


def slow_triplet(embeddings, labels, margin):
    losses = []
    for i, anchor in enumerate(embeddings):
        same = [math.dist(anchor, e) for j, e in enumerate(embeddings) if labels[j] == labels[i] and j != i]
        other = [math.dist(anchor, e) for j, e in enumerate(embeddings) if labels[j] != labels[i]]
        if same and other:
            losses.append(max(0.0, max(same) - min(other) + margin))
    return sum(losses) / len(losses)


def test_triplet_against_loops():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(9, 4, generator=generator)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])  # the last has no second image
    wanted = slow_triplet(embeddings.tolist(), labels.tolist(), 0.3)
    assert batch_hard_triplet(embeddings, labels, 0.3).item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("labels", [[], [0], [0, 0, 0], [0, 1, 2]])
def test_triplet_with_nothing_to_compare_is_zero_with_a_gradient(labels):
    embeddings = torch.randn(len(labels), 4, requires_grad=True)
    loss = batch_hard_triplet(embeddings, torch.tensor(labels, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0 and not embeddings.grad.any()


def test_triplet_of_equal_embeddings_has_a_finite_gradient():
    embeddings = torch.ones(4, 3, requires_grad=True)
    batch_hard_triplet(embeddings, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(embeddings.grad).all()


def test_diversity_against_loops():
    parts = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
    total = 0.0
    for image in parts.tolist():
        for i in range(4):
            for j in range(4):
                if i != j:
                    dot = sum(a * b for a, b in zip(image[i], image[j], strict=True))
                    total += dot**2 / (sum(a * a for a in image[i]) * sum(b * b for b in image[j]))
    assert diversity(parts).item() == pytest.approx(total / (3 * 4 * 3), rel=1e-5)


def test_diversity_is_least_for_orthogonal_and_treats_opposite_as_equal():
    assert diversity(torch.eye(4)[None]).item() == pytest.approx(0, abs=1e-6)
    opposite = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    assert diversity(opposite).item() == pytest.approx(1)


@pytest.mark.parametrize("shape", [(2, 0, 4), (2, 1, 4), (0, 3, 4)])
def test_diversity_without_pairs_is_zero(shape):
    assert diversity(torch.randn(shape)).item() == 0


def test_similarity_match_against_loops():
    generator = torch.Generator().manual_seed(2)
    ours, theirs = torch.randn(4, 6, generator=generator), torch.randn(4, 3, generator=generator)
    total = 0.0
    for i in range(4):
        for j in range(4):
            if i != j:
                a = torch.cosine_similarity(ours[i], ours[j], dim=0)
                total += float(a - torch.cosine_similarity(theirs[i], theirs[j], dim=0)) ** 2
    assert similarity_match(ours, theirs).item() == pytest.approx(total / 12, rel=1e-4)
    assert similarity_match(ours[:1], theirs[:1]).item() == 0


def test_attention_overlap_against_loops():
    maps = torch.rand(3, 4, 5, 2, generator=torch.Generator().manual_seed(5))
    total = 0.0
    for image in maps:
        for i in range(4):
            for j in range(4):
                total += float(torch.cosine_similarity(image[i].flatten(), image[j].flatten(), dim=0)) * (i != j)
    assert attention_overlap(maps).item() == pytest.approx(total / (3 * 12), rel=1e-5)
    apart = torch.eye(4).reshape(1, 4, 2, 2)
    assert attention_overlap(apart).item() == 0 and attention_overlap(apart[:, :1]).item() == 0
    assert attention_overlap(apart[:0]).item() == 0


def test_presence_similarities_are_those_of_matching_and_teach_presence():
    generator = torch.Generator().manual_seed(4)
    output = output_of(torch.randn(5, 3, 6, generator=generator), torch.randn(5, 6, generator=generator))
    output.presence = torch.rand(5, 3, generator=generator).softmax(1).requires_grad_()
    terms = torch.cat([output.global_embedding[:, None], output.part_embeddings], 1).numpy()
    presence = output.presence.detach().numpy()
    ours = presence_similarities(output)
    for scoring, similarity in zip((Scoring("adaptive"), Scoring("part_aware")), ours, strict=True):
        wanted = similarity_matrix(terms, presence, terms, presence, scoring)
        np.testing.assert_allclose(similarity.detach().numpy(), wanted, atol=1e-6)
        (gradient,) = torch.autograd.grad(similarity[0, 1:].sum(), output.presence, retain_graph=True)
        felt = gradient[0].abs() > 1e-6  # a part that is seen more than its share counts fully
        assert (felt == (scoring.weighing == "adaptive" or presence[0] < 1 / 3)).all() and felt.any()


def test_the_total_is_the_weighted_sum_and_the_identity_term_a_cross_entropy():
    model = ModelConfig(backbone="osnet_x0_25", dim=8, num_parts=2, bn_neck=False)
    config = TrainConfig(
        model=model,
        loss=LossConfig(identity=0.5, triplet=2, diversity=3),
        distill_direct=5,
        distill_similarity=7,
        distill_presence=9,
        attention_overlap=11,
    )
    torch.manual_seed(0)
    objective = Objective(config, num_classes=3, teacher_dim=4)
    output = output_of(torch.randn(4, 2, 8), torch.randn(4, 8))
    labels, teacher = torch.tensor([0, 0, 1, 2]), torch.randn(4, 4)
    terms = {name: value.item() for name, value in objective(output, labels, teacher).items()}
    logits = (output.descriptor @ objective.classifier.weight.T).tolist()
    slow = [
        math.log(sum(math.exp(v) for v in row)) - row[label] for row, label in zip(logits, [0, 0, 1, 2], strict=True)
    ]
    assert terms["identity"] == pytest.approx(sum(slow) / 4, rel=1e-4)
    weights = {"identity": 0.5, "triplet": 2, "diversity": 3, "distill_direct": 5, "distill_similarity": 7}
    weights |= {"distill_presence": 9, "attention_overlap": 11}
    assert terms.pop("total") == pytest.approx(sum(weights[n] * v for n, v in terms.items()), rel=1e-5)
    assert set(terms) == set(weights)


def test_labels_and_teacher_must_belong_to_the_batch():
    objective = Objective(TrainConfig(model=ModelConfig(backbone="osnet_x0_25", dim=8, num_parts=2)), 3, teacher_dim=4)
    output = output_of(torch.randn(4, 2, 8), torch.randn(4, 8))
    with pytest.raises(ShapeError, match="labels"):
        objective(output, torch.tensor([0]), torch.randn(4, 4))
    with pytest.raises(ShapeError, match="teacher"):
        objective(output, torch.tensor([0, 1, 2, 0]))


def test_body_attention_against_loops():
    rng = np.random.default_rng(0)
    attention = rng.dirichlet(np.ones(8), (3, 2)).reshape(3, 2, 4, 2)
    labels = rng.integers(0, 3, (3, 8, 4))
    labels[1][labels[1] == 2] = 0  # part 1 is not in the second picture, and the third is a photograph
    visible = np.array([[1, 0.5], [1, 0], [np.nan, np.nan]])
    gaps = []
    for image, part in ((0, 0), (0, 1), (1, 0)):
        cells = [(labels[image, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2] == part + 1).mean() for r, c in np.ndindex(4, 2)]
        where = np.array(cells) / sum(cells)
        seen = attention[image, part].ravel()
        gaps.append(sum(w * math.log(w / a) for w, a in zip(where, seen, strict=True) if w))
    tensors = torch.tensor(attention), torch.tensor(labels, dtype=torch.uint8), torch.tensor(visible)
    assert body_attention(*tensors).item() == pytest.approx(np.mean(gaps))


def test_attention_on_the_body_part_itself_costs_nothing_and_a_sliver_does_not_count():
    labels = torch.zeros(1, 8, 4, dtype=torch.uint8)
    labels[0, :2, :2] = 1
    labels[0, 7, 3] = 2  # a quarter of a cell: counts
    attention = torch.full((1, 2, 4, 2), 1e-9)
    attention[0, 0, 0, 0] = attention[0, 1, 3, 1] = 1
    visible = torch.ones(1, 2)
    assert body_attention(attention, labels, visible).item() == pytest.approx(0, abs=1e-6)
    assert body_attention(attention.flip(1), labels, visible).item() > 5
    finer = labels.repeat_interleave(2, 1).repeat_interleave(2, 2)
    finer[finer == 2] = 0
    alone = body_attention(attention.flip(1), finer, visible)
    finer[0, 15, 7] = 2  # a sixteenth
    assert body_attention(attention.flip(1), finer, visible) == alone


def test_body_presence_against_loops_and_nothing_known():
    presence = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]], requires_grad=True)
    visible = torch.tensor([[1.0, 0.5, 0.0], [math.nan] * 3, [0.0] * 3])
    wanted = 2 / 3 * math.log(2 / 3 / 0.5) + 1 / 3 * math.log(1 / 3 / 0.3)
    assert body_presence(presence, visible).item() == pytest.approx(wanted, rel=1e-5)
    nothing = body_presence(presence, visible[1:2].expand(3, 3))
    nothing.backward()
    assert nothing == 0 and not presence.grad.any()
    maps = torch.rand(2, 3, 4, 2, requires_grad=True)
    assert body_attention(maps, torch.zeros(2, 8, 4, dtype=torch.uint8), torch.ones(2, 3)) == 0


def test_the_body_part_terms_enter_the_total_and_need_labels():
    config = TrainConfig(
        model=ModelConfig(backbone="osnet_x0_25", dim=4, num_heads=2), body_attention=0.5, body_presence=2.0
    )
    output = output_of(torch.randn(4, 8, 4), torch.randn(4, 4))
    output.presence = torch.softmax(torch.randn(4, 8), 1)
    output.template_attention = torch.softmax(torch.randn(4, 8, 8), 2).view(4, 8, 4, 2)
    output.part_attention = torch.softmax(torch.randn(4, 8, 8), 2).view(4, 8, 4, 2)
    people, body = torch.tensor([0, 0, 1, 1]), (torch.randint(0, 9, (4, 8, 4)).byte(), torch.rand(4, 8))
    objective = Objective(config, 2).eval()
    terms = objective(output, people, body=body)
    both = [body_attention(each, *body) for each in (output.template_attention, output.part_attention)]
    assert terms["body_attention"].item() == pytest.approx(sum(both).item() / 2)
    eq9 = terms["identity"] + terms["triplet"] + terms["diversity"]
    extra = 0.5 * terms["body_attention"] + 2 * terms["body_presence"]
    assert terms["total"].item() == pytest.approx((eq9 + extra).item(), rel=1e-5)
    with pytest.raises(ShapeError, match="body part"):
        objective(output, people)


def test_the_global_and_the_part_targets_against_loops():
    model = ModelConfig(dim=8, num_parts=2, bn_neck=False)
    config = TrainConfig(model=model, distill_global=2, distill_parts=3)
    torch.manual_seed(0)
    objective = Objective(config, num_classes=3, teacher_dim=8)
    output = output_of(torch.randn(4, 2, 8), torch.randn(4, 8))
    output = dataclasses.replace(output, presence=torch.rand(4, 2))
    labels, teacher = torch.tensor([0, 0, 1, 2]), torch.randn(4, 8)
    with torch.no_grad():
        objective.part_heads.add_(0.3 * torch.randn_like(objective.part_heads))
    terms = objective(output, labels, teacher)

    def gap(a, b):
        return 1 - (a @ b / a.norm() / b.norm()).item()

    whole = [gap(output.global_embedding[i], teacher[i]) for i in range(4)]
    assert terms["distill_global"].item() == pytest.approx(sum(whole) / 4, rel=1e-4)
    parts = [
        output.presence[i, p].item() * gap(output.part_embeddings[i, p] @ objective.part_heads[p], teacher[i])
        for i in range(4)
        for p in range(2)
    ]
    assert terms["distill_parts"].item() == pytest.approx(sum(parts) / 4, rel=1e-4)
    assert "distill_direct" not in terms
    terms["total"].backward()
    assert objective.part_heads.grad.abs().sum() > 0


def test_parts_begin_in_the_teachers_space_and_a_global_target_of_another_width_is_refused():
    model = ModelConfig(dim=8, num_parts=2)
    objective = Objective(TrainConfig(model=model, distill_parts=1), 3, teacher_dim=8)
    assert torch.equal(objective.part_heads.detach(), torch.eye(8).expand(2, 8, 8))
    with pytest.raises(TrainingError, match="distill_direct"):
        Objective(TrainConfig(model=model, distill_global=1), 3, teacher_dim=4)
