"""What a scene is, and how one is drawn from (seed, index): camera, light, room and 2 to 6 solids on the floor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

SHAPES = ("sphere", "cube", "cylinder", "cone", "torus", "capsule")
CLASSES = ("floor", "wall", *SHAPES)
# sRGB 0..255. Colours for drawing label maps, one per class.
PALETTE = (
    (128, 100, 72), (190, 190, 200), (220, 60, 60), (60, 130, 220), (70, 180, 90), (240, 180, 50), (160, 80, 200),
    (60, 200, 200),
)  # fmt: skip
COLOURS = {
    "red": (200, 45, 40), "orange": (225, 125, 35), "yellow": (225, 200, 55), "green": (60, 150, 65),
    "cyan": (60, 185, 190), "blue": (45, 80, 190), "purple": (130, 60, 165), "white": (225, 225, 220),
}  # fmt: skip
# Thing.dimensions and Thing.bound for a radius of 1.
PROPORTIONS = {
    "sphere": (1.0, 0.0), "cube": (0.8, 0.0), "cylinder": (0.72, 0.95), "cone": (0.95, 1.05), "torus": (0.82, 0.34),
    "capsule": (0.6, 0.75),
}  # fmt: skip
BOUNDS = {
    "sphere": 1.001, "cube": 0.8 * 1.7325, "cylinder": 1.193, "cone": 1.417, "torus": 1.161, "capsule": 1.352,
}  # fmt: skip
MATERIALS = ("matte", "shiny", "metal")
SIZES = {"small": 0.28, "medium": 0.40, "large": 0.54}  # metres: the nominal radius, varied by +-8 %
FLOORS = {"wooden": (150, 110, 75), "tiled": (170, 165, 155), "carpeted": (125, 120, 125), "concrete": (145, 145, 142)}
WALLS = {"plain": (205, 200, 188), "striped": (195, 198, 205), "brick": (185, 160, 148), "panelled": (190, 186, 172)}
MAX_DEPTH = 10.0  # metres; no room is deep enough to reach it
REFERENCE_SIZE = 64
MIN_ACROSS, MAX_ACROSS = 15, 42  # pixels at REFERENCE_SIZE: about, of a solid's bounding sphere
MIN_VISIBLE = 32  # pixels at REFERENCE_SIZE that every solid of a scene shows at least
ATTEMPTS = 100  # to place the solids of a scene
SCENE_STREAM, NOISE_STREAM, CAPTION_STREAM = range(3)  # see generator()


@dataclass(frozen=True)
class Camera:
    """Pinhole camera: position in metres; yaw, downward pitch and full field of view in radians; square image."""

    x: float
    y: float
    z: float
    yaw: float
    pitch: float
    fov: float

    @cached_property
    def basis(self) -> tuple[tuple[float, float, float], ...]:
        """Unit vectors (right, up, forward) in the world frame."""
        cy, sy = math.cos(self.yaw), math.sin(self.yaw)
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        return (cy, -sy, 0.0), (sy * sp, cy * sp, cp), (sy * cp, cy * cp, -sp)


@dataclass(frozen=True)
class Light:
    """Point light: position in metres, relative power, share of ambient light, colour as three factors."""

    x: float
    y: float
    z: float
    power: float
    ambient: float
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Room:
    """|x| <= width / 2, 0 <= y <= depth, metres. Kind and colour (sRGB 0..255) of floor and walls; contrast, scale and
    salt of their patterns."""

    width: float
    depth: float
    floor: str
    floor_colour: tuple[float, float, float]
    wall: str
    wall_colour: tuple[float, float, float]
    contrast: float
    scale: float
    salt: int


@dataclass(frozen=True)
class Thing:
    """A solid that rests on the floor at (x, y); `radius` is its nominal size in metres, `size` the word for it."""

    shape: str
    colour: str
    material: str
    size: str
    radius: float
    x: float
    y: float
    yaw: float
    upright: bool
    rgb: tuple[float, float, float]

    @property
    def dimensions(self) -> tuple[float, float]:
        """Metres. Sphere: radius. Cube: half edge. Cylinder, cone: radius, half height. Torus: major, minor radius.
        Capsule: radius, half length of its axis (local x)."""
        a, b = PROPORTIONS[self.shape]
        return a * self.radius, b * self.radius

    @property
    def centre(self) -> tuple[float, float, float]:
        """World position of the solid's local origin."""
        a, b = self.dimensions
        if self.shape == "torus":
            return self.x, self.y, a + b if self.upright else b
        return self.x, self.y, b if self.shape in ("cylinder", "cone") else a

    @property
    def bound(self) -> float:
        """Radius in metres of a sphere about the centre that holds the solid."""
        return BOUNDS[self.shape] * self.radius

    @property
    def footprint(self) -> float:
        """Radius in metres of a floor disc that holds the solid from above."""
        a, b = self.dimensions
        return a * 2**0.5 if self.shape == "cube" else a + b if self.shape in ("torus", "capsule") else a


