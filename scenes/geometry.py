"""Analytic ray intersections: the room's planes and six solids, vectorised over rays in float32.

Frames. World: x to the right, y away from the near wall, z up, metres; the floor is z = 0. A solid's local frame has
its origin at the solid's centre and is turned about z by its yaw. A vector is a tuple of three components, each an
array or a Python float, so that arrays stay contiguous and scalars do not promote float32.

Only +, -, *, /, sqrt and comparisons touch pixels: IEEE 754 rounds those alike everywhere, so images do not depend on
the machine's vector units.
"""

import math

import numpy as np

from scenes.world import Camera, Room, Scene, Thing

Vector = tuple  # three components, each float or float32 array
FLOOR, LEFT_WALL, RIGHT_WALL, FAR_WALL, NEAR_WALL, FIRST_THING = range(6)
MISS = np.float32(np.inf)
TINY = np.float32(1e-9)
HIT_DISTANCE = 5e-5  # metres from the torus's surface at which sphere tracing stops
TORUS_STEPS = 48  # about 10 are needed


def to_local(thing: Thing, vector: Vector) -> Vector:
    """Turn a world direction into the local frame of `thing` (no translation)."""
    c, s = math.cos(thing.yaw), math.sin(thing.yaw)
    x, y, z = vector
    return c * x + s * y, c * y - s * x, z


def to_world(thing: Thing, vector: Vector) -> Vector:
    """Turn a local direction of `thing` into the world frame (no translation)."""
    c, s = math.cos(thing.yaw), math.sin(thing.yaw)
    x, y, z = vector
    return c * x - s * y, s * x + c * y, z


