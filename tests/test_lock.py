"""The lock files pin what the ranges ask for, with hashes, from no index of anyone's own."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def pinned(lock: str) -> dict[str, list[Requirement]]:
    """Return the pins of a lock file by name: one for each range of Python versions."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    pins: dict[str, list[Requirement]] = {}
    for line in text.splitlines():
        if line and not line.lstrip().startswith("#"):
            named, *hashes = line.split(" --hash=")
            assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", each) for each in hashes), line
            pin = Requirement(named.strip())
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


@pytest.mark.parametrize("lock", ["requirements.lock", "tests/requirements.lock"])
def test_every_requirement_is_pinned_within_its_range(lock):
    pins = pinned(lock)
    wanted = [ROOT / "requirements.txt", *([ROOT / "tests/requirements.txt"] if lock.startswith("tests") else [])]
    for listing in wanted:
        for line in listing.read_text(encoding="utf-8").splitlines():
            if not line or line.startswith("#"):
                continue
            asked = Requirement(line)
            found = pins[canonicalize_name(asked.name)]
            for pin in found:
                (version,) = pin.specifier
                assert version.operator == "==" and version.version in asked.specifier, (line, str(pin))
    assert not any(re.match(r"\s*(-i|--index|--extra-index|--find-links)|.*https?://", line) for line in lines(lock))


def lines(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def test_both_locks_agree_and_ci_installs_them():
    own, tests = pinned("requirements.lock"), pinned("tests/requirements.lock")
    for name, pins in own.items():
        assert {pin.specifier for pin in pins} <= {pin.specifier for pin in tests[name]}, name
    assert "pip install -q --require-hashes -r requirements.lock" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
