"""The compressed index finds what the exact one finds; the exact one agrees with a full matrix product."""

from dataclasses import replace

import faiss
import numpy as np
import pytest

from reid_demo.errors import GalleryError
from reid_demo.records import WEIGHINGS, Descriptor, ImageRecord, Scoring
from reid_demo.search import gallery, similarity, store, vectors
from reid_demo.serving.bench.large import bench_large

RNG = np.random.default_rng(0)
TERMS, DIM, COUNT = 5, 24, 6000


def mixtures(count: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Draw network-like descriptors `(n, P+1, D)`, of low rank with noise, and presence `(n, P)`."""
    base = np.random.default_rng(7).normal(size=(60, TERMS * DIM))
    share = rng.dirichlet(np.full(60, 0.08), count)
    rows = share @ base + rng.normal(0, 0.02, (count, TERMS * DIM))
    return rows.reshape(count, TERMS, DIM).astype(np.float16), rng.dirichlet(np.ones(TERMS - 1), count).astype("f4")


PARTS, PRESENCE = mixtures(COUNT, RNG)
PROBES = [
    Descriptor(p.astype(np.float32), r, np.zeros((4, 0, 0)), np.zeros((4, 0, 0)))
    for p, r in zip(*mixtures(40, np.random.default_rng(1)), strict=True)
]


def build(folder, limit: int, scoring: Scoring = Scoring()):
    (folder / "images").mkdir(parents=True)
    records = [ImageRecord(f"images/{i:05d}.jpg", i // 5, i % 3) for i in range(COUNT)]
    lines: list[str] = []
    blocks = ((PARTS[i : i + 700], PRESENCE[i : i + 700]) for i in range(0, COUNT, 700))
    storage = store.Storage(exact_limit=limit, say=lines.append)
    store.write(folder, records, blocks, store.About("f", "many", scoring), storage)
    return gallery.load(folder, "f"), lines


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return build(tmp_path_factory.mktemp("exact"), COUNT)[0]


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    return build(tmp_path_factory.mktemp("compressed"), COUNT - 1)[0]


def truth(probe: Descriptor, scoring: Scoring = Scoring()) -> np.ndarray:
    return similarity.similarity_matrix(
        probe.parts[None], probe.presence[None], PARTS.astype(np.float32), PRESENCE, scoring
    )[0]


def test_faiss_reads_a_flat_index(exact):
    index = faiss.read_index(str(exact.folder / gallery.VECTORS))
    wanted = similarity.gallery_vectors(PARTS[:50].astype(np.float32), PRESENCE[:50])
    np.testing.assert_allclose(index.reconstruct_n(0, 50), wanted, atol=2e-3)
    assert index.ntotal == len(exact) == COUNT


@pytest.mark.parametrize(("count", "dim"), [(1, 8), (50, 120), (70_000, 2304)])
def test_a_flat_file_begins_as_faiss_begins_it(count, dim):
    index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.train(np.zeros((1, dim), np.float32))
    empty = faiss.serialize_index(index).tobytes()
    wanted = empty[:8] + count.to_bytes(8, "little") + empty[16:-8] + (2 * count * dim).to_bytes(8, "little")
    assert vectors._flat_head(count, dim) == wanted


def test_the_size_decides_which_index_is_made(exact, compressed):
    assert exact.exact and not compressed.exact
    assert exact.meta["index"] == {"kind": "flat"}
    assert compressed.meta["index"]["kind"] == "compressed" and compressed.meta["index"]["recall_at_10"] >= 0.98
    assert vectors.EXACT_LIMIT == 200_000


def test_the_exact_index_equals_a_full_product(exact):
    for probe in PROBES[:10]:
        values = truth(probe)
        found = exact.search(probe, 10)
        assert [m.index for m in found] == np.argsort(-values, kind="stable")[:10].tolist()
        np.testing.assert_allclose([m.similarity for m in found], np.sort(values)[::-1][:10], atol=1e-5)


def test_recall_of_the_compressed_index_on_probes_it_was_not_tuned_with(compressed):
    hits = total = 0
    for probe in PROBES:
        values = truth(probe)
        found = compressed.search(probe, 10)
        hits += len({m.index for m in found} & set(np.argsort(-values, kind="stable")[:10].tolist()))
        total += 10
        for match in found:  # what is shown is scored exactly
            assert match.similarity == pytest.approx(values[match.index], abs=1e-5)
            assert match.contributions.sum() == pytest.approx(match.similarity, abs=1e-5)
    assert hits / total >= 0.98


def test_excluded_images_are_left_out(exact, compressed):
    for one in (exact, compressed):
        best = [m.index for m in one.search(PROBES[0], 10)]
        exclude = np.zeros(COUNT, bool)
        exclude[best[:4]] = True
        again = [m.index for m in one.search(PROBES[0], 6, exclude=exclude)]
        assert again == best[4:]
        exclude[:] = True
        exclude[best[2]] = False
        assert [m.index for m in one.search(PROBES[0], 6, exclude=exclude)] == [best[2]]
    exclude = np.ones(COUNT, bool)
    exclude[3] = False
    assert [m.index for m in exact.search(PROBES[0], 6, exclude=exclude)] == [3]


def test_estimates_order_all_images_almost_as_the_exact_scores(compressed):
    values, estimated = truth(PROBES[3]), compressed.scores(PROBES[3])
    assert estimated.shape == (COUNT,) and np.corrcoef(values, estimated)[0, 1] > 0.98
    assert np.abs(values - estimated).max() < 0.1
    ranks = compressed.ranking(PROBES[3]).ranks
    found = compressed.search(PROBES[3], 5)
    assert [ranks[m.index] for m in found] == [1, 2, 3, 4, 5]
    assert sorted(ranks) == list(range(1, COUNT + 1))


@pytest.mark.parametrize("scoring", [Scoring("adaptive"), Scoring(parts=(True, False, True, True, False))], ids=str)
def test_other_scorings_are_exact_on_the_candidates(compressed, scoring):
    values = truth(PROBES[5], scoring)
    np.testing.assert_allclose(compressed.scores(PROBES[5], scoring), values, atol=1e-5)
    for match in compressed.search(PROBES[5], 10, scoring):
        assert match.similarity == pytest.approx(values[match.index], abs=1e-5)


def test_a_compressed_gallery_may_hold_part_aware_vectors(tmp_path):
    aware = Scoring("part_aware")
    large = build(tmp_path, COUNT - 1, aware)[0]
    assert not large.exact and large.scoring == aware and large.is_indexed(aware) and not large.is_indexed(Scoring())
    found_all = 0
    for probe in PROBES:
        values = truth(probe, aware)
        found = large.search(probe, 10, aware)
        for match in found:
            assert match.similarity == pytest.approx(values[match.index], abs=1e-5)
        found_all += len({m.index for m in found} & set(np.argsort(-values, kind="stable")[:10].tolist()))
    assert found_all >= 0.95 * 10 * len(PROBES)
    estimated, values = large.scores(PROBES[3], aware), truth(PROBES[3], aware)
    assert np.abs(values - estimated).max() < 0.1
    some = Scoring("part_aware", parts=(False, True, False, True, True))
    values = truth(PROBES[4], some)
    assert large.search(PROBES[4], 1, some)[0].index == int(np.argmax(values))


@pytest.mark.parametrize("weighing", WEIGHINGS)
@pytest.mark.parametrize("parts", [None, (True, False, True, True, False)], ids=str)
def test_one_pass_gives_every_scoring(exact, weighing, parts, monkeypatch):
    scoring = Scoring(weighing, parts)
    np.testing.assert_allclose(exact.scores(PROBES[1], scoring), truth(PROBES[1], scoring), atol=1e-6)
    several = exact.scores_of(PROBES[:3], scoring)
    np.testing.assert_allclose(several, [truth(probe, scoring) for probe in PROBES[:3]], atol=1e-6)
    monkeypatch.setattr(similarity, "part_products", None)  # the gallery is not passed again for the same probe
    assert len(exact.search(PROBES[1], 5, scoring)) == 5
    assert exact.ranking(PROBES[1], Scoring("cosine")).ranks.min() == 1


def test_products_are_remembered_for_a_few_probes_that_live(exact):
    for probe in PROBES[:20]:
        exact.scores(probe)
    assert len(exact._passes) == gallery.PASSES
    gone = replace(PROBES[0])
    exact.scores(gone)
    del gone
    assert len(exact._passes) == gallery.PASSES - 1


def test_equal_images_rank_in_gallery_order_wherever_they_stand(tmp_path, exact):
    rows = np.r_[np.arange(130), 5, 5, 129]
    parts, presence = exact.rows(rows)
    records = [ImageRecord(f"images/{i}.png") for i in range(len(rows))]
    store.write(tmp_path / "twins", records, iter([(parts, presence)]), store.About("x", "twins"))
    twins = gallery.load(tmp_path / "twins")
    for scoring in (Scoring(name) for name in WEIGHINGS):
        found, ranking = twins.search_and_rank(PROBES[2], len(rows), scoring)
        assert len(set(ranking.similarity[[5, 130, 131]])) == len(set(ranking.similarity[[129, 132]])) == 1
        assert [ranking.ranks[match.index] for match in found] == list(range(1, len(rows) + 1))
        assert ranking.ranks[5] == ranking.ranks[130] - 1 == ranking.ranks[131] - 2


def test_progress_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "EVERY_S", 0.0)
    lines = build(tmp_path, COUNT - 1)[1]
    assert any("of 6,000" in line and "s left" in line for line in lines)
    assert any("of the exact ten nearest" in line for line in lines)


def test_a_damaged_index_is_a_clear_error(tmp_path):
    build(tmp_path, COUNT - 1)
    meta = (tmp_path / gallery.META).read_text()
    (tmp_path / gallery.META).write_text(meta.replace('"depth"', '"height"'))
    with pytest.raises(GalleryError, match="damaged.*Rebuild it with"):
        gallery.load(tmp_path)
    (tmp_path / gallery.META).write_text(meta.replace('"compressed"', '"magic"'))
    with pytest.raises(GalleryError, match="unknown kind 'magic'"):
        gallery.load(tmp_path)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    parts = PARTS[:3].copy()
    parts[1, 2, 3] = np.nan
    with pytest.raises(GalleryError, match="not finite"):
        records = [ImageRecord(f"{i}.jpg") for i in range(3)]
        store.write(tmp_path, records, iter([(parts, PRESENCE[:3])]), store.About("f", "bad"))
    assert not (tmp_path / gallery.META).exists() and not list(tmp_path.glob(".writing-*"))


def test_the_bench_measures_a_gallery_of_mixed_descriptors(exact, tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "EXACT_LIMIT", 1500)
    lines: list[str] = []
    rows = {row.what.split(": ")[1]: row.value for row in bench_large(exact, 2000, folder=tmp_path, say=lines.append)}
    assert rows["recall@10 of 100 other probes"] >= 0.98
    assert rows["search, median"] > 0 and rows["most memory while building"] > 0.01
    assert list(tmp_path.iterdir()) == [] and lines
    with pytest.raises(GalleryError, match="at least 100"):
        bench_large(exact, 5)


def test_a_compressed_gallery_lists_as_many_as_are_asked_for(compressed):
    """Eight of its lists hold a part of all images."""
    vector = similarity.probe_vectors(PROBES[0].parts, PROBES[0].presence, Scoring())
    few = np.arange(COUNT) % 100 > 0
    for exclude, count in ((None, COUNT), (few, COUNT // 100)):
        rows = compressed.index.nearest(vector, count, exclude)
        assert len(set(rows.tolist())) == len(rows) == count
        assert exclude is None or not exclude[rows].any()
    assert len(compressed.index.nearest(vector, 5, np.ones(COUNT, bool))) == 0
    assert len(compressed.search(PROBES[0], 5000)) == 5000


def test_more_copies_of_a_picture_than_candidates_are_no_damage():
    """As of a covered camera. A file of another gallery is still found out."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(3000, 32)).astype("f4")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    copied, other = rows.copy(), rows[::-1].copy()
    copied[:400] = copied[0]
    built = vectors.build(lambda numbers: copied[numbers], 3000, 32, lambda line: None, 100)
    index = vectors.Compressed(built._index, replace(built.tuning, depth=64))  # as tuned without a query among them
    assert not {200, 399} & set(index.nearest(copied[0], 64).tolist())
    assert all(index.holds(row, copied[row]) for row in (0, 200, 399, 400, 2999))
    assert not any(index.holds(row, other[row]) for row in (0, 700, 2999))
    index._lists.invlists.reset()
    assert not index.holds(700, copied[700])  # a file whose lists were lost


@pytest.mark.parametrize("scoring", [Scoring("adaptive"), Scoring(parts=(True, False, False, False, False))], ids=str)
def test_where_scores_are_exact_the_list_is_that_of_the_ranks(compressed, scoring):
    for probe in PROBES[:10]:
        found, ranking = compressed.search_and_rank(probe, 10, scoring)
        assert [ranking.ranks[match.index] for match in found] == list(range(1, 11))
        best = np.argsort(-truth(probe, scoring), kind="stable")[:10]
        assert [match.index for match in found] == best.tolist()
