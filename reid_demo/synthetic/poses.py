"""Poses for walking, standing, phoning and carrying: bone rotations from tables and limb directions. Knows no mesh.

Directions are in the person's own frame: x to their left, y up, z ahead. Angles in the tables are degrees.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reid_demo.synthetic.geometry import rotation, rotation_about

POSES = {"walk": 0.66, "stand": 0.2, "phone": 0.08, "strap": 0.03, "pockets": 0.03}  # name -> how often
PHASES = np.linspace(0, 1, 11)  # of a stride; 0 is heel strike, ordinary adult gait
HIP = np.array([29, 25, 17, 7, -2, -9, -6, 11, 26, 31, 29])  # flexion
KNEE = np.array([5, 16, 15, 9, 6, 12, 36, 60, 51, 20, 5])
SOLE = np.array([18, 3, 0, 0, -3, -18, -52, -58, -26, 4, 18])  # positive is toes up


Turns = dict[str, np.ndarray]  # bone -> `(3, 3)` rotation in its parent's frame


@dataclass(frozen=True)
class Gait:
    """A person's way of moving; angles in degrees."""

    step: float = 1.0  # length of a step, 1 is average
    swing: float = 1.0  # of the arms, 1 is average
    lean: float = 2.0
    elbow: float = 20.0
    spread: float = 8.0  # of the arms from the body
    toes_out: float = 6.0


@dataclass(frozen=True, eq=False)
class Joints:
    """The joints of a resting body."""

    at: dict[str, np.ndarray]  # (3,) dm by bone name

    def direction(self, start: str, end: str) -> np.ndarray:
        """Return the unit direction from one joint to another."""
        d = self.at[end] - self.at[start]
        return d / np.linalg.norm(d)


def draw_pose(rng: np.random.Generator) -> str:
    """Draw a name from `POSES`."""
    names = list(POSES)
    return names[int(rng.choice(len(names), p=np.array(list(POSES.values()))))]


def bone_rotations(
    joints: Joints, gait: Gait, name: str, rng: np.random.Generator, width: float, holding: dict[str, str]
) -> dict[str, np.ndarray]:
    """Return the `(3, 3)` rotation of each bone that a pose turns, in its parent's frame.

    Args:
        joints: of the resting body.
        gait: the person's own.
        name: a key of `POSES`.
        rng: draws the phase of the stride and small variations.
        width: degrees by which the arms stand out further, for wide people and coats.
        holding: "bag", "wheeled" or "umbrella" by the side, "L" or "R", of the hand that holds it.
    """
    phase = float(rng.random())
    step = gait.step if name in ("walk", "strap") or (name == "phone" and rng.random() < 0.5) else 0.0
    turn: Turns = {}
    shift = rng.choice([-1, 1]) * rng.uniform(0.3, 1.0)
    for side, sign, p in (("L", 1, phase), ("R", -1, (phase + 0.5) % 1)):
        stride = Stride(side, sign, p, step)
        _leg(turn, joints, stride, gait, shift)
        _arm(turn, joints, stride, gait, width + gait.spread, rng)
    sway = np.cos(2 * np.pi * phase) * step
    turn["root"] = rotation(1, np.radians(-5 * sway)) @ rotation(2, np.radians(0 if step else 2.5 * shift))
    turn["spine03"] = rotation(0, np.radians(gait.lean)) @ rotation(1, np.radians(6 * sway))
    turn["spine03"] = turn["spine03"] @ rotation(2, np.radians(0 if step else -3.0 * shift))
    turn["spine01"] = rotation(1, np.radians(4 * sway))
    look = rng.normal(0, 10)
    turn["neck02"] = rotation(1, np.radians(look - 2 * sway)) @ rotation(0, np.radians(rng.normal(2, 4)))
    turn["head"] = rotation(1, np.radians(look * 0.8)) @ rotation(2, np.radians(rng.normal(0, 3)))
    free = [side for side in "LR" if side not in holding]
    if name in HANDS and free:
        HANDS[name](turn, joints, free, rng)
    for side, thing in holding.items():
        _hold(turn, joints, side, thing, width)
    _fingers(turn, joints, holding)
    return turn


@dataclass(frozen=True)
class Stride:
    """The stride of one side of the body."""

    side: str  # "L" or "R"
    sign: int  # 1 on the left, -1 on the right
    phase: float  # 0..1, 0 is heel strike
    step: float  # length of the step; 0 is standing


def _leg(turn: Turns, joints: Joints, stride: Stride, gait: Gait, shift: float) -> None:
    side, sign, phase, step = stride.side, stride.sign, stride.phase, stride.step
    if step:
        hip, knee, sole = (float(np.interp(phase, PHASES, table)) for table in (HIP, KNEE, SOLE))
        hip, knee, sole, spread = step * hip + 2, 4 + step * (knee - 3), step * sole, 1.5
    else:
        bent = max(0.0, shift * sign)
        hip, knee, sole, spread = 2 + 9 * bent, 3 + 17 * bent, 0.0, 4.0 + 2 * bent
    thigh = _down(sign * spread, hip)
    shank = _down(sign * spread * 0.6, hip - knee)
    upper = aim(joints.direction(f"upperleg01.{side}", f"lowerleg01.{side}"), thigh)
    lower = aim(upper @ joints.direction(f"lowerleg01.{side}", f"foot.{side}"), shank) @ upper
    flat = rotation(1, np.radians(sign * (gait.toes_out - 4))) @ rotation(0, np.radians(-sole))
    turn[f"upperleg01.{side}"], turn[f"lowerleg01.{side}"], turn[f"foot.{side}"] = (
        upper,
        upper.T @ lower,
        lower.T @ flat,
    )


