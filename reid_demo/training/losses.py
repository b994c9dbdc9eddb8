"""The training objective: Eq. 9 of the paper on the concatenated descriptor, and terms that are not in the paper.

Every term is a function of plain tensors; `Objective` owns the layers that only training needs (classifier, neck,
head to the teacher) and returns named terms. It knows no data and no optimiser.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_demo.config import TrainConfig
from reid_demo.errors import ShapeError, TrainingError
from reid_demo.model.dpti import DPTIOutput
from reid_demo.search.similarity import PRESENCE_POWER


def batch_hard_triplet(embeddings: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """Return the mean over anchors of `max(0, farthest same - nearest other + margin)`, Euclidean (Sec. 3.6).

    Args:
        embeddings: `(B, E)`.
        labels: `(B,)` int64.
        margin: not in the paper.

    Returns:
        Scalar; anchors without another image of their label, or without another label, do not count, and a batch
        with no anchor left gives 0 (with a gradient of 0).
    """
    if len(embeddings) < 2:
        return embeddings.sum() * 0
    squares = embeddings.pow(2).sum(1)
    distance = (squares[:, None] + squares[None] - 2 * embeddings @ embeddings.T).clamp_min(1e-12).sqrt()
    same = labels[:, None] == labels[None]
    other_image = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positives, negatives = same & other_image, ~same
    farthest = distance.masked_fill(~positives, -torch.inf).amax(1)
    nearest = distance.masked_fill(~negatives, torch.inf).amin(1)
    counts = positives.any(1) & negatives.any(1)
    if not counts.any():
        return embeddings.sum() * 0
    return functional.relu(farthest[counts] - nearest[counts] + margin).mean()


def diversity(parts: Tensor) -> Tensor:
    """Return the mean squared cosine of the pairs of parts of one image (Eq. 10), averaged over the batch.

    Args:
        parts: `(B, P, D)` unweighted part descriptors; with fewer than two parts, or no image, the loss is 0.
    """
    batch, count, _ = parts.shape
    if batch == 0 or count < 2:
        return parts.sum() * 0
    unit = functional.normalize(parts, dim=2)
    squared = (unit @ unit.transpose(1, 2)).pow(2)
    off_diagonal = squared.sum((1, 2)) - squared.diagonal(dim1=1, dim2=2).sum(1)
    return (off_diagonal / (count * (count - 1))).mean()


def attention_overlap(attention: Tensor) -> Tensor:
    """Return the mean cosine of the pairs of attention maps of one image, averaged over the batch; not in the paper.

    Eq. 10 keeps descriptors apart, which different templates alone achieve while all parts look at one place.

    Args:
        attention: `(B, P, h, w)`, not negative; with fewer than two parts, or no image, the loss is 0.
    """
    batch, count = attention.shape[:2]
    if batch == 0 or count < 2:
        return attention.sum() * 0
    unit = functional.normalize(attention.flatten(2), dim=2)
    cosines = unit @ unit.transpose(1, 2)
    return ((cosines.sum((1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(1)) / (count * (count - 1))).mean()


def body_attention(attention: Tensor, labels: Tensor, visible: Tensor) -> Tensor:
    """Measure how far part p's attention is from where body part p is: the mean divergence (KL); not in the paper.

    Args:
        attention: `(B, P, h, w)`, each map sums to 1.
        labels: `(B, H, W)` uint8: 0 nothing, p + 1 body part p.
        visible: `(B, P)`; a row that is NaN, or a part that covers less than a quarter of a cell, does not count.

    Returns:
        Scalar; 0 if nothing counts.
    """
    one_hot = functional.one_hot(labels.long(), attention.shape[1] + 1)[..., 1:].permute(0, 3, 1, 2)
    cover = functional.adaptive_avg_pool2d(one_hot.to(attention.dtype), attention.shape[2:]).flatten(2)
    area = cover.sum(2)
    counts = (area >= 0.25) & visible.isfinite()
    if not counts.any():
        return attention.sum() * 0
    where = (cover / area.clamp_min(1e-12)[..., None])[counts]
    gap = torch.xlogy(where, where) - where * attention.flatten(2)[counts].clamp_min(1e-8).log()
    return gap.sum(1).mean()


def body_presence(presence: Tensor, visible: Tensor) -> Tensor:
    """Measure presence against the body parts' shares of what is seen: the mean divergence (KL); not in the paper.

    Args:
        presence: `(B, P)`, rows sum to 1.
        visible: `(B, P)` in 0..1; a row that is NaN, or all 0, does not count.

    Returns:
        Scalar; 0 if nothing counts.
    """
    counts = visible.isfinite().all(1) & (visible > 0).any(1)
    if not counts.any():
        return presence.sum() * 0
    wanted = visible[counts] / visible[counts].sum(1, keepdim=True)
    gap = torch.xlogy(wanted, wanted) - wanted * presence[counts].clamp_min(1e-8).log()
    return gap.sum(1).mean()


def held_parts(parts: Tensor, held: Tensor) -> Tensor:
    """Return the mean squared distance of parts to where they are held, in units of the held length; not in the paper.

    Args:
        parts: `(B, P, D)`.
        held: `(B, P, D)`, without gradient.
    """
    return ((parts - held).square().sum(2) / held.square().sum(2).clamp_min(1e-12)).mean()


def similarity_match(embeddings: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared difference of two batches' cosine matrices, off the diagonal; not in the paper.

    Args:
        embeddings: `(B, E)` of the student.
        targets: `(B, T)` of the teacher.
    """
    return _off_diagonal_gap(_cosines(embeddings), _cosines(targets))