def _slab(o: np.ndarray | float, d: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Interval of t in which |o + t d| <= half."""
    inverse = np.float32(1) / np.where(np.abs(d) < TINY, TINY, d)
    first, second = (-half - o) * inverse, (half - o) * inverse
    return np.minimum(first, second), np.maximum(first, second)


def _roots(a: np.ndarray, b: np.ndarray, c: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Roots of a t^2 + 2 b t + c as (real, smaller for a > 0, larger for a > 0)."""
    a = np.where(np.abs(a) < TINY, TINY, a)
    disc = b * b - a * c
    root = np.sqrt(np.maximum(disc, np.float32(0)))
    return disc > 0, (-b - root) / a, (-b + root) / a


def _sphere(o: Vector, d: Vector, radius: float) -> np.ndarray:
    (ox, oy, oz), (dx, dy, dz) = o, d
    real, near, _ = _roots(
        dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz, ox * ox + oy * oy + oz * oz - radius * radius
    )
    return np.where(real, near, MISS)


def _cube(o: Vector, d: Vector, half: float) -> np.ndarray:
    spans = [_slab(o[k], d[k], half) for k in range(3)]
    enter = np.maximum(np.maximum(spans[0][0], spans[1][0]), spans[2][0])
    leave = np.minimum(np.minimum(spans[0][1], spans[1][1]), spans[2][1])
    return np.where(enter < leave, enter, MISS)


def _cylinder(o: Vector, d: Vector, radius: float, half: float) -> np.ndarray:
    (ox, oy, oz), (dx, dy, dz) = o, d
    real, near, far = _roots(dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy - radius * radius)
    low, high = _slab(oz, dz, half)
    enter, leave = np.maximum(near, low), np.minimum(far, high)
    return np.where(real & (enter < leave), enter, MISS)


def _cone(o: Vector, d: Vector, radius: float, half: float) -> np.ndarray:
    (ox, oy, oz), (dx, dy, dz) = o, d
    slope2 = (radius / (2 * half)) ** 2
    below = half - oz  # distance under the apex; the upper nappe has it negative
    real, one, two = _roots(
        dx * dx + dy * dy - slope2 * dz * dz,
        ox * dx + oy * dy + slope2 * below * dz,
        ox * ox + oy * oy - slope2 * below * below,
    )
    best = np.full_like(one, MISS)
    for t in (one, two):
        under = below - t * dz
        best = np.where(real & (under >= 0) & (under <= 2 * half) & (t > 0), np.minimum(best, t), best)
    t = (-half - oz) / np.where(np.abs(dz) < TINY, TINY, dz)
    x, y = ox + t * dx, oy + t * dy
    return np.where((x * x + y * y <= radius * radius) & (t > 0), np.minimum(best, t), best)


def _capsule(o: Vector, d: Vector, radius: float, half: float) -> np.ndarray:
    (ox, oy, oz), (dx, dy, dz) = o, d
    real, near, _ = _roots(dy * dy + dz * dz, oy * dy + oz * dz, oy * oy + oz * oz - radius * radius)
    body = np.where(real & (np.abs(ox + near * dx) <= half), near, MISS)
    ends = np.minimum(_sphere((ox - half, oy, oz), d, radius), _sphere((ox + half, oy, oz), d, radius))
    return np.minimum(body, ends)


def _torus(o: Vector, d: Vector, major: float, minor: float) -> np.ndarray:
    """Sphere tracing (Hart 1996) by the exact distance to a torus about z, inside its slab and bounding sphere."""
    flat = [np.broadcast_to(np.asarray(c, np.float32), d[0].shape) for c in (*o, *d)]
    speed = np.sqrt(flat[3] * flat[3] + flat[4] * flat[4] + flat[5] * flat[5])
    (ox, oy, oz), (ux, uy, uz) = flat[:3], [c / speed for c in flat[3:]]
    along = ox * ux + oy * uy + oz * uz
    disc = along * along - (ox * ox + oy * oy + oz * oz - (major + minor) ** 2)
    root = np.sqrt(np.maximum(disc, np.float32(0)))
    low, high = _slab(oz, uz, minor)
    s, end = np.maximum(np.maximum(low, -along - root), np.float32(0)), np.minimum(high, root - along)
    result = np.full(speed.shape, MISS)
    live = np.flatnonzero((disc > 0) & (s < end))
    ray = [c[live] for c in (ox, oy, oz, ux, uy, uz, end)]
    s = s[live]
    for _ in range(TORUS_STEPS):
        ox, oy, oz, ux, uy, uz, end = ray
        x, y, z = ox + s * ux, oy + s * uy, oz + s * uz
        axial = np.sqrt(x * x + y * y) + TINY
        ring = axial - major
        tube = np.sqrt(ring * ring + z * z)
        distance = tube - minor
        hit = distance < HIT_DISTANCE
        result[live[hit]] = s[hit]
        # Along a unit ray the distance's second derivative is >= -1 / axial, so >= -2 / axial until axial halves: no
        # surface is nearer than the root of distance + slope h - h^2 / axial. This passes grazing rays in few steps.
        slope = (ring * (x * ux + y * uy) / axial + z * uz) / tube
        half = np.float32(0.5) * axial
        bound = half * (slope + np.sqrt(slope * slope + np.maximum(distance, np.float32(0)) / half * 2))
        s = s + np.maximum(distance, np.minimum(bound, half))
        going = np.flatnonzero(~hit & (s < end))
        if not going.size:
            break
        live, s, ray = live[going], s[going], [c[going] for c in ray]
    return result / speed


def intersect(thing: Thing, o: Vector, d: Vector) -> np.ndarray:
    """Smallest t at which the ray o + t d (local frame) enters `thing`; +inf for a miss, may be negative behind it."""
    a, b = thing.dimensions
    match thing.shape:
        case "sphere":
            return _sphere(o, d, a)
        case "cube":
            return _cube(o, d, a)
        case "cylinder":
            return _cylinder(o, d, a, b)
        case "cone":
            return _cone(o, d, a, b)
        case "capsule":
            return _capsule(o, d, a, b)
        case "torus" if thing.upright:  # its axis is local x
            return _torus((o[1], o[2], o[0]), (d[1], d[2], d[0]), a, b)
        case "torus":
            return _torus(o, d, a, b)
    raise ValueError(f"no intersection for shape {thing.shape!r}")


def normal(thing: Thing, p: Vector) -> Vector:
    """Outward unit normal (local frame) at surface points `p` (local frame)."""
    a, b = thing.dimensions
    x, y, z = p
    if thing.shape == "cube":
        ax, ay, az = np.abs(x), np.abs(y), np.abs(z)
        on_x = (ax >= ay) & (ax >= az)
        on_y = ~on_x & (ay >= az)
        return np.sign(x) * on_x, np.sign(y) * on_y, np.sign(z) * ~(on_x | on_y)
    if thing.shape == "cylinder":
        cap = b - np.abs(z) < (a - np.sqrt(x * x + y * y))
        return _unit(np.where(cap, np.float32(0), x), np.where(cap, np.float32(0), y), np.where(cap, z, np.float32(0)))
    if thing.shape == "cone":
        radial = np.sqrt(x * x + y * y)
        slope = a / (2 * b)
        base = z + b < (slope * (b - z) - radial) * 0.5 + 1e-4
        side = np.where(base, np.float32(0), np.float32(1))
        return _unit(side * x, side * y, np.where(base, np.float32(-1), slope * radial))
    if thing.shape == "capsule":
        return _unit(x - np.clip(x, -b, b), y, z)
    if thing.shape == "torus":
        if thing.upright:
            scale = 1 - a / np.maximum(np.sqrt(y * y + z * z), TINY)
            return _unit(x, y * scale, z * scale)
        scale = 1 - a / np.maximum(np.sqrt(x * x + y * y), TINY)
        return _unit(x * scale, y * scale, z)
    return _unit(x, y, z)


def _unit(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Vector:
    length = np.maximum(np.sqrt(x * x + y * y + z * z), TINY)
    return x / length, y / length, z / length


def _room(room: Room, o: Vector, d: Vector) -> tuple[np.ndarray, np.ndarray]:
    """Distance t and surface of the room as seen from inside it; walls have no upper end."""
    ox, oy, oz = o
    ix, iy, iz = (np.float32(1) / np.where(np.abs(c) < TINY, TINY, c) for c in d)
    right, far = ix > 0, iy > 0
    tx = np.where(right, np.float32(room.width / 2 - ox), np.float32(-room.width / 2 - ox)) * ix
    ty = np.where(far, np.float32(room.depth - oy), np.float32(-oy)) * iy
    tz = np.where(iz < 0, -oz * iz, MISS)
    surface = np.where(tx <= ty, LEFT_WALL + right.view(np.uint8), FAR_WALL + (~far).view(np.uint8))
    wall = np.minimum(tx, ty)
    surface[tz <= wall] = FLOOR
    return np.minimum(tz, wall), surface


def rays(
    camera: Camera, size: int, pixels: np.ndarray | None = None, shift: tuple[np.ndarray, np.ndarray] | None = None
) -> Vector:
    """Directions of the rays through pixels of a size x size image, three arrays [N] float32, forward component 1.

    pixels: flat row-major indices [N], all by default; shift: offsets (right, down) from their centres, in pixels [N].
    """
    right, up, forward = camera.basis
    reach = math.tan(camera.fov / 2)
    row, column = np.divmod(np.arange(size * size) if pixels is None else pixels, size)
    x, y = column.astype(np.float32) + 0.5, row.astype(np.float32) + 0.5
    if shift:
        x, y = x + shift[0], y + shift[1]
    u, v = (x * (2 / size) - 1) * reach, (1 - y * (2 / size)) * reach
    return tuple(forward[k] + u * right[k] + v * up[k] for k in range(3))


def cast(scene: Scene, d: Vector) -> tuple[np.ndarray, np.ndarray]:
    """What rays from the camera along `d` [N] (see rays) meet first.

    Returns depth [N] float32, metres along the optical axis, and surface [N] uint8: FLOOR .. NEAR_WALL, or
    FIRST_THING + k for scene.things[k].
    """
    o = (scene.camera.x, scene.camera.y, scene.camera.z)
    depth, surface = _room(scene.room, o, d)
    length2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    for k, thing in enumerate(scene.things):
        w = tuple(c - p for c, p in zip(thing.centre, o, strict=True))
        along = w[0] * d[0] + w[1] * d[1] + w[2] * d[2]
        reach2 = w[0] * w[0] + w[1] * w[1] + w[2] * w[2] - thing.bound**2
        index = np.flatnonzero((along * along > reach2 * length2) & (along > 0))  # rays into the bounding sphere
        t = intersect(thing, to_local(thing, tuple(-c for c in w)), to_local(thing, tuple(c[index] for c in d)))
        nearer = (t > 0) & (t < depth[index])
        index = index[nearer]
        depth[index] = t[nearer]
        surface[index] = FIRST_THING + k
    return depth, surface


def shadowed(scene: Scene, surface: np.ndarray, p: Vector, n: Vector) -> np.ndarray:
    """Whether each surface point p [N] (world, with unit normals n) is hidden from the light; surface is uint8 [N]."""
    light = (scene.light.x, scene.light.y, scene.light.z)
    dark = np.zeros(surface.shape, bool)
    d = tuple(light[k] - p[k] for k in range(3))
    inverse = np.float32(1) / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    for k, thing in enumerate(scene.things):
        w = tuple(thing.centre[i] - p[i] for i in range(3))
        along = (w[0] * d[0] + w[1] * d[1] + w[2] * d[2]) * inverse
        miss2 = w[0] * w[0] + w[1] * w[1] + w[2] * w[2] - along * along / inverse
        near = (miss2 < thing.bound**2) & (along > 0)  # the light is above every solid, so along < 1 adds nothing
        if thing.shape != "torus":  # a convex solid shades itself by its normal alone
            near &= surface != FIRST_THING + k
        index = np.flatnonzero(near)
        lift = 4e-3 if thing.shape == "torus" else 0.0  # keeps a torus's own surface out of its shadow rays
        start = to_local(thing, tuple(lift * n[i][index] - w[i][index] for i in range(3)))
        t = intersect(thing, start, to_local(thing, tuple(c[index] for c in d)))
        dark[index[(t > 1e-3) & (t < 1)]] = True
    return dark