def _arm(turn: Turns, joints: Joints, stride: Stride, gait: Gait, out: float, rng: np.random.Generator) -> None:
    sign, step = stride.sign, stride.step
    swing = -step * gait.swing * 19 * np.cos(2 * np.pi * stride.phase) + rng.normal(0, 2) - 2
    flex = gait.elbow * (0.6 + 0.2 * step) + max(0.0, swing) * 0.9 + rng.normal(0, 3)
    _place_arm(turn, joints, stride.side, _down(sign * out, swing), _down(sign * (out * 0.35 - 2), swing + flex))


def _place_arm(turn: Turns, joints: Joints, side: str, upper_to: np.ndarray, lower_to: np.ndarray) -> None:
    sign = 1 if side == "L" else -1
    droop = rotation(2, np.radians(-sign * 4.0))
    upper = aim(droop @ joints.direction(f"upperarm01.{side}", f"lowerarm01.{side}"), upper_to) @ droop
    lower = aim(upper @ joints.direction(f"lowerarm01.{side}", f"wrist.{side}"), lower_to) @ upper
    turn[f"clavicle.{side}"] = droop
    turn[f"upperarm01.{side}"] = droop.T @ upper
    turn[f"lowerarm01.{side}"] = upper.T @ lower
    axis = joints.direction(f"lowerarm01.{side}", f"wrist.{side}")
    turn[f"lowerarm02.{side}"] = rotation_about(axis, np.radians(sign * 28))
    turn[f"wrist.{side}"] = rotation_about(axis, np.radians(sign * 14))


def _phone(turn: Turns, joints: Joints, free: list[str], rng: np.random.Generator) -> None:
    side = free[int(rng.integers(len(free)))]
    sign = 1 if side == "L" else -1
    if rng.random() < 0.6:  # looking at it
        _place_arm(turn, joints, side, _down(sign * 6, 22), _down(-sign * 22, 112))
        turn["neck02"] = turn["neck02"] @ rotation(0, np.radians(16))
        turn["head"] = rotation(0, np.radians(14))
    else:  # talking into it
        _place_arm(turn, joints, side, _down(sign * 34, 38), np.array([-sign * 0.34, 0.88, 0.10]))
        turn["head"] = rotation(2, np.radians(-sign * 8))


def _strap(turn: Turns, joints: Joints, free: list[str], rng: np.random.Generator) -> None:
    side = free[int(rng.integers(len(free)))]
    sign = 1 if side == "L" else -1
    _place_arm(turn, joints, side, _down(sign * 14, 4), np.array([-sign * 0.42, 0.72, 0.55]))


def _pockets(turn: Turns, joints: Joints, free: list[str], rng: np.random.Generator) -> None:
    for side in free:
        sign = 1 if side == "L" else -1
        _place_arm(turn, joints, side, _down(sign * 22, -16), _down(-sign * 10, 16))


HANDS: dict[str, Callable] = {"phone": _phone, "strap": _strap, "pockets": _pockets}


def _hold(turn: Turns, joints: Joints, side: str, thing: str, width: float) -> None:
    sign = 1 if side == "L" else -1
    if thing == "umbrella":
        _place_arm(turn, joints, side, _down(sign * 10, 12), np.array([-sign * 0.15, 0.62, 0.62]))
    elif thing == "wheeled":
        _place_arm(turn, joints, side, _down(sign * (12 + width), -14), _down(sign * (8 + width), -16))
    else:
        _place_arm(turn, joints, side, _down(sign * (11 + width), 1), _down(sign * (6 + width), 6))


def _fingers(turn: Turns, joints: Joints, holding: dict[str, str]) -> None:
    for side in "LR":
        sign = 1 if side == "L" else -1
        across = joints.at[f"finger5-1.{side}"] - joints.at[f"finger2-1.{side}"]
        grip = 2.2 if side in holding else 1.0
        for finger in range(2, 6):
            for joint, curl in ((1, 22), (2, 30), (3, 20)):
                angle = np.radians(sign * curl * grip * (0.8 + 0.1 * finger))
                turn[f"finger{finger}-{joint}.{side}"] = rotation_about(across, angle)


def _down(out: float, ahead: float) -> np.ndarray:
    """Return the direction of a limb hanging `out` degrees to the side and `ahead` degrees to the front."""
    a, b = np.radians(out), np.radians(ahead)
    return np.array([np.sin(a), -np.cos(a) * np.cos(b), np.cos(a) * np.sin(b)])


def aim(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the smallest rotation from one direction to another; `start` has length 1."""
    end = end / np.linalg.norm(end)
    axis = np.cross(start, end)
    return rotation_about(axis, float(np.arctan2(np.linalg.norm(axis), start @ end)))