def _cosines(vectors: Tensor) -> Tensor:
    unit = functional.normalize(vectors, dim=1)
    return unit @ unit.T


def _off_diagonal_gap(ours: Tensor, theirs: Tensor) -> Tensor:
    others = ~torch.eye(len(ours), dtype=torch.bool, device=ours.device)
    return ((ours - theirs).pow(2) * others).sum() / max(1, len(ours) * (len(ours) - 1))


def presence_similarities(output: DPTIOutput) -> tuple[Tensor, Tensor]:
    """Return a batch's similarities under the two scorings that use presence, with gradients; not in the paper.

    The same numbers as `similarity_matrix` under `adaptive` and under `part_aware` of the batch with itself.

    Returns:
        Two `(B, B)` float32: cosines of the descriptors weighted by Eq. 8, and part-aware similarities, probes in rows.
    """
    num_parts = output.presence.shape[1]
    presence = output.presence.float()
    terms = torch.cat([output.global_embedding[:, None], output.part_embeddings], dim=1).float()
    ones = presence.new_ones(len(presence), 1)
    weighted = (terms * torch.cat([ones, num_parts * presence], 1)[..., None]).flatten(1)
    # a root has no finite gradient at 0
    seen = (num_parts * presence).clamp(1e-12, 1) ** PRESENCE_POWER
    probes = terms * torch.cat([ones, seen], 1)[..., None]
    probes = probes / torch.linalg.vector_norm(probes, dim=2).sum(1)[:, None, None].clamp_min(1e-12)
    candidates = functional.normalize(terms, dim=2)
    return _cosines(weighted), probes.flatten(1) @ candidates.flatten(1).T


