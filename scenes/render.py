"""From a scene to an image and its exact labels.

Labels come from one ray through each pixel's centre. So do colours, but where a pixel differs from a neighbour in what
it shows its colour is the mean of 2 x 2 rays: colours blend at edges, labels do not. Shading: Lambert, Blinn-Phong
highlights (Blinn 1977), one point light with hard shadows, ambient light, patterned floor and walls, sensor noise.
"""

from dataclasses import dataclass, replace

import numpy as np

from scenes import geometry
from scenes.geometry import FAR_WALL, FIRST_THING, FLOOR, LEFT_WALL, NEAR_WALL, RIGHT_WALL, Vector
from scenes.world import (
    CLASSES,
    MIN_VISIBLE,
    NOISE_STREAM,
    REFERENCE_SIZE,
    SCENE_STREAM,
    Scene,
    draw,
    generator,
)  # fmt: skip

GLOSS = {"matte": 0.0, "shiny": 0.55, "metal": 0.9}  # strength of highlights
SHIFTS = np.array([[-0.25, -0.25, 0.25, 0.25], [-0.25, 0.25, -0.25, 0.25]], np.float32)  # 2 x 2 rays: right, down


@dataclass(frozen=True)
class View:
    """One rendered scene.

    rgb [S, S, 3] uint8; instance [S, S] uint8, 0 for the room and k + 1 for scene.things[k]; semantic [S, S] uint8, an
    index into CLASSES; depth [S, S] float32, metres along the optical axis, never 0.
    """

    scene: Scene
    rgb: np.ndarray
    instance: np.ndarray
    semantic: np.ndarray
    depth: np.ndarray


Traced = tuple[Vector, np.ndarray, np.ndarray]  # rays, and geometry.cast's depth and surface along them


def compose(seed: int, index: int) -> tuple[Scene, Traced]:
    """Draw the scene of (seed, index): 2 to 6 solids, each with >= MIN_VISIBLE visible pixels at REFERENCE_SIZE.

    Returns it with the rays through the pixels' centres at that size and what they meet.
    """
    rng = generator(seed, index, SCENE_STREAM)
    while True:
        scene = draw(rng)
        d = geometry.rays(scene.camera, REFERENCE_SIZE)
        depth, surface = geometry.cast(scene, d)
        pixels = np.bincount(surface, minlength=FIRST_THING + len(scene.things))[FIRST_THING:]
        # Taking hidden solids away can only uncover more of the others.
        seen = tuple(t for t, n in zip(scene.things, pixels, strict=True) if n >= MIN_VISIBLE)
        if len(seen) < 2:
            continue
        if len(seen) == len(scene.things):
            return scene, (d, depth, surface)
        scene = replace(scene, things=seen)
        return scene, (d, *geometry.cast(scene, d))


def view(seed: int, index: int, size: int = REFERENCE_SIZE) -> View:
    """Draw and render the scene of (seed, index) at size x size pixels. A pure function of its arguments."""
    scene, traced = compose(seed, index)
    rng = generator(seed, index, NOISE_STREAM)
    return render(scene, size, rng, traced if size == REFERENCE_SIZE else None)


def render(scene: Scene, size: int, rng: np.random.Generator, traced: Traced | None = None) -> View:
    """Render `scene` at size x size pixels with sensor noise drawn from `rng`; `traced`: the labels' rays, if known."""
    if traced is None:
        centre = geometry.rays(scene.camera, size)
        traced = (centre, *geometry.cast(scene, centre))
    centre, depth, surface = traced
    edge = _edges(surface.reshape(size, size))  # [size^2] -> [size, size]
    shift = np.repeat(SHIFTS, edge.size, axis=1)  # [2, 4 * edges]
    fine = geometry.rays(scene.camera, size, np.tile(edge, 4), (shift[0], shift[1]))
    fine_depth, fine_surface = geometry.cast(scene, fine)
    points = size * size
    colour = _shade(
        scene, tuple(np.concatenate(c) for c in zip(centre, fine, strict=True)), np.concatenate([depth, fine_depth]),
        np.concatenate([surface, fine_surface]),
    )  # fmt: skip
    colour, samples = colour[:, :points], colour[:, points:].reshape(3, 4, edge.size)  # [3, 4 * edges] -> [3, 4, edges]
    colour[:, edge] = (samples[:, 0] + samples[:, 1] + samples[:, 2] + samples[:, 3]) * np.float32(0.25)
    image = colour.T.reshape(size, size, 3)  # [3, size^2] -> [size, size, 3]
    noise = rng.standard_normal((size, size, 3), dtype=np.float32)
    rgb = np.clip(image + scene.noise * noise + np.float32(0.5), 0, 255).astype(np.uint8)
    semantic_of = [0] + [1] * (FIRST_THING - 1) + [CLASSES.index(t.shape) for t in scene.things]
    surface = surface.reshape(size, size)  # [size^2] -> [size, size]
    instance = np.maximum(surface, FIRST_THING - 1) - np.uint8(FIRST_THING - 1)
    return View(scene, rgb, instance, np.array(semantic_of, np.uint8)[surface], depth.reshape(size, size))