@dataclass(frozen=True)
class Scene:
    """The scene graph: everything the image and its labels are computed from. `noise` is the sensor's sigma of 255."""

    camera: Camera
    light: Light
    room: Room
    things: tuple[Thing, ...]
    noise: float


def generator(seed: int, index: int, stream: int) -> np.random.Generator:
    """Return the random stream of one purpose of one scene, independent of all other (seed, index, stream)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index, stream])))


def draw(rng: np.random.Generator) -> Scene:
    """Draw a scene of up to 6 solids that stand apart in front of the camera; some may be hidden by others."""

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    width, depth = between(4.0, 6.4), between(4.6, 6.8)
    camera = Camera(
        x=between(-0.25, 0.25) * width, y=between(0.2, 0.9), z=between(1.1, 2.0), yaw=between(-0.4, 0.4),
        pitch=between(0.18, 0.48), fov=between(0.9, 1.2),
    )  # fmt: skip
    light = Light(
        x=between(-0.42, 0.42) * width, y=between(0.1, 0.75) * depth, z=between(2.6, 4.2), power=between(0.85, 1.2),
        ambient=between(0.3, 0.48), colour=(between(0.95, 1.06), 1.0, between(0.88, 1.04)),
    )  # fmt: skip
    floor, wall = str(rng.choice(list(FLOORS))), str(rng.choice(list(WALLS)))
    room = Room(
        width=width, depth=depth, floor=floor, floor_colour=_vary(rng.random(4).tolist(), FLOORS[floor], 22), wall=wall,
        wall_colour=_vary(rng.random(4).tolist(), WALLS[wall], 24), contrast=between(0.05, 0.16),
        scale=between(0.8, 1.3), salt=int(rng.integers(1 << 31)),
    )  # fmt: skip
    wanted = int(rng.choice([2, 3, 4, 5, 6], p=[0.12, 0.24, 0.28, 0.22, 0.14]))
    things: list[Thing] = []
    for tried in rng.random((ATTEMPTS, 13)).tolist():
        if len(things) == wanted:
            break
        thing = _place(tried, camera, room)
        if thing is None:
            continue
        apart = all(math.hypot(thing.x - t.x, thing.y - t.y) > thing.footprint + t.footprint + 0.04 for t in things)
        # A pair of colour and shape names one solid of a scene, so captions can refer to it.
        named = all((thing.colour, thing.shape) != (t.colour, t.shape) for t in things)
        if apart and named:
            things.append(thing)
    return Scene(camera, light, room, tuple(things), between(1.0, 4.0))


def _vary(draw: Sequence[float], colour: tuple[int, int, int], spread: float) -> tuple[float, float, float]:
    """Shift a colour's brightness by up to `spread` and each channel by a third of it more; draw: 4 numbers in 0..1."""
    shift = (2 * draw[0] - 1) * spread
    return tuple(
        min(max(c + shift + (2 * d - 1) * spread / 3, 5.0), 250.0) for c, d in zip(colour, draw[1:4], strict=True)
    )


def _place(numbers: Sequence[float], camera: Camera, room: Room) -> Thing | None:
    """Make a solid of 13 numbers in 0..1; None unless it is in the room, in view and of a moderate size."""

    def pick(options: Sequence[str], value: float) -> str:
        return options[int(value * len(options))]

    ahead = 1.8 + 3.4 * numbers[0]
    reach = math.tan(camera.fov / 2) * ahead
    shape, size = pick(SHAPES, numbers[1]), pick(tuple(SIZES), numbers[2])
    radius = SIZES[size] * (0.92 + 0.16 * numbers[3])
    if not MIN_ACROSS <= REFERENCE_SIZE * BOUNDS[shape] * radius / reach <= MAX_ACROSS:
        return None
    across = (1.8 * numbers[4] - 0.9) * reach
    c, s = math.cos(camera.yaw), math.sin(camera.yaw)
    x, y = camera.x + c * across + s * ahead, camera.y + c * ahead - s * across
    if abs(x) > room.width / 2 or not 0 < y < room.depth:
        return None
    colour = pick(tuple(COLOURS), numbers[5])
    thing = Thing(
        shape=shape, colour=colour, material=pick(MATERIALS, numbers[6]), size=size, radius=radius, x=x, y=y,
        yaw=(2 * numbers[7] - 1) * math.pi, upright=numbers[8] < 0.6, rgb=_vary(numbers[9:13], COLOURS[colour], 14),
    )  # fmt: skip
    return thing if _fits(thing, camera, room) else None


def _fits(thing: Thing, camera: Camera, room: Room) -> bool:
    """Whether the solid is inside the room and its centre well inside the image."""
    margin = thing.footprint + 0.05
    if abs(thing.x) > room.width / 2 - margin or not margin < thing.y < room.depth - margin:
        return False
    offset = [c - o for c, o in zip(thing.centre, (camera.x, camera.y, camera.z), strict=True)]
    across, above, ahead = (sum(a * b for a, b in zip(offset, axis, strict=True)) for axis in camera.basis)
    reach = math.tan(camera.fov / 2) * ahead
    return ahead > thing.bound + 0.8 and abs(across) < 0.92 * reach and abs(above) < 0.9 * reach