class Objective(nn.Module):
    """Named loss terms and their weighted total (Eq. 9)."""

    def __init__(self, config: TrainConfig, num_classes: int, teacher_dim: int = 0) -> None:
        """Make the classifier of `num_classes` labels, and a linear head to a teacher of `teacher_dim` dimensions.

        Raises:
            TrainingError: `distill_global` is set, and a teacher's vector is not as long as the global descriptor.
        """
        super().__init__()
        self.config = config
        width = config.model.descriptor_dim
        self.neck = nn.BatchNorm1d(width) if config.model.bn_neck else nn.Identity()
        if config.model.bn_neck:
            self.neck.bias.requires_grad_(False)
        self.classifier = nn.Linear(width, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)
        self.teacher_head = nn.Linear(width, teacher_dim) if teacher_dim and config.distill_direct else None
        self.teacher_dim = teacher_dim
        if config.distill_global and teacher_dim != config.model.dim:
            raise TrainingError(
                f"distill_global compares the global descriptor of {config.model.dim} numbers with the teacher's "
                f"vector, which has {teacher_dim}; use distill_direct."
            )
        if config.distill_parts:
            heads = torch.zeros(config.model.parts, config.model.dim, teacher_dim)
            # a part that starts in the teacher's own space stays there; others find their way
            heads.diagonal(dim1=1, dim2=2).fill_(1)
            self.part_heads = nn.Parameter(heads)

    def forward(
        self,
        output: DPTIOutput,
        labels: Tensor,
        teacher: Tensor | None = None,
        body: tuple[Tensor, Tensor] | None = None,
        held: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the unweighted terms and `total`.

        Args:
            output: of `B` images, `B >= 2` when the neck is a batch norm.
            labels: `(B,)` int64 in `0..C-1`.
            teacher: `(B, T)` vectors of the clean images; by a live teacher, of the pictures before they were hidden.
            body: label maps and visible shares, as `body_attention` takes them; needed by its terms.
            held: `(B, P, D)` parts of the initial weights; needed by `hold_parts`.

        Raises:
            ShapeError: labels, teacher vectors or held parts do not belong to the batch.
        """
        embeddings = output.descriptor.float()
        if labels.shape != embeddings.shape[:1]:
            raise ShapeError(f"Expected {len(embeddings)} labels, got {tuple(labels.shape)}.")
        weights = self.config.loss
        terms = {
            "identity": functional.cross_entropy(
                self.classifier(self.neck(embeddings)), labels, label_smoothing=weights.label_smoothing
            ),
            "triplet": batch_hard_triplet(embeddings, labels, weights.margin),
            "diversity": diversity(output.part_embeddings.float()),
        }
        if self.config.attention_overlap:
            terms["attention_overlap"] = attention_overlap(output.part_attention.float())
        total = (
            weights.identity * terms["identity"]
            + weights.triplet * terms["triplet"]
            + weights.diversity * terms["diversity"]
            + self.config.attention_overlap * terms.get("attention_overlap", 0)
        )
        if self.config.body_attention or self.config.body_presence:
            if body is None:
                raise ShapeError("The body part terms need label maps and visible shares.")
            maps = (output.template_attention.float(), output.part_attention.float())
            terms["body_attention"] = sum(body_attention(each, *body) for each in maps) / len(maps)
            terms["body_presence"] = body_presence(output.presence.float(), body[1])
            total = total + self.config.body_attention * terms["body_attention"]
            total = total + self.config.body_presence * terms["body_presence"]
        if self.config.hold_parts:
            if held is None or held.shape != output.part_embeddings.shape:
                raise ShapeError(f"Expected held parts {tuple(output.part_embeddings.shape)}.")
            terms["hold_parts"] = held_parts(output.part_embeddings.float(), held)
            total = total + self.config.hold_parts * terms["hold_parts"]
        if self.teacher_dim:
            if teacher is None or teacher.shape != (len(embeddings), self.teacher_dim):
                raise ShapeError(f"Expected teacher vectors ({len(embeddings)}, {self.teacher_dim}).")
            taught = self._taught(output, embeddings, teacher)
            terms.update(taught)
            total = total + sum(getattr(self.config, name) * value for name, value in taught.items())
        return {**terms, "total": total}

    def _taught(self, output: DPTIOutput, embeddings: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Return the unweighted distillation terms of the recipe; `distill_similarity` always, for the log."""
        terms = {}
        if self.teacher_head is not None:
            cosine = functional.cosine_similarity(self.teacher_head(embeddings), teacher, dim=1)
            terms["distill_direct"] = (1 - cosine).mean()
        terms["distill_similarity"] = similarity_match(embeddings, teacher)
        if self.config.distill_global:
            cosine = functional.cosine_similarity(output.global_embedding.float(), teacher, dim=1)
            terms["distill_global"] = (1 - cosine).mean()
        if self.config.distill_global_similarity:
            terms["distill_global_similarity"] = similarity_match(output.global_embedding.float(), teacher)
        if self.config.distill_parts:
            told = torch.einsum("bpd,pdt->bpt", output.part_embeddings.float(), self.part_heads)
            gap = 1 - functional.cosine_similarity(told, teacher[:, None], dim=2)
            terms["distill_parts"] = (output.presence.detach().float() * gap).sum(1).mean()
        if self.config.distill_presence:
            gaps = [_off_diagonal_gap(ours, _cosines(teacher)) for ours in presence_similarities(output)]
            terms["distill_presence"] = sum(gaps) / len(gaps)
        return terms
