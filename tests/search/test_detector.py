"""People are found in whole frames; boxes are in the frame's own pixels and inside it."""

import base64

import cv2
import numpy as np
import pytest
from PIL import Image

from reid_demo.errors import ConfigError
from reid_demo.images import read_image
from reid_demo.model import checkpoint
from reid_demo.search import detector, gallery
from reid_demo.search.build import IndexOptions, index_folder
from reid_demo.search.bundled import DEFAULT_GALLERY
from reid_demo.search.detector import HogFinder, open_finder

# A network that answers every 640 x 640 picture with four boxes (centre, size; person and car scores): a person at
# (160, 320) of 100 x 300, the same again 5 px further, a car, and an unsure person. Opset 12, made with `onnx`.
FOUR_BOXES = base64.b64decode(
    "CAc64gIKOQoGaW1hZ2VzEgFtIgpSZWR1Y2VNZWFuKg8KBGF4ZXNAAUACQAOgAQcqDwoIa2VlcGRpbXMYAaABAgoSCgFtCgFzEgFyIgdSZXNoYXBl"
    "Cg8KAXIKAXoSAm8wIgNNdWwKFQoCbzAKAWMSB291dHB1dDAiA0FkZBIBZyptCAEIBggEEAFCAWNKYAAAIEMAACVDAADIQwAA+kMAAKBDAAChQwAA"
    "lkMAAMhCAADIQgAAyEIAAEhDAABIQgAAlkMAAJZDAADIQgAAyEJmZmY/zcxMP83MzD3NzEw+zczMPQAAAABmZmY/AAAAACoRCAEIAQgBEAFCAXpK"
    "BAAAAAAqIQgDEAdCAXNKGAEAAAAAAAAAAQAAAAAAAAABAAAAAAAAAFoiCgZpbWFnZXMSGAoWCAESEgoCCAEKAggDCgMIgAUKAwiABWIdCgdvdXRw"
    "dXQwEhIKEAgBEgwKAggBCgIIBgoCCARCBAoAEAw="
)


def frame_with(*places: tuple[int, int]) -> np.ndarray:
    """Draw synthetic people of the shipped gallery, 128 x 256, with their top left corners at `places`."""
    frame = np.full((420, 640, 3), 128, np.uint8)
    for path, (x, y) in zip(sorted((DEFAULT_GALLERY / "images").glob("*.jpg"))[60:], places, strict=False):
        frame[y : y + 256, x : x + 128] = read_image(path)
    return frame


def centre(box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


@pytest.fixture
def onnx_file(tmp_path):
    path = tmp_path / "boxes.onnx"
    path.write_bytes(FOUR_BOXES)
    return path


def test_hog_finds_two_people_where_they_are():
    found = HogFinder().find(frame_with((60, 80), (400, 120)))
    best = sorted(sorted(found, key=lambda f: -f.score)[:2], key=lambda f: f.box)
    for (x, y), person in zip(((60, 80), (400, 120)), best, strict=True):
        assert centre(person.box) == pytest.approx((x + 64, y + 128), abs=35)
        assert person.box[3] - person.box[1] == pytest.approx(256, abs=70)


def test_hog_finds_nobody_in_an_empty_frame_and_boxes_stay_inside():
    assert HogFinder().find(np.full((300, 400, 3), 90, np.uint8)) == []
    assert HogFinder().find(np.full((40, 40, 3), 90, np.uint8)) == []
    large = cv2.resize(frame_with((0, 0), (500, 160)), None, fx=3, fy=3)
    found = HogFinder().find(large)
    assert found
    for person in found:
        x0, y0, x1, y1 = person.box
        assert 0 <= x0 < x1 <= large.shape[1] and 0 <= y0 < y1 <= large.shape[0]


def test_an_onnx_detector_keeps_its_contract(onnx_file):
    finder = open_finder(onnx_file)
    found = finder.find(np.zeros((1280, 960, 3), np.uint8))  # scale 1/2: model px count twice
    assert [person.box for person in found] == [(220, 340, 420, 940)]  # neither the double, the car nor the unsure one
    assert found[0].score == pytest.approx(0.9, abs=1e-6)
    assert finder.name.startswith("boxes.onnx ")


def test_bad_detectors_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no detector"):
        open_finder(tmp_path / "nowhere.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    with pytest.raises(ConfigError, match="cannot read the detector"):
        open_finder(tmp_path / "bad.onnx")


def test_index_cuts_people_out_and_remembers_frame_and_box(tmp_path, tiny_describer, tiny_weights, onnx_file):
    frames = tmp_path / "frames"
    (frames / "day").mkdir(parents=True)
    Image.fromarray(frame_with((60, 80))).save(frames / "day" / "0001_c3_1.png")
    finder, out, made_by = open_finder(onnx_file), tmp_path / "gallery", checkpoint.fingerprint(tiny_weights)
    report = index_folder(frames, out, tiny_describer, made_by, IndexOptions(finder=finder))
    assert (report.added, report.total) == (1, 1)
    record = gallery.load(out, made_by).records[0]
    assert (record.frame, record.box) == ("day/0001_c3_1.png", (110, 170, 210, 420))
    assert (record.width, record.height) == (100, 250) and (record.pid, record.camid) == (None, 3)
    again = index_folder(frames, out, tiny_describer, made_by, IndexOptions(finder=finder))
    assert (again.added, again.kept, again.rebuilt) == (0, 1, "")
    whole = index_folder(frames, out, tiny_describer, made_by)
    assert whole.added == 1 and "another way" in whole.rebuilt
    assert gallery.load(out, made_by).records[0].box is None


def test_frames_without_people_are_counted_and_remembered(tmp_path, tiny_describer, tiny_weights):
    class Nobody(HogFinder):
        calls = 0

        def find(self, image):
            Nobody.calls += 1
            return super().find(image) if image[0, 0, 0] == 128 else []

    frames = tmp_path / "frames"
    frames.mkdir()
    Image.fromarray(frame_with((60, 80))).save(frames / "a.png")
    Image.fromarray(np.full((300, 300, 3), 7, np.uint8)).save(frames / "b.png")
    made_by = checkpoint.fingerprint(tiny_weights)
    first = index_folder(frames, tmp_path / "gallery", tiny_describer, made_by, IndexOptions(finder=Nobody()))
    assert first.empty == 1 and first.added >= 1 and Nobody.calls == 2
    second = index_folder(frames, tmp_path / "gallery", tiny_describer, made_by, IndexOptions(finder=Nobody()))
    assert (second.empty, second.added, Nobody.calls) == (1, 0, 2)


def test_a_sliver_of_a_box_does_not_cost_the_frame():
    boxes = [(0, 0, 17, 400), (50, 0, 100, 300)]
    assert [found.box for found in detector._chosen(boxes, np.array([0.9, 0.8]), 0.5, 600, 400)] == [(50, 0, 150, 300)]
