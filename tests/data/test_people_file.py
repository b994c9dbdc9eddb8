"""The file of people; its rows are plain JSON, so no generator is needed."""

import gzip

import pytest

from reid_demo.data.people_file import PEOPLE, copy_people, read_people, write_people
from reid_demo.errors import SyntheticError

ROWS = [{"pid": 20002, "bag": "backpack"}, {"pid": 20001, "bag": "none"}, {"pid": 20003, "bag": "handbag"}]


def test_rows_survive_the_file_and_equal_rows_give_equal_bytes(tmp_path):
    write_people(tmp_path / PEOPLE, ROWS)
    write_people(tmp_path / "again.gz", ROWS)
    assert read_people(tmp_path / PEOPLE) == {row["pid"]: row for row in ROWS}
    assert (tmp_path / PEOPLE).read_bytes() == (tmp_path / "again.gz").read_bytes()


def test_a_copy_has_the_asked_people_who_are_known_by_pid(tmp_path):
    write_people(tmp_path / PEOPLE, ROWS)
    assert copy_people(tmp_path / PEOPLE, tmp_path / "some.gz", [20003, 20001, 20003, 7]) == 2
    assert list(read_people(tmp_path / "some.gz")) == [20001, 20003]


FLIPPED = gzip.compress(bytes(5000), mtime=0)
FLIPPED = FLIPPED[:14] + bytes([FLIPPED[14] ^ 0xFF]) + FLIPPED[15:]


@pytest.mark.parametrize("damage", [b"not packed", FLIPPED, b""], ids=["not packed", "flipped", "cut"])
def test_missing_and_damaged_files_are_told(tmp_path, damage):
    with pytest.raises(SyntheticError, match="There is no"):
        read_people(tmp_path / PEOPLE)
    write_people(tmp_path / PEOPLE, ROWS)
    (tmp_path / PEOPLE).write_bytes(damage or (tmp_path / PEOPLE).read_bytes()[:40])
    with pytest.raises(SyntheticError, match="damaged"):
        read_people(tmp_path / PEOPLE)