def _edges(key: np.ndarray) -> np.ndarray:
    """Flat indices of the pixels of key [S, S] that differ from one of their four neighbours."""
    across, down = key[:, 1:] != key[:, :-1], key[1:] != key[:-1]
    edge = np.zeros(key.shape, bool)
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return np.flatnonzero(edge)


def _shade(scene: Scene, d: Vector, t: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Colour [3, N] float32 in 0..255 of the points at depth t [N] along d."""
    light, eye = scene.light, (scene.camera.x, scene.camera.y, scene.camera.z)
    p = tuple(eye[k] + t * d[k] for k in range(3))
    n = tuple(np.zeros_like(t) for _ in range(3))
    albedo = np.empty((3, t.size), np.float32)
    gloss = np.zeros(t.size, np.float32)
    _paint_room(scene, surface, p, n, albedo)
    for k, thing in enumerate(scene.things):
        index = np.flatnonzero(surface == FIRST_THING + k)
        local = geometry.to_local(thing, tuple(p[i][index] - thing.centre[i] for i in range(3)))
        for axis, component in zip(n, geometry.to_world(thing, geometry.normal(thing, local)), strict=True):
            axis[index] = component
        albedo[:, index] = _linear(thing.rgb)[:, None]
        gloss[index] = GLOSS[thing.material]
    to_light = [position - c for position, c in zip((light.x, light.y, light.z), p, strict=True)]
    distance2 = to_light[0] * to_light[0] + to_light[1] * to_light[1] + to_light[2] * to_light[2]
    inverse = 1 / np.sqrt(distance2)
    to_light = [c * inverse for c in to_light]
    facing = n[0] * to_light[0] + n[1] * to_light[1] + n[2] * to_light[2]
    lit = (facing > 0) & ~geometry.shadowed(scene, surface, p, n)
    direct = np.where(lit, facing, np.float32(0)) * (light.power * 9.0) / (6.0 + distance2)
    ambient = light.ambient * (np.float32(0.8) + np.float32(0.2) * n[2])
    colour = albedo * np.stack([ambient + direct * factor for factor in light.colour])
    shiny = np.flatnonzero(gloss > 0)
    if shiny.size:
        _add_gloss(scene, colour, gloss, albedo, index=shiny, d=d, n=n, to_light=to_light, lit=lit)
    return np.sqrt(np.clip(colour, 0, 1)) * np.float32(255)  # gamma 2


def _add_gloss(
    scene: Scene, colour: np.ndarray, gloss: np.ndarray, albedo: np.ndarray, index: np.ndarray, d: Vector, n: Vector,
    to_light: list[np.ndarray], lit: np.ndarray,
) -> None:  # fmt: skip
    """Add highlights, and on metal a dim reflection of floor and walls, to colour[:, index]."""
    d, n, to_light = ([c[index] for c in vector] for vector in (d, n, to_light))
    length = np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    d = [c / length for c in d]
    half = [a - b for a, b in zip(to_light, d, strict=True)]
    norm = np.sqrt(half[0] * half[0] + half[1] * half[1] + half[2] * half[2])
    highlight = np.clip((half[0] * n[0] + half[1] * n[1] + half[2] * n[2]) / norm, 0, 1)
    for _ in range(5):  # to the power of 32
        highlight = highlight * highlight
    highlight = np.where(lit[index], highlight, np.float32(0)) * gloss[index]
    metal = gloss[index] > 0.8
    cosine = d[0] * n[0] + d[1] * n[1] + d[2] * n[2]
    mirror_up = d[2] - 2 * cosine * n[2]  # z of the mirrored ray: floor below, walls and light above
    blend = np.clip(mirror_up * 2 + 0.5, 0, 1)
    floor, wall = _linear(scene.room.floor_colour), _linear(scene.room.wall_colour)
    for k in range(3):
        base = albedo[k, index]
        reflection = (floor[k] * (1 - blend) * 0.6 + wall[k] * blend) * (0.25 + 0.75 * base)
        value = np.where(metal, colour[k, index] * 0.55 + reflection * 0.45, colour[k, index])
        colour[k, index] = value + highlight * np.where(metal, 0.3 + 0.7 * base, np.float32(1))


def _linear(colour: tuple[float, float, float]) -> np.ndarray:
    """Colour 0..255 with gamma 2 -> linear [3] float32 in 0..1."""
    value = np.asarray(colour, np.float32) / np.float32(255)
    return value * value


def _paint_room(scene: Scene, surface: np.ndarray, p: Vector, n: Vector, albedo: np.ndarray) -> None:
    """Fill normals and albedo of the floor's and the walls' points."""
    room = scene.room
    floor = np.flatnonzero(surface == FLOOR)
    n[2][floor] = 1
    tone = _floor_tone(room.floor, p[0][floor] / room.scale, p[1][floor] / room.scale, room.salt)
    albedo[:, floor] = _linear(room.floor_colour)[:, None] * (1 + room.contrast * tone)
    for wall, axis, sign in ((LEFT_WALL, 0, 1), (RIGHT_WALL, 0, -1), (FAR_WALL, 1, -1), (NEAR_WALL, 1, 1)):
        index = np.flatnonzero(surface == wall)
        if index.size:
            n[axis][index] = sign
            height = p[2][index]
            tone = _wall_tone(room.wall, p[1 - axis][index] / room.scale, height / room.scale, room.salt + wall)
            skirting = np.where(height < 0.09, np.float32(0.55), np.float32(1))
            albedo[:, index] = _linear(room.wall_colour)[:, None] * ((1 + room.contrast * tone) * skirting)


def _floor_tone(kind: str, x: np.ndarray, y: np.ndarray, salt: int) -> np.ndarray:
    """Pattern in about -1..1 at floor points [N]."""
    if kind == "wooden":
        plank = np.floor(x / 0.28)
        board = np.floor(y / 1.6 + 0.37 * plank)
        return _hash(plank, board, salt) + 0.3 * _smooth(x * 14, y * 1.5, salt)
    if kind == "tiled":
        i, j = np.floor(x / 0.55), np.floor(y / 0.55)
        return np.where((i + j) % 2 == 0, np.float32(0.8), np.float32(-0.8)) + 0.2 * _hash(i, j, salt)
    if kind == "carpeted":
        return 0.6 * _smooth(x * 7, y * 7, salt) + 0.5 * _smooth(x * 1.3, y * 1.3, salt + 1)
    return 0.7 * _smooth(x * 0.9, y * 0.9, salt) + 0.2 * _smooth(x * 3, y * 3, salt + 1)


def _wall_tone(kind: str, x: np.ndarray, z: np.ndarray, salt: int) -> np.ndarray:
    """Pattern in about -1..1 at wall points [N]; x runs along the wall, z upwards."""
    if kind == "striped":
        return np.where(np.floor(x / 0.33) % 2 == 0, np.float32(0.6), np.float32(-0.6))
    if kind == "brick":
        row = np.floor(z / 0.16)
        return 0.9 * _hash(np.floor(x / 0.42 + 0.5 * (row % 2)), row, salt)
    if kind == "panelled":
        groove = (x / 0.9 - np.floor(x / 0.9) < 0.13) | (np.abs(z - 1.0) < 0.06)  # wide enough not to break up at 64 px
        return np.where(groove, np.float32(-1.0), np.float32(0.2))
    return 0.4 * _smooth(x * 0.8, z * 0.8, salt)


def _hash(i: np.ndarray, j: np.ndarray, salt: int) -> np.ndarray:
    """Pseudo-random float32 in -1..1 for integer lattice points; wrapping uint32 arithmetic."""
    value = i.astype(np.int32).astype(np.uint32) * np.uint32(374761393)
    value += j.astype(np.int32).astype(np.uint32) * np.uint32(668265263) + np.uint32(salt)
    value = (value ^ (value >> np.uint32(13))) * np.uint32(1274126177)
    return (value >> np.uint32(16)).astype(np.float32) * np.float32(2 / 65535) - np.float32(1)


def _smooth(x: np.ndarray, y: np.ndarray, salt: int) -> np.ndarray:
    """Value noise in -1..1: the lattice's hash, interpolated by a cubic."""
    i, j = np.floor(x), np.floor(y)
    a, b = x - i, y - j
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    near = _hash(i, j, salt) * (1 - a) + _hash(i + 1, j, salt) * a
    far = _hash(i, j + 1, salt) * (1 - a) + _hash(i + 1, j + 1, salt) * a
    return near * (1 - b) + far * b
