"""Find the people in a whole frame, so that each can be cut out and described. Knows no Re-ID model and no gallery.

A bad box makes a bad ranking: if it cuts off the feet, or holds two people or a lamp post, so does the descriptor.
The built-in finder is OpenCV's histogram of oriented gradients (HOG) with its linear classifier. It needs no download
and finds upright, whole people at least 100 pixels high. For anything harder, supply a detector as an ONNX file.
"""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from reid_demo.errors import ConfigError
from reid_demo.images import MAX_ASPECT, MIN_SIDE

CAVEAT = "A bad box makes a bad ranking: look at the crops before you trust a match."
MAX_FRAME_SIDE = 1280  # image px; larger frames are shrunk before the search
WINDOW = (64, 128)  # (w, h) of HOG's detection window, image px
HOG_MARGIN = (0.14, 0.06)  # fractions of a HOG box's width and height that are margin, on each side of the person
HOG_THRESHOLD = 0.3  # signed distance from the classifier's plane
ONNX_SIDE = 640  # model px
ONNX_THRESHOLD = 0.35
OVERLAP = 0.6  # two boxes are one person if more than this fraction of the smaller lies in the larger


@dataclass(frozen=True)
class Found:
    """One person in a frame."""

    box: tuple[int, int, int, int]  # (x0, y0, x1, y1), image px, inside the frame
    score: float  # confidence on the detector's own scale; higher is surer


class HogFinder:
    """OpenCV's people detector; safe to share between threads."""

    name = "hog"

    def __init__(self) -> None:
        """Load the classifier that comes with OpenCV.

        Raises:
            ConfigError: this version of OpenCV has none.
        """
        if not hasattr(cv2, "HOGDescriptor"):
            raise ConfigError(
                f"OpenCV {cv2.__version__} no longer has a people detector; "
                "`pip install 'opencv-python-headless>=4.10,<5'`, or name an ONNX detector."
            )
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())

    def find(self, image: np.ndarray) -> list[Found]:
        """Find people in an `(H, W, 3)` uint8 RGB frame, from left to right."""
        height, width = image.shape[:2]
        scale = min(1.0, MAX_FRAME_SIDE / max(height, width))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            grey = cv2.resize(grey, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        below, right = max(0, WINDOW[1] - grey.shape[0]), max(0, WINDOW[0] - grey.shape[1])
        if below or right:  # OpenCV crashes on frames smaller than its window
            grey = cv2.copyMakeBorder(grey, 0, below, 0, right, cv2.BORDER_REPLICATE)
        boxes, scores = self._hog.detectMultiScale(
            grey, hitThreshold=HOG_THRESHOLD, winStride=(8, 8), padding=(16, 16), scale=1.05, groupThreshold=0
        )
        tight = []
        for x, y, w, h in np.asarray(boxes, np.float64).reshape(-1, 4) / scale:
            dx, dy = HOG_MARGIN[0] * w, HOG_MARGIN[1] * h
            tight.append((x + dx, y + dy, w - 2 * dx, h - 2 * dy))
        return _chosen(tight, np.asarray(scores, np.float64).reshape(-1), HOG_THRESHOLD, width, height)


class OnnxFinder:
    """A YOLO-like detector in an ONNX file, run by OpenCV; safe to share between threads.

    The file must follow the export format of YOLOv8 and YOLO11. One input `(1, 3, 640, 640)`, float32 RGB in 0..1: the
    frame is fitted in and padded with grey 114. One output `(1, 4+C, n)`: centre x, centre y, width and height in
    model px, then `C` class scores in 0..1, the first of which is "person".
    """

    def __init__(self, path: str | Path) -> None:
        """Read the file; the finder is named after the file and its hash.

        Raises:
            ConfigError: the file is missing or OpenCV cannot read it.
        """
        path = Path(path)
        if not path.is_file():
            raise ConfigError(f"There is no detector {str(path)!r}; name an ONNX file, or `hog`.")
        data = path.read_bytes()
        try:
            self._net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
        except cv2.error as error:
            raise ConfigError(f"OpenCV cannot read the detector {path.name!r}; export it as ONNX, opset 12.") from error
        self.name = f"{path.name} {hashlib.sha256(data).hexdigest()[:16]}"
        self._lock = threading.Lock()

    def find(self, image: np.ndarray) -> list[Found]:
        """Find people in an `(H, W, 3)` uint8 RGB frame, from left to right."""
        height, width = image.shape[:2]
        scale = min(ONNX_SIDE / height, ONNX_SIDE / width)
        small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
        square = np.full((ONNX_SIDE, ONNX_SIDE, 3), 114, np.uint8)
        square[: small.shape[0], : small.shape[1]] = small
        try:
            with self._lock:
                self._net.setInput(cv2.dnn.blobFromImage(square, 1 / 255))
                answer = self._net.forward()
        except cv2.error as error:
            raise ConfigError(f"The detector {self.name.split()[0]!r} does not accept a 640 x 640 image.") from error
        if answer.ndim != 3 or answer.shape[0] != 1 or answer.shape[1] < 5:
            raise ConfigError(
                f"The detector {self.name.split()[0]!r} returns {answer.shape}, not YOLOv8's (1, 4 + classes, boxes)."
            )
        rows = answer[0].T.astype(np.float64)
        rows = rows[rows[:, 4:].argmax(axis=1) == 0] if answer.shape[1] > 5 else rows
        boxes = [((x - w / 2) / scale, (y - h / 2) / scale, w / scale, h / scale) for x, y, w, h in rows[:, :4]]
        return _chosen(boxes, rows[:, 4], ONNX_THRESHOLD, width, height)


def open_finder(name: str | Path):
    """Return the built-in finder for the name `hog`, else the detector in that ONNX file."""
    return HogFinder() if str(name) == "hog" else OnnxFinder(name)


def _chosen(boxes: list, scores: np.ndarray, threshold: float, width: int, height: int) -> list[Found]:
    """Keep the surest of overlapping `(x, y, w, h)` boxes, clipped to the frame; drop those too small to describe."""
    kept: list[Found] = []
    for i in np.argsort(-scores, kind="stable"):
        if scores[i] < threshold:
            break
        x, y, w, h = boxes[i]
        box = (max(0, round(x)), max(0, round(y)), min(width, round(x + w)), min(height, round(y + h)))
        sides = sorted((box[2] - box[0], box[3] - box[1]))
        fits = MIN_SIDE <= sides[0] and sides[1] <= MAX_ASPECT * sides[0]  # else its frame would be refused whole
        if fits and all(_shared(box, f.box) <= OVERLAP for f in kept):
            kept.append(Found(box, float(scores[i])))
    return sorted(kept, key=lambda found: found.box)


def _shared(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Return the fraction of the smaller box that lies in the other."""
    inside = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return inside / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
