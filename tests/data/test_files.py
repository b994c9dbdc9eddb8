from dataclasses import dataclass

import pytest

from reid_demo.data.files import read_json, read_json_lines
from reid_demo.errors import GalleryError, WeightsError
from reid_demo.records import ImageRecord

MEND = "Write it anew with `python -m reid_demo calibrate`."


@dataclass(frozen=True)
class Level:
    threshold: float
    misses: float | None = None


@dataclass(frozen=True)
class Levels:
    name: str
    levels: tuple[Level, ...]


def test_a_file_is_read_as_its_model(tmp_path):
    file = tmp_path / "levels.json"
    file.write_text('{"name": "a", "levels": [{"threshold": 1}, {"threshold": 0.5, "misses": null}], "more": 1}')
    assert read_json(Levels, file, WeightsError, MEND) == Levels("a", (Level(1.0), Level(0.5)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"name": "a", "levels": [{"threshold": 1}, {"threshold": "0.5"}]}', "levels.1.threshold: "),
        ('{"name": "a", "levels": [{}]}', "levels.0.threshold: Field required"),
        ('{"levels": []}', "name: Field required"),
        ("{", "Invalid JSON"),
        ("[]", "an object"),
        (None, "No such file or directory"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, told):
    file = tmp_path / "weights" / "levels.json"
    file.parent.mkdir()
    if text is not None:
        file.write_text(text)
    with pytest.raises(WeightsError) as caught:
        read_json(Levels, file, WeightsError, MEND)
    message = str(caught.value)
    assert message.startswith("levels.json in 'weights' cannot be read (") and message.endswith(f"). {MEND}")
    assert told in message


def test_lines_are_read_one_by_one_and_counted_from_1(tmp_path):
    file = tmp_path / "records.jsonl"
    big = 2**70 + 1  # kept to the last digit
    file.write_text(f'{{"path": "a.jpg", "pid": {big}, "box": [1, 2, 3, 4]}}\n\n{{"path": "b.jpg"}}\n')
    read = list(read_json_lines(ImageRecord, file, GalleryError, MEND))
    assert read == [ImageRecord("a.jpg", big, box=(1, 2, 3, 4)), ImageRecord("b.jpg")]
    file.write_text('{"path": "a.jpg"}\n{"path": "b.jpg", "pid": "7"}\n')
    with pytest.raises(GalleryError, match=r"^Line 2 of records.jsonl in .* cannot be read \(pid: .*integer"):
        list(read_json_lines(ImageRecord, file, GalleryError, MEND))
