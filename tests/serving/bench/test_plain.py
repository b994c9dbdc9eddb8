"""Each reference returns what the product returns, so a ratio compares the same work on the same inputs."""

import functools
import itertools
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_demo.__main__ import main
from reid_demo.model.checkpoint import load_weights
from reid_demo.records import Occlusion
from reid_demo.search import gallery as galleries
from reid_demo.search.build import IndexOptions, index_folder
from reid_demo.search.gallery_views import ONE_VIEW
from reid_demo.serving.bench import engine as bench
from reid_demo.serving.bench.plain import Plain
from reid_demo.serving.bench.rows import Timing, in_ms, markdown, of, per_second, side_by_side, table
from reid_demo.whatif.sweep import Window


@pytest.fixture(scope="module")
def plain(tiny_engine, tiny_weights):
    return Plain(load_weights(tiny_weights), torch.device("cpu"), tiny_engine.gallery)


def test_plain_is_the_network_as_its_weights_have_it(tiny_weights, plain):
    network = load_weights(tiny_weights).eval()
    assert str(plain.model.backbone) == str(network.backbone) and "BatchNorm" in str(plain.model.backbone)
    weights = [weight for weight in plain.model.parameters() if weight.ndim == 4 and min(weight.shape[1:3]) > 1]
    assert weights and all(weight.is_contiguous() for weight in weights)


def test_describing(tiny_engine, plain, probe_image):
    images = [probe_image, probe_image[:, ::-1].copy()]
    parts, presence = plain.describe(images)
    ours = tiny_engine.describer.describe(images)
    assert np.allclose(parts, [d.parts for d in ours], atol=1e-4)
    assert np.allclose(presence, [d.presence for d in ours], atol=1e-5)


def test_searching_and_a_change(tiny_engine, plain, probe_image):
    probe = tiny_engine.describe(probe_image)
    rows, values = plain.search(probe.parts, probe.presence)
    found = tiny_engine.search(probe, 10)
    assert [match.index for match in found] == rows.tolist()
    assert np.allclose(values, [match.similarity for match in found], atol=1e-5)
    change = Occlusion("lower_half")
    rows, values = plain.change(probe_image, change)
    found = tiny_engine.search(tiny_engine.describe(tiny_engine.occlude(probe_image, [change])))
    assert np.allclose(values, [match.similarity for match in found], atol=1e-4)


def test_a_sweep(tiny_engine, plain, probe_image):
    watched = tiny_engine.search(tiny_engine.describe(probe_image))[0].index
    *_, last = tiny_engine.sweep(probe_image, [[watched]], Window(0.5, 0.5))
    ours = last.similarity_change[0] + last.base[0, 0], last.rank_change[0] + last.base[0, 1]
    theirs = plain.sweep(probe_image, last.boxes, watched)
    assert np.allclose(theirs[:, 0], ours[0], atol=1e-4) and np.abs(theirs[:, 1] - ours[1]).max() <= 1


def test_a_folder(tiny_engine, plain, tmp_path):
    (tmp_path / "in").mkdir()
    files = [Path(shutil.copy(tiny_engine.gallery.image_path(i), tmp_path / "in")) for i in range(4)]
    plain.index(files, tmp_path / "plain")
    index_folder(tmp_path / "in", tmp_path / "ours", tiny_engine.describer, "bench", IndexOptions(views=ONE_VIEW))
    ours = galleries.load(tmp_path / "ours")
    names = [
        Path(json.loads(line)["path"]).name for line in (tmp_path / "plain/records.jsonl").read_text().splitlines()
    ]
    parts = dict(zip(names, np.load(tmp_path / "plain/parts.npy"), strict=True))
    for i, record in enumerate(ours.records):
        name = next(name for name in names if Path(record.path).name.startswith(Path(name).stem))
        one, other = (np.float32(values).ravel() for values in (parts[name], ours.parts[i]))
        # Folders are described in bfloat16 where the processor has it; the row says so.
        assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.999


@pytest.mark.parametrize(
    ("repeats", "warm", "order"),
    [(2, True, "oopp" * 2), (5, False, "op" * 5), (10, True, "oooppp" * 5), (11, True, "oooopppp" * 5)],
)
def test_what_is_measured_and_its_reference_take_turns(repeats, warm, order):
    seen = []
    ours, plain = side_by_side(lambda: seen.append("o"), lambda: seen.append("p"), repeats, warm=warm)
    assert "".join(seen) == order
    assert 0 < ours.low_s <= ours.median_s <= ours.high_s and plain.low_s > 0


def test_the_run_that_warms_up_does_not_count():
    waits = itertools.chain([0.2], itertools.repeat(0))
    ours, _ = side_by_side(lambda: time.sleep(next(waits)), lambda: None, 1)
    assert ours.high_s < 0.1


def test_a_row_says_spread_threads_processor_and_precision():
    row = in_ms("x", Timing(0.002, 0.001, 0.004), Timing(0.006, 0.006, 0.006), "bfloat16")
    assert (row.value, row.low, row.high, row.reference, row.ratio) == pytest.approx((2, 1, 4, 6, 3))
    row = per_second("y", 10, Timing(2, 1, 5), Timing(4, 4, 4))
    assert (row.value, row.low, row.high, row.reference, row.ratio) == (5, 2, 10, 2.5, 2)
    shown = table([row])
    assert row.processor in shown and f"{row.threads} threads" in shown and "2.00 to 10.00" in shown


def test_the_command_prints_rows_and_searches_a_gallery_of_the_size_that_it_says(
    tiny_weights, tiny_gallery_folder, monkeypatch, capsys
):
    monkeypatch.setattr(bench, "bench", functools.partial(bench.bench, repeats=2))  # nobody reads these times
    searched = []
    real = galleries.Gallery.search

    def search(self, *values, **named):
        searched.append(len(self))
        return real(self, *values, **named)

    monkeypatch.setattr(galleries.Gallery, "search", search)
    options = ["--weights", str(tiny_weights), "--gallery", str(tiny_gallery_folder), "--gallery-size", "40", "--json"]
    assert main(["bench", *options]) == 0
    rows = json.loads(capsys.readouterr().out)
    told = {"what", "unit", "value", "low", "high", "reference", "ratio", "threads", "processor", "precision"}
    assert [set(row) for row in rows] == [told] * 5
    assert rows[3]["what"] == "exact search of 40 images" and 40 in searched and 18 in searched
    assert all(0 < row["low"] <= row["value"] <= row["high"] for row in rows)
    assert bench.CHANGE.kind == "lower_half"


def test_the_table_of_a_document_holds_what_the_printed_one_holds():
    rows = [
        in_ms("describe one probe", Timing(0.0341, 0.0338, 0.04), Timing(0.0552, 0.05, 0.06), "bfloat16"),
        of("memory of the page at rest; beside the aim", "GB", 1234.5),
    ]
    written = markdown(rows).splitlines()
    assert written[0] == f"{rows[0].processor}, {rows[0].threads} threads:"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in written[2:]]
    assert cells[2] == ["describe one probe", "34.1 ms", "33.8 to 40", "55.2", "1.62", "bfloat16"]
    assert cells[3] == ["memory of the page at rest; beside the aim", "1,234 GB", "1,234 to 1,234", "-", "-", "float32"]
    assert {len(line) for line in cells} == {6}
