"""The path of a probe stays short, so that a reader can follow it by file names."""

from walk import files_passed

MOST = 12


def test_a_probe_passes_few_files_on_its_way_to_the_explained_result(tiny_engine):
    found = files_passed(tiny_engine)
    assert {
        "reid_demo/serving/page/handlers/probe.py",
        "reid_demo/engine.py",
        "reid_demo/search/gallery.py",
        "reid_demo/search/similarity.py",
        "reid_demo/whatif/explain.py",
        "reid_demo/drawing/overlays.py",
        "reid_demo/serving/page/handlers/why.py",
    } <= set(found)
    assert len(found) <= MOST, found
