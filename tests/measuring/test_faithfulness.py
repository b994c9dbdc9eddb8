"""Deletion and insertion: orders, pictures and areas, recomputed by slow loops."""

import numpy as np
import pytest
import torch

from reid_demo.config import MEAN_GREY
from reid_demo.images import to_model_input
from reid_demo.measuring import faithfulness, gradient
from reid_demo.measuring.faithfulness import GRID, STEPS
from reid_demo.records import WEIGHINGS, Scoring
from reid_demo.search import similarity


@pytest.fixture(scope="module")
def case(tiny_engine):
    return faithfulness.cases(tiny_engine, 1, 0)[0]


def test_a_case_watches_the_best_image_of_the_person(case, tiny_engine):
    assert (tiny_engine.pids[case.right] == 2).all() and case.watched in case.right
    assert case.similarity([case.probe])[0] == max(
        tiny_engine.gallery.scores(case.probe, tiny_engine.default_scoring)[case.right]
    )


def test_cells_are_ordered_by_importance_and_ties_at_random():
    found = np.zeros(GRID)
    found[3, 4], found[9, 1] = 2, 1
    order = faithfulness.order_of(found, 0)
    assert sorted(order) == list(range(found.size))
    assert list(order[:2]) == [3 * GRID[1] + 4, 9 * GRID[1] + 1]
    assert list(order[2:]) != list(faithfulness.order_of(found, 1)[2:])


def test_pictures_hide_or_reveal_the_first_cells(case):
    order = np.arange(GRID[0] * GRID[1])  # from the top
    drawn = faithfulness.pictures(case.image, order)
    deleted, inserted = drawn[: len(STEPS)], drawn[len(STEPS) :]
    height = case.image.shape[0]
    for share, gone, shown in zip(STEPS, deleted, inserted, strict=True):
        rows = int(round(share * len(order)) // GRID[1] * height / GRID[0])
        assert (gone[:rows] == MEAN_GREY).all() and (gone[rows + 8 :] == case.image[rows + 8 :]).all()
        assert (shown[:rows] == case.image[:rows]).all() and (shown[rows + 8 :] != case.image[rows + 8 :]).any()


def test_areas_by_a_slow_sum(case, tiny_engine):
    maps = [faithfulness.random_order(case), faithfulness.centre_prior(case)]
    found = faithfulness.areas(case, maps)
    blurred, grey = (
        faithfulness.occlude.fill(case.image, np.ones(case.image.shape[:2], bool), fill)
        for fill in ("blur", "mean_grey")
    )
    for i, importance in enumerate(maps):
        drawn = faithfulness.pictures(case.image, faithfulness.order_of(importance, case.seed))
        for j, pictures in enumerate(([case.image, *drawn[:6], grey], [blurred, *drawn[6:], case.image])):
            values = [
                tiny_engine.gallery.scores(tiny_engine.describe(p), tiny_engine.default_scoring) for p in pictures
            ]
            shares, area, inverse = [0, *STEPS, 1], 0.0, []
            for value in values:
                better = sum(s > max(value[case.right]) for s, out in zip(value, case.left_out, strict=True) if not out)
                inverse.append(1 / (1 + better))
            area = sum(
                (shares[k + 1] - shares[k]) * (values[k][case.watched] + values[k + 1][case.watched]) / 2
                for k in range(len(values) - 1)
            )
            ranks = sum((shares[k + 1] - shares[k]) * (inverse[k] + inverse[k + 1]) / 2 for k in range(len(values) - 1))
            assert found[i, j, 0] == pytest.approx(area, abs=1e-4)
            assert found[i, j, 1] == pytest.approx(ranks, abs=1e-6)


def test_equal_numbers_of_calls(case, monkeypatch):
    asked = []
    describe = case.engine.describer.describe
    monkeypatch.setattr(case.engine.describer, "describe", lambda images: asked.append(len(images)) or describe(images))
    for method in faithfulness.methods(case.engine.describer.model.config.parts):
        asked.clear()
        found = method.make(case)
        assert found.shape == GRID and np.isfinite(found).all(), method.name
        assert sum(asked) == (0 if method.make is faithfulness.similarity_gradient else method.calls), method.name


@pytest.mark.parametrize("weighing", WEIGHINGS)
def test_the_differentiable_similarity_is_the_similarity(case, tiny_engine, weighing):
    match = tiny_engine.gallery.descriptor(case.watched)
    for parts in (None, (True, False) + (True,) * 7):
        scoring = Scoring(weighing, parts)
        wanted = similarity.similarity_matrix(
            case.probe.parts[None], case.probe.presence[None], match.parts[None], match.presence[None], scoring
        )
        own = torch.from_numpy(case.probe.parts), torch.from_numpy(case.probe.presence)
        assert float(gradient.probe_similarity(*own, match, scoring)) == pytest.approx(float(wanted[0, 0]), abs=1e-5)


def test_the_gradient_is_the_slope(case, tiny_engine):
    model, scoring = tiny_engine.describer.model, tiny_engine.default_scoring
    match = tiny_engine.gallery.descriptor(case.watched)
    found = gradient.gradient_map(model, case.image, match, scoring)
    pixels = torch.from_numpy(to_model_input(case.image))[None]

    def value(factor: float) -> float:
        with torch.no_grad():
            out = model(pixels * factor)
            parts = torch.cat([out.global_embedding[:, None], out.part_embeddings], dim=1)[0]
            return float(gradient.probe_similarity(parts, out.presence[0], match, scoring))

    step = 1e-2
    slope = (value(1 + step) - value(1 - step)) / (2 * step)
    assert found.sum() == pytest.approx(slope, abs=max(2e-3, 0.1 * abs(slope)))


def test_the_study_is_repeatable_and_makes_a_table(tiny_engine):
    found = faithfulness.study(tiny_engine, 1)
    assert found == faithfulness.study(tiny_engine, 1)
    assert [row.method for row in found.rows] == [method.name for method in faithfulness.methods(8)]
    assert found.rows[0].advantage.value == 0
    assert found.table().count("\n") == len(found.rows) + 1
