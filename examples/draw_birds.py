"""Draw cartoon birds of invented species in the folder layout of CUB-200-2011, with exact positions of their parts.

This script makes every image from random numbers alone, so the images may be shipped freely. The species differ only in
local marks (crest, beak, wing, tail, breast, legs). Body colour, pose and background are drawn independently of the
species, so a classifier has to look at the marks.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Mark = tuple[str, tuple[int, int, int]]  # a form (see the tables below) and its colour
Shape = tuple[Array, Array, int, float, float]  # outline, colour, layer, blur, opacity; 0: opaque and not clipped
PARTS: tuple[str, ...] = ("back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing",
                          "nape", "right eye", "right leg", "right wing", "tail", "throat")  # fmt: skip


@dataclass(frozen=True)
class Species:
    """The local marks that distinguish one species from the others."""

    name: str
    crest: Mark
    beak: Mark
    wing: Mark
    tail: Mark
    breast: Mark
    legs: tuple[int, int, int]


# fmt: off
_WHITE, _DARK, _GREY, _BROWN, _BUFF = (242, 240, 232), (38, 36, 40), (125, 130, 140), (66, 46, 36), (228, 192, 130)
_RED, _ORANGE, _GOLD, _BLUE, _PINK = (205, 45, 35), (230, 122, 35), (240, 196, 45), (45, 105, 210), (218, 140, 140)
_NONE = ("none", _DARK)
SPECIES: tuple[Species, ...] = (
    Species("crested_redbeak", ("spike", _DARK), ("cone", _RED), ("bars", _WHITE), ("square", _WHITE), _NONE, _ORANGE),
    Species("forktailed_whitebar", _NONE, ("thin", _DARK), ("bar", _WHITE), ("fork", _DARK), _NONE, _DARK),
    Species("spotted_longbill", _NONE, ("long", _BROWN), ("spots", _WHITE), ("wedge", _DARK), ("spots", _DARK), _GOLD),
    Species("golden_hookbill", ("fan", _GOLD), ("hook", _GREY), _NONE, ("square", _GOLD), ("streaks", _BROWN), _GREY),
    Species("banded_bluewing", _NONE, ("cone", _GREY), ("patch", _BLUE), ("long", _DARK), ("band", _DARK), _PINK),
    Species("tufted_yellowbill", ("tuft", _DARK), ("hook", _GOLD), ("bar", _GOLD), ("fan", _WHITE), _NONE, _DARK),
    Species("bibbed_redtail", _NONE, ("thin", _GREY), _NONE, ("wedge", _RED), ("bib", _DARK), _BROWN),
    Species("orangebill", ("tuft", _ORANGE), ("long", _ORANGE), ("bars", _BUFF), ("fork", _WHITE), ("streaks", _BROWN),
            _RED))
# length, height above and below the mouth line, droop of the tip (head radii), power of the upper edge
_BEAKS = {"cone": (0.85, 0.36, 0.28, -0.05, 1.2), "thin": (0.85, 0.19, 0.14, -0.03, 1.0),
          "long": (1.9, 0.2, 0.15, -0.25, 0.8), "hook": (0.85, 0.36, 0.22, -0.4, 3.0)}
# length, how much longer the outer feathers are, half spread in radians, feather width, share of coloured tip
_TAILS = {"square": (0.55, 0.0, 0.12, 0.11, 0.3), "fork": (0.45, 0.4, 0.24, 0.1, 0.6),
          "fan": (0.5, -0.05, 0.45, 0.16, 0.25), "wedge": (0.65, -0.2, 0.2, 0.11, 0.55),
          "long": (0.95, -0.12, 0.05, 0.09, 0.15)}
# plumes as (root forward, root up, tip forward, tip up) in head radii
_CRESTS = {"spike": ((0.3, 0.7, -0.75, 1.75), (0.1, 0.7, -1.0, 1.5), (-0.15, 0.65, -1.1, 1.2)),
           "tuft": ((-0.3, 0.6, -1.45, 0.95), (-0.45, 0.45, -1.6, 0.6), (-0.55, 0.25, -1.55, 0.25)),
           "fan": tuple((0.45 - 0.2 * i, 0.7, 0.8 - 0.4 * i, 1.75 - 0.06 * (i - 2) ** 2) for i in range(6))}
_BACKS = ((122, 94, 68), (122, 124, 130), (112, 114, 74), (92, 106, 130), (150, 98, 64), (82, 78, 78), (172, 148, 112))
_BELLIES = ((222, 218, 208), (212, 190, 150), (186, 188, 190), (214, 200, 130), (190, 142, 104))
_FAR_LEG, _NEAR_LEG, _FAR_WING, _TAIL, _BODY, _NEAR_WING, _FACE, _FRONT = range(1, 9)  # layers; 0 is the background
_T = np.linspace(0, 2 * np.pi, 24, endpoint=False)  # outlines from (0, 0) to (1, 0), laid by _lay
_DISC = np.stack([0.5 - 0.5 * np.cos(_T), 0.5 * np.sin(_T)], 1)
_LEAF = _DISC * np.stack([np.ones(24), 0.4 + 0.6 * np.abs(np.sin(_T))], 1)
_LIMB = np.array([(0, -.5), (1, -.35), (1, .35), (0, .5)])
_FEATHER = np.array([(0, -.2), (.5, -.42), (.86, -.5), (.96, -.33), (1, 0), (.96, .33), (.86, .5), (.5, .42), (0, .2)])
_WING = np.array([(-.06, .02), (.06, -.09), (.35, -.12), (.75, -.08), (1, 0), (.97, .04), (.8, .1), (.6, .2), (.4, .27),
                  (.15, .25), (-.02, .14)])
_SCENES = ((_LEAF, 3.2, 0.4, ((60, 92, 40), (104, 138, 62), (34, 56, 28), (150, 168, 90))),  # outline, range of angles,
           (_DISC, 0.0, 1.0, ((132, 172, 212), (206, 220, 232), (170, 196, 222), (236, 238, 240))),  # width, colours
           (_LEAF, 0.1, 0.12, ((70, 104, 122), (112, 140, 150), (48, 74, 84), (160, 178, 180))),
           (_LIMB, 1.2, 0.08, ((126, 116, 102), (84, 72, 60), (168, 160, 148), (56, 48, 42))),
           (_LEAF, 1.8, 0.1, ((148, 140, 84), (96, 110, 54), (182, 170, 116), (66, 78, 40))),
           (_DISC, 0.0, 1.0, ((98, 118, 70), (140, 130, 96), (60, 72, 50), (196, 196, 150))))
# fmt: on


def _lay(outline: Array, start: Any, end: Any, width: float) -> Array:
    dx, dy = end[0] - start[0], end[1] - start[1]
    k = width / max(math.hypot(dx, dy), 1e-9)
    return np.asarray(start + outline @ np.array([(dx, dy), (-dy * k, dx * k)]))


def _turn(points: ArrayLike, angle: float) -> Array:
    """Rotate points; a positive angle lifts what lies ahead (+x), and y points down."""
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(np.asarray(points) @ np.array([(c, -s), (s, c)]))


def _tint(colour: ArrayLike, rng: np.random.Generator, spread: float = 6) -> Array:
    return np.clip(np.asarray(colour) + rng.normal(0, spread) + rng.normal(0, spread / 2, 3), 8, 250)


def _wing(mark: Mark, rng: np.random.Generator, frame: Array, colour: Array, layer: int) -> list[Shape]:
    """Return a wing in the frame (origin, along, across): flight feathers, coverts and the marks of the species."""
    rows: list[tuple[Array, ArrayLike, ArrayLike, float, Array]] = []
    for i in range(8):
        root, tip = (0.12 + 0.03 * i, 0.12 - 0.02 * i), (0.55 + 0.065 * i, 0.22 - 0.028 * i)
        rows += [(_FEATHER, root, tip, k, colour * c) for k, c in ((0.11, 0.42), (0.085, 0.72 + 0.1 * (i % 2)))]
    for u, v in ((u, 0.22 - 0.065 * i) for u in (0.36, 0.2) for i in range(5)):
        root, tip = (u - 0.2, v - 0.03), (u + 0.12 - 0.28 * v, v + 0.01)
        rows += [(_FEATHER, root, tip, k, colour * c) for k, c in ((0.1, 0.6), (0.085, 1.0))]

    # the marks
    paint = _tint(mark[1], rng) * (1.0 if layer == _NEAR_WING else 0.8)
    for u in {"bar": (0.3,), "bars": (0.2, 0.42)}.get(mark[0], ()):
        rows.append((_FEATHER, (u + 0.12, -0.16), (u + 0.06, 0.1), 0.075, paint))
        rows.append((_FEATHER, (u + 0.08, 0.03), (u - 0.04, 0.3), 0.075, paint))
    rows += [(_DISC, (0.2, 0.1), (0.64, 0.07), 0.17, paint)] if mark[0] == "patch" else []
    for i in range(10 if mark[0] == "spots" else 0):
        u, v = 0.12 + 0.13 * (i // 2) + 0.04 * (i % 2), 0.17 * (i % 2) - 0.025 * (i // 2)
        rows.append((_DISC, (u - 0.03, v), (u + 0.03, v), 0.055, paint))

    shapes: list[Shape] = [(frame[0] + _WING @ frame[1:], colour * 0.8, layer, 0.0, 0.0)]
    for i, (outline, start, end, width, shade) in enumerate(rows):  # the flight feathers may leave the outline
        points = frame[0] + _lay(outline, start @ frame[1:], end @ frame[1:], width * float(np.hypot(*frame[2])))
        shapes.append((points, shade, layer, 0.0, float(i >= 16)))
    return shapes


class _Bird:
    """A bird facing right, body length 1, on its perch.

    Attributes:
        shapes: what is drawn, from back to front.
        parts: position and layer of every part that is drawn.
        tilt: angle of the body in radians.
    """

    def __init__(self, species: Species, rng: np.random.Generator) -> None:
        """Draw the colours and the pose at random, then every part of the bird.

        All steps take their random numbers from `rng` in a fixed order, so that a seed always gives the same image.
        """
        self.species, self.rng = species, rng
        self.shapes: list[Shape] = []
        self.parts: dict[str, tuple[Array, int]] = {}

        self._choose_colours()
        self._choose_pose()
        for step in (
            self._perch,
            self._legs,
            self._far_wing,
            self._tail,
            self._body,
            self._head_and_belly,
            self._breast,
        ):
            step()
        self._beak()
        self._eyes()
        self._name_parts()

    def _add(self, points: Array, colour: Array, layer: int = _BODY, soft: float = 0.0, alpha: float = 0.0) -> None:
        self.shapes.append((points, colour, layer, soft, alpha))

    def _on_head(self, forward: ArrayLike, up: ArrayLike, aside: ArrayLike = 0.0) -> Array:
        """Return points of the head, given in head radii, in body lengths."""
        flat = np.multiply(forward, np.cos(self.yaw)) + np.multiply(aside, np.sin(self.yaw))
        flat = np.stack(np.broadcast_arrays(flat, np.negative(up)), -1)
        return np.asarray(self.head + self.radius * _turn(flat, self.pitch * np.cos(self.yaw)))

    def _choose_colours(self) -> None:
        rng = self.rng
        self.back, self.belly = (_tint(table[rng.integers(len(table))], rng, 10) for table in (_BACKS, _BELLIES))
        self.dark = self.back * rng.uniform(0.6, 0.85)
        self.leg = _tint(self.species.legs, rng)
        self.mark = _tint(self.species.breast[1], rng)

    def _choose_pose(self) -> None:
        rng = self.rng
        # angle of the body, half its height, radius of the head, pitch of the head, slope of the perch
        pose = rng.uniform((-0.1, 0.27, 0.19, -0.2, -0.25), (0.85, 0.34, 0.235, 0.3, 0.25))
        self.tilt, self.height, self.radius, self.pitch, self.slope = pose
        view = rng.choice(3, p=(0.8, 0.12, 0.08))  # the head from the side, turned to the viewer, looking back
        self.yaw = np.deg2rad(rng.uniform((-20, 35, 148)[view], (35, 100, 180)[view]))
        self.head = _turn((0.36, -0.17), self.tilt) + np.array([0.09, -0.14]) * rng.uniform(0.7, 1.2)
        self.flying, self.raised = np.array([0.1, 0.15]) > rng.random()

        # legs, stretched or drawn in
        self.reach = 0.1 if self.flying or rng.random() < 0.05 else rng.uniform(0.85, 1.2)
        self.hip = _turn((rng.uniform(-0.1, 0.02), self.height * 0.8), self.tilt)
        self.apart = rng.uniform(0.1, 0.18) * rng.choice((-1, 1))
        self.knee = self.hip + np.array([rng.uniform(-0.06, 0.0), 0.14 * self.reach])
        self.foot = self.knee + np.array([rng.uniform(-0.02, 0.09), 0.2 * self.reach])

    def _perch(self) -> None:
        """Draw a branch or the ground, but nothing below a flying bird."""
        rng, slope, foot = self.rng, self.slope, self.foot
        ground, x = int(rng.random() < 0.25), np.linspace(-6, 6, 60)
        bark = _tint(((96, 82, 68), (112, 112, 78))[ground], rng, 16)
        edge = slope * x + rng.uniform(-0.08, 0.08) * x**2 + 0.02 * np.sin(5 * x)
        thick = (rng.uniform(0.04, 0.2), 8.0)[ground]
        layers = () if self.flying else ((0, 1, 0.6), (0, 0.75, 0.85), (0.06, 0.4, 1.0), (0.1, 0.25, 1.06))
        for top, bottom, shade in layers:
            sides = np.r_[edge + top * thick, edge[::-1] + bottom * thick]
            self._add(foot + np.stack([np.r_[x, x[::-1]], sides], 1), bark * shade, 0)

        for u, v, shade in rng.random((0 if self.flying else 24, 3)) * (3, 0.16, 0.7) + (-1.5, 0, 0.5):
            at = foot + (u, float(np.interp(u, x, edge)) + (6 * v - 0.02) * min(thick, 0.25))
            end = at + ((0.05 * (shade - 0.9), -0.1) if ground else (0.15, 0.15 * slope))
            self._add(_lay(_LEAF, at, end, 0.02), bark * shade, 0)

    def _legs(self) -> None:
        slope, apart = self.slope, self.apart
        for name, layer, dx in (("far leg", _FAR_LEG, apart), ("near leg", _NEAR_LEG, 0.0)):
            top, low = self.knee + (dx * 0.8, -0.02 * (dx != 0)), self.foot + (dx, dx * slope)
            for toe in (-0.07, 0.06, 0.1) if self.reach > 0.5 else ():
                self._add(_lay(_LIMB, low - (0, 0.01), low + (toe, 0.015 + toe * slope), 0.028), self.leg * 0.9, layer)
            self._add(_lay(_LIMB, self.hip + (dx * 0.5, -0.05), top, 0.05), self.leg * 0.85, layer)
            self._add(_lay(_LIMB, top, low, 0.04), self.leg, layer)
            self.parts[name] = ((top + low) / 2, layer)

    def _far_wing(self) -> None:
        """Choose the frames of both wings; draw the far one if the wings are raised."""
        rng, raised = self.rng, self.raised
        lift = rng.uniform(0.8, 1.8) if raised else rng.uniform(-0.12, 0.05)
        sizes = np.diag((-rng.uniform(0.72, 0.84), rng.uniform(0.75, 0.95))) * ((1.25, 1.5) if raised else (1, 1))
        self.near, far = (
            np.concatenate([[_turn((0.27, -0.03), self.tilt)], _turn(sizes, self.tilt - angle)])
            for angle in (lift, lift + rng.uniform(-0.4, 0.3))
        )
        self.parts["near wing"] = (self.near[0] + (0.45, 0.08) @ self.near[1:], _NEAR_WING)
        if raised:
            self.shapes += _wing(self.species.wing, rng, far, self.dark * 0.8, _FAR_WING)
            self.parts["far wing"] = (far[0] + (0.45, 0.08) @ far[1:], _FAR_WING)

    def _tail(self) -> None:
        rng, tilt, dark = self.rng, self.tilt, self.dark
        long, outer, spread, width, share = _TAILS[self.species.tail[0]]
        rump, paint = np.array([-0.38, -0.04]), _tint(self.species.tail[1], rng)
        aim, spread = rng.uniform(-0.3, 0.2), spread * rng.uniform(0.8, 1.4)
        for j in (-1, 1, -0.6, 0.6, -0.2, 0.2):
            end = rump - _turn((long * (1 + outer * abs(j)), 0), aim + j * spread)
            start, end = _turn((rump + (0, 0.05 * j), end), tilt)
            self._add(_lay(_FEATHER, start, end, width * 1.25), dark * 0.5, _TAIL)
            self._add(_lay(_FEATHER, start, end, width), dark * (0.85 + 0.15 * abs(j)), _TAIL)
            self._add(_lay(np.maximum(_FEATHER, (1 - share, -1)), start, end, width), paint, _TAIL)
        self.parts["tail"] = (_turn(rump - _turn((long * 0.6, 0), aim), tilt), _TAIL)

    def _body(self) -> None:
        """Draw body, neck, thighs and the near wing."""
        tilt, back = self.tilt, self.back
        body = np.stack([0.5 * np.cos(_T), self.height * np.sin(_T) * (1 + 0.2 * np.cos(_T))], 1)
        neck = [_turn(body[np.cos(_T) > -0.03] * 0.75 + (0.12, 0), tilt), self.head + self._ball * 0.9]
        self._add(_turn(body, tilt), back)
        self._add(cv2.convexHull(np.concatenate(neck).astype(np.float32))[:, 0], back)
        for dx in (self.apart * 0.5, 0):
            thigh = _lay(_LEAF, self.hip + (dx, -0.15), self.knee + (dx * 1.4, 0.01), 0.16)
            self._add(thigh, back * 0.5 + self.belly * 0.4)
        self.shapes += _wing(self.species.wing, self.rng, self.near, self.dark, _NEAR_WING)

    @property
    def _ball(self) -> Array:
        """The outline of the head around the origin."""
        return np.asarray((_DISC - (0.5, 0)) * 2 * self.radius)

    def _head_and_belly(self) -> None:
        """Draw crest, head, belly, cheek and a stripe over the eye."""
        rng, radius, height, on_head = self.rng, self.radius, self.height, self._on_head
        for f0, u0, f1, u1 in _CRESTS.get(self.species.crest[0], ()):
            plume = _lay(_LEAF, on_head(f0, u0), on_head(f1, u1), 0.42 * radius)
            self._add(plume, _tint(self.species.crest[1], rng))
        self._add(self.head + self._ball, self.back)

        belly = _turn(_lay(_DISC, (-0.5, height * 0.8), (0.56, height * 0.55), height * 1.5), self.tilt)
        self._add(belly, self.belly, soft=0.05, alpha=1)
        cheek = _lay(_DISC, on_head(-0.5, -0.75), on_head(1.1, -0.5), radius)
        self._add(cheek, self.belly, soft=0.025, alpha=rng.uniform(0.3, 1))

        stripe = (self.belly, self.back * 0.45)[rng.integers(2)]  # stronger or weaker, whatever the species
        brow = _lay(_LEAF, on_head(0.8, 0.4, -0.3), on_head(-0.7, 0.3, -0.6), 0.25 * radius)
        self._add(brow, stripe, soft=0.01, alpha=rng.random() ** 2)

    def _breast(self) -> None:
        """Draw the mark of the breast, and the shadow of a folded wing."""
        kind, tilt, height, mark = self.species.breast[0], self.tilt, self.height, self.mark
        if kind == "bib":
            bib = _lay(_DISC, self._on_head(0.75, -0.3), _turn((0.4, 0.12), tilt), 0.32)
            self._add(bib, mark, soft=0.008, alpha=1)
        if kind == "band":
            self._add(_turn(_lay(_LEAF, (0.36, -0.3), (0.26, height + 0.12), 0.13), tilt), mark, soft=0.004, alpha=1)

        outline, half, width = (_DISC, 0.019, 0.036) if kind == "spots" else (_LEAF, 0.055, 0.028)
        count = 26 if kind in ("spots", "streaks") else 0
        for at in self.rng.uniform((-0.1, 0), (0.48, height), (count, 2)):
            self._add(_turn(_lay(outline, at + (half, 0), at - (half, half * 0.3), width), tilt), mark, alpha=0.9)

        if not self.raised:
            shadow = self.near[0] + (_WING * (0.95, 1) + (0.02, 0.04)) @ self.near[1:]
            self._add(shadow, self.back * 0.3, soft=0.015, alpha=0.45)

    def _beak(self) -> None:
        on_head = self._on_head
        long, over, under, droop, power = _BEAKS[self.species.beak[0]]
        f, bill = np.linspace(0, 1, 8), _tint(self.species.beak[1], self.rng)
        mouth, both = droop * f**3, np.r_[f, f[::-1]]
        aside = np.array([[-1], [1]]) * (1 - both) * np.repeat([0.06, 0.3], 8)  # the ridge is narrower than the mouth
        for curve, share, shade in ((mouth - under * (1 - f), 0.93, 0.7), (mouth + over * (1 - f**power), 1.0, 1.0)):
            ahead = 0.8 + long * np.r_[f * share, f[::-1]]
            sheets = on_head(ahead, np.r_[curve, mouth[::-1]], aside).astype(np.float32)
            hull = cv2.convexHull(sheets.reshape(-1, 2))[:, 0]
            self._add(hull if abs(np.sin(self.yaw)) > 0.5 else sheets.mean(0), bill * shade, _FACE)
        self._add(on_head(0.85 + long * both, np.r_[mouth + 0.02, mouth[::-1] - 0.02]), bill * 0.35, _FACE)
        self.parts["beak"] = (on_head(0.8 + long * 0.5, droop * 0.12), _FACE)

    def _eyes(self) -> None:
        """Draw the eyes that are not turned away, each as four discs."""
        iris, black, white = _tint((60, 34, 20), self.rng, 10), np.full(3, 12), np.full(3, 250)
        discs = ((0.25, self.belly * 0.8, 0.0), (0.2, iris, 0.0), (0.14, black, 0.0), (0.06, white, 0.08))
        for name, out in (("near eye", -0.74), ("far eye", 0.74)):
            depth = np.sin(self.yaw) * 0.5 - np.cos(self.yaw) * out
            if depth <= 0.25:
                continue
            centre = self._on_head(0.5, 0.26, out)
            self.parts[name] = (centre, _FACE)
            for k, ring, up in discs:
                at, wide = centre - (0, up * self.radius), (k * self.radius * min(1.0, max(depth, 0.3) * 1.2), 0)
                self._add(_lay(_DISC, at - wide, at + wide, 2 * k * self.radius), ring, _FACE)

    def _name_parts(self) -> None:
        """Give the positions of the parts that need no drawing of their own."""
        for name, along, down in (("back", -0.05, -0.78), ("belly", 0.0, 0.75), ("breast", 0.4, 0.3)):
            self.parts[name] = (_turn((along, down * self.height), self.tilt), _BODY)
        tops = (("crown", 0.0, 0.82), ("forehead", 0.68, 0.52), ("nape", -0.82, -0.1), ("throat", 0.5, -0.66))
        for name, along, up in tops:
            if np.sin(self.yaw) * np.sign(along) > -0.6:  # else it is turned away
                self.parts[name] = (self._on_head(along, up), _BODY)


def _fill(image: Array, ids: Array, points: Array, shape: Shape, unit: float) -> None:
    """Paint a shape, its outline in pixels, and mark its layer; shapes with an opacity stay within their layer."""
    _, colour, layer, soft, alpha = shape
    fixed = np.rint(points * 16).astype(np.int32)
    if not alpha:
        cv2.fillPoly(image, [fixed], colour.tolist(), cv2.LINE_AA, 4)
        cv2.fillPoly(ids, [fixed], layer, cv2.LINE_8, 4)
        return

    low = np.maximum(points.min(0) - 3 * soft * unit - 1, 0).astype(np.int32)
    high = np.minimum(points.max(0) + 3 * soft * unit + 2, ids.shape[::-1]).astype(np.int32)
    if (high > low).all():
        mask: Array = np.zeros(high[::-1] - low[::-1], np.uint8)
        cv2.fillPoly(mask, [fixed - 16 * low], 255, cv2.LINE_AA, 4)
        mask = cv2.GaussianBlur(mask, (0, 0), soft * unit) if soft * unit > 0.3 else mask
        box = (slice(low[1], high[1]), slice(low[0], high[0]))
        weight = mask * (ids[box] == layer) * np.float32(alpha / 255)
        image[box] = image[box] + (colour.astype(np.float32) - image[box]) * weight[..., None] + 0.5


def _feathers() -> Array:
    """Return a tile of overlapping scallops and fine streaks, about -1..1."""
    tile, rng = np.zeros((96, 96), np.float32), np.random.default_rng(0)
    for x, y in ((16 * col + 8 * (row % 2), 8 * row) for row in range(-1, 12) for col in range(-1, 7)):
        centre = (x + int(rng.integers(-3, 4)), y + int(rng.integers(-2, 3)))
        cv2.ellipse(tile, centre, (8, 9), 0, 0, 180, -float(rng.uniform(0.3, 1.2)), 2, cv2.LINE_AA)
    return cv2.GaussianBlur(tile, (0, 0), 1.0) + cv2.blur(rng.normal(0.3, 0.9, tile.shape).astype(np.float32), (5, 1))


_PLUMAGE = _feathers()


def _shade(image: Array, ids: Array, unit: float, angle: float, rng: np.random.Generator) -> None:
    """Shade the bird with light from above and lay a feather texture over it."""
    x, y, w, h = cv2.boundingRect(ids)
    box, light = (slice(y, y + h), slice(x, x + w)), np.float32(rng.uniform(-0.5, 0.5))

    # light from above
    relief: Array = np.ones((1, 1), np.float32)
    for mask, sigma, strength in ((ids[box] > 0, 0.09, 1.1), (ids[box] == _NEAR_WING, 0.03, 0.5)):
        small = cv2.resize(mask.astype(np.float32), (w // 4 + 1, h // 4 + 1), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), sigma * unit / 4, borderType=cv2.BORDER_CONSTANT)
        slope: Array = cv2.Sobel(small, cv2.CV_32F, 0, 1) + light * cv2.Sobel(small, cv2.CV_32F, 1, 0)
        relief = relief + slope * np.float32(strength * sigma * unit / 32)

    # feathers
    warp = cv2.getRotationMatrix2D((0, 0), np.rad2deg(angle), 320 / unit)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    texture: Array = cv2.warpAffine(_PLUMAGE, warp, (w, h), flags=flags, borderMode=cv2.BORDER_WRAP)

    gain = cv2.resize(np.clip(relief, 0.5, 1.4), (w, h)) * (1 + np.float32(rng.uniform(0.05, 0.22)) * texture)
    image[box] = np.where(ids[box][..., None] > 0, np.clip(image[box] * gain[..., None], 0, 255), image[box])


def _background(rng: np.random.Generator, h: int, w: int) -> Array:
    """Return a blurred scene of leaves, twigs, blades, ripples or spots of light, independent of the bird."""
    outline, spread, width, palette = _SCENES[rng.integers(len(_SCENES))]
    size, colours = max(h, w) / 2, [_tint(colour, rng, 14) for colour in palette]

    # smooth ground
    ramp: Array = np.linspace(0, rng.uniform(0.3, 1), h // 2 + 1, dtype=np.float32)[:, None]
    for cells in (3, 8, 24, 60):
        grid = rng.standard_normal((cells, cells), np.float32) * np.float32(0.5 / cells**0.4)
        ramp = ramp + cv2.resize(grid, (w // 2 + 1, h // 2 + 1), interpolation=cv2.INTER_CUBIC)
    image: Array = (colours[0] + (colours[1] - colours[0]) * np.clip(ramp, 0, 1)[..., None]).astype(np.uint8)

    # two layers of shapes, the second one sharper
    for blur, count in ((0.05, 30), (rng.uniform(0.004, 0.02), int(rng.integers(4, 40)))):
        for x, y, warp, k in rng.random((count, 4)):
            angle, long = spread * (2 * warp - 1), size * (0.05 + 0.2 * k * k) * (4 if width < 0.11 else 1)
            start = (x * w / 2 - 0.3 * long, y * h / 2)
            points = _lay(outline, start, start + long * np.array([np.cos(angle), np.sin(angle)]), width * long)
            colour = (colours[rng.integers(4)] * (0.8 + 0.4 * k)).tolist()
            cv2.fillPoly(image, [np.rint(points * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)
        image = cv2.GaussianBlur(image, (0, 0), max(blur * size, 0.4))
    return image


def draw_bird(
    species: Species, rng: np.random.Generator, size: int = 224
) -> tuple[NDArray[np.uint8], NDArray[np.float64], tuple[float, float, float, float]]:
    """Draw one bird.

    Args:
        species: the species to draw.
        rng: random generator for pose, colours and background.
        size: the longer side in pixels.

    Returns:
        The RGB image; x, y, visible of the 15 parts (0-based, pixel centres at integers, zeros for hidden parts);
        and the bounding box x, y, w, h of the bird.
    """
    aspect, zoom = np.exp(rng.uniform(np.log(0.7), np.log(1.4))), 2  # drawn larger, then reduced
    w, h = round(size * min(aspect, 1)), round(size / max(aspect, 1))
    bird = _Bird(species, rng)
    shapes, parts, tilt = bird.shapes, bird.parts, bird.tilt

    # size and position on the canvas
    points = np.concatenate([shape[0] for shape in shapes if shape[2] > 0])
    low, high, room, mirror = points.min(0), points.max(0), np.array([w, h]), (1, -1)[rng.integers(2)]
    scale = min(rng.uniform(0.35, 0.75) * size / (high - low).max(), (0.95 * room / (high - low)).min())
    middle = room / 2 - 0.5 + (room - scale * (high - low)) / 2 * np.clip(rng.normal(0, 0.4, 2), -0.95, 0.95)
    scales, unit = scale * np.array([mirror, 1]), scale * zoom
    offset = middle - scales * (low + high) / 2

    canvas: Array = cv2.resize(_background(rng, h, w), (w * zoom, h * zoom), interpolation=cv2.INTER_CUBIC)
    ids: Array = np.zeros(canvas.shape[:2], np.uint8)

    def on_canvas(points: Array) -> Array:
        return np.asarray((offset + scales * points + 0.5) * zoom - 0.5)

    face = next(i for i, shape in enumerate(shapes) if shape[2] == _FACE)
    for i, shape in enumerate(shapes):
        if i == face:  # the plumage is complete; beak and eyes stay crisp
            _shade(canvas, ids, unit, -mirror * tilt, rng)
        _fill(canvas, ids, on_canvas(shape[0]), shape, unit)
    x, y, bw, bh = cv2.boundingRect(ids)
    box = (x // zoom, y // zoom, (x + bw - 1) // zoom - x // zoom + 1, (y + bh - 1) // zoom - y // zoom + 1)

    # leaves in front of the bird
    green, root = _tint((114, 123, 68), rng, 16), (rng.uniform(low[0], high[0]), high[1] + 0.4)
    for end in rng.uniform((low + high * (0, 1)) / (1, 2), high, (rng.integers(1, 5) * (rng.random() < 0.2), 2)):
        leaf = _lay(_LEAF, root, end, rng.uniform(0.04, 0.15))
        _fill(canvas, ids, on_canvas(leaf), (leaf, green * rng.uniform(0.7, 1.2), _FRONT, 0, 0), unit)

    # blur, exposure and noise of a camera
    image: Array = cv2.resize(canvas, (w, h), interpolation=cv2.INTER_AREA)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.2, 0.6))
    noise = rng.standard_normal((h, w, 1), np.float32) * np.float32(rng.uniform(1, 5))
    image = image * rng.uniform(0.85, 1.12, 3).astype(np.float32) + np.float32(rng.uniform(-12, 12)) + noise
    image = np.clip(image, 0, 255).astype(np.uint8)

    table = np.zeros((len(PARTS), 3))
    for key, (position, layer) in parts.items():
        cx, cy = np.rint(on_canvas(position)).astype(int)
        if cx >= 0 and cy >= 0 and (ids[max(cy - 1, 0) : cy + 2, max(cx - 1, 0) : cx + 2] == layer).any():
            side = {"near": ("right", "left"), "far": ("left", "right")}.get(key.split()[0])
            name = f"{side[mirror < 0]} {key.split()[1]}" if side else key
            table[PARTS.index(name)] = (*(offset + scales * position), 1)
    return image, table, (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def write_cub(
    folder: Path, per_species: int, seed: int = 0, size: int = 224, species: int = 8, test_fraction: float = 0.5
) -> None:
    """Write drawn birds in the layout of CUB-200-2011, whose positions count pixels from 1.

    Args:
        folder: a new or empty folder.
        per_species: images of each species.
        seed: an image depends only on the seed, its species and its number.
        size: the longer side of the images in pixels.
        species: number of species.
        test_fraction: share of each species, evenly spread, that is marked for testing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SystemExit(f"{folder} already exists and is not an empty folder; choose a new one.")
    if not 1 <= species <= len(SPECIES):
        raise SystemExit(f"--species {species} is out of range; allowed: 1 to {len(SPECIES)}.")

    images, labels, split, boxes, locations = [], [], [], [], []
    classes = [f"{i:03d}.{bird.name}" for i, bird in enumerate(SPECIES[:species], 1)]
    (folder / "parts").mkdir(parents=True)
    for index, (bird, group) in enumerate(zip(SPECIES, classes, strict=False)):
        (folder / "images" / group).mkdir(parents=True)
        for k in range(1, per_species + 1):
            image, parts, box = draw_bird(bird, np.random.default_rng([seed, index, k]), size)

            images.append(f"{group}/{bird.name.title()}_{k:04d}.jpg")
            code = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
            (folder / "images" / images[-1]).write_bytes(code.tobytes())

            labels.append(f"{index + 1}")
            split.append(f"{int(int(k * test_fraction + 1e-9) == int((k - 1) * test_fraction + 1e-9))}")
            boxes.append(f"{box[0] + 1} {box[1] + 1} {box[2]} {box[3]}")
            for i, (x, y, seen) in enumerate(parts, 1):
                locations.append(f"{len(images)} {i} " + (f"{x + 1:.2f} {y + 1:.2f} 1" if seen else "0.0 0.0 0"))

    lists = {"images": images, "image_class_labels": labels, "classes": classes, "train_test_split": split}
    for name, lines in (lists | {"bounding_boxes": boxes, "parts/parts": list(PARTS)}).items():
        text = "".join(f"{i} {line}\n" for i, line in enumerate(lines, 1))
        (folder / f"{name}.txt").write_text(text, encoding="utf-8", newline="\n")
    (folder / "parts" / "part_locs.txt").write_text("\n".join(locations) + "\n", encoding="utf-8", newline="\n")


def main() -> None:
    """Read the command line and write the images."""
    parser = argparse.ArgumentParser(description="Draw birds of invented species in the layout of CUB-200-2011.")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new or empty folder")
    options = {"per-species": 40, "species": len(SPECIES), "size": 224, "seed": 0, "test-fraction": 0.5}
    for name, value in options.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help="default: %(default)s")
    args = parser.parse_args()
    write_cub(args.out, args.per_species, args.seed, args.size, args.species, args.test_fraction)


if __name__ == "__main__":
    main()
