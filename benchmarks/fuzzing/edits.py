"""One edit of one file, by its content's structure or by bytes: what people's tools, disks and typing do to files.

Every edit draws from a `random.Random` alone, so a seed and a number name an input for good.
"""

import json
import math
import re
from random import Random
from typing import Any

RAW = re.compile(r'"@raw:([^"]*)"')  # JSON text that json.dumps does not write: 1e999, a key twice
DEEP = 20_000  # brackets in brackets, beyond any parser's recursion

# What stands where something else is expected: other types, empty things, numbers at and beyond every limit.
ODD = (
    None, True, False, 0, -1, 1, 2, 3, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**63,
    10**30, 0.0, -0.0, 0.5, -1.5, 1e-320, 1e15, 1e38, 1e308, -1e308, math.nan, math.inf, -math.inf, "", " ", "0", "1",
    "nan", "a", "é", "日本", "\u202e", "\ud800", "a\0b", "a\nb", "../x", "/", "~", "{split}", "{}", "{0}", "%s",
    "x" * 300, "<data>",
    "<encoder>", "<last>", [], {}, [[]], [None], [0], [1, 2], [1, 2, 3, 4], [-1, -1, -1, -1], [0, 0, 0, 0],
    [1e9, 1e9, 1e9, 1e9], ["a"], {"a": 1}, {"type": "a"}, {"": None},
    [[1, 1, 2, 2]], [[0, 0, 5, 0, 5, 5]], [[1, 2, 3]], [[1, "a", 3, 4, 5, 6]], [[0, 0, 9, 0, 9, 9, 0, 9], [1, 1]],
    [[0, 0, 5, None, 5, 5]], [[math.nan, 0, 5, 0, 5, 5]], [[1e300, 0, 5, 0, 5, 5]],
    {"size": [12, 16], "counts": "0"}, {"size": [12, 16], "counts": [192]}, {"size": [12, 16], "counts": [10, -1, 183]},
    {"size": [12, 16], "counts": [2**40]}, {"size": [12, 16], "counts": "PPYo1"}, {"size": [1e9, 1e9], "counts": []},
)  # fmt: skip
RAWS = ("@raw:1e999", "@raw:-1e999", "@raw:1" + "0" * 400, "@raw:" + "[" * DEEP + "]" * DEEP, "@raw:01", "@raw:'a'")
NAMES = (
    "type",
    "id",
    "name",
    "kind",
    "root",
    "size",
    "images",
    "version",
    "schema",
    "_delete_",
    "a.b",
    "é",
    "",
    "0",
    "-",
)


def odd(draw: Random) -> Any:
    """Something unexpected."""
    return draw.choice(ODD) if draw.random() < 0.9 else draw.choice(RAWS)


def places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in a tree of dicts and lists."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        found += [(node, key) for key in keys]
        waiting += [node[key] for key in keys]
    return found


def edit_tree(tree: Any, draw: Random) -> Any:
    """Change one place of a tree of JSON values; returns the tree."""
    known = places(tree)
    if not known or draw.random() < 0.03:
        return odd(draw)
    container, key = draw.choice(known)
    edits = (replace, replace, nudge, nudge, delete, rename, repeat, swap, wrap, add)
    draw.choice(edits)(container, key, known, draw)
    return tree


def replace(container: Any, key: Any, known: list, draw: Random) -> None:
    """Something unexpected in the place of what stands there."""
    container[key] = odd(draw)


def nudge(container: Any, key: Any, known: list, draw: Random) -> None:
    """A value of the same type, but another."""
    value = container[key]
    if isinstance(value, bool):
        container[key] = not value
    elif isinstance(value, int | float):
        size = value if abs(value) < 1e300 else 1.0  # a longer whole number has no quotient and no product with a float
        container[key] = draw.choice((value + 1, value - 1, -value, value * 2, size / 2, value * 1000, size * 1e12, 0))
    elif isinstance(value, str):
        at = draw.randrange(len(value) + 1)
        container[key] = draw.choice((value[:at], value[at:], value[:at] + chr(draw.randrange(0x3000)) + value[at:],
                                      value.upper(), value * 2, f" {value}"))  # fmt: skip
    elif isinstance(value, list):
        at = draw.randrange(len(value) + 1)
        container[key] = draw.choice((value[:at], value[at:], value[::-1], value * 2))
    else:
        replace(container, key, known, draw)


def delete(container: Any, key: Any, known: list, draw: Random) -> None:
    """Leave it out."""
    del container[key]


def rename(container: Any, key: Any, known: list, draw: Random) -> None:
    """Another key, or of a list an entry moved to its front."""
    value = container.pop(key)
    if isinstance(container, dict):
        container[draw.choice((draw.choice(NAMES), str(key)[:-1], str(key) + "s", str(key).upper()))] = value
    else:
        container.insert(0, value)


def repeat(container: Any, key: Any, known: list, draw: Random) -> None:
    """An entry twice; in an object a key twice, which only text can hold."""
    if isinstance(container, dict):
        container[f"@raw:{key}"] = odd(draw)
    else:
        container.append(container[key])


def swap(container: Any, key: Any, known: list, draw: Random) -> None:
    """What stands at another place of the tree, here too; shared, so that later edits meet both."""
    other, place = draw.choice(known)
    if not contains(other[place], container):
        container[key] = other[place]


def contains(tree: Any, node: Any) -> bool:
    """Whether a container is a tree or a part of it."""
    return tree is node or any(owner[key] is node for owner, key in places(tree))


def wrap(container: Any, key: Any, known: list, draw: Random) -> None:
    """Nested once more, or once less."""
    value = container[key]
    if isinstance(value, list) and value and draw.random() < 0.5:
        container[key] = value[0]
    else:
        container[key] = draw.choice(([value], {"a": value}, [[value]], str(value)[:1000]))


def add(container: Any, key: Any, known: list, draw: Random) -> None:
    """A further key or entry."""
    if isinstance(container, dict):
        container[draw.choice(NAMES)] = odd(draw)
    else:
        container.insert(draw.randrange(len(container) + 1), odd(draw))


def dump_json(tree: Any, draw: Random) -> bytes:
    """A tree as JSON text, with what only text can hold."""
    text = json.dumps(tree, ensure_ascii=draw.random() < 0.5, default=str)
    text = RAW.sub(lambda found: f'"{found[1]}"' if text[found.end() : found.end() + 1] == ":" else found[1], text)
    return text.encode("utf-8", "surrogatepass")


def edit_json(data: bytes, draw: Random) -> bytes:
    """One place of a JSON file, or its bytes."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):  # an earlier edit's
        return edit_bytes(data, draw)
    return dump_json(edit_tree(tree, draw), draw) if draw.random() < 0.85 else edit_bytes(data, draw)


def edit_bytes(data: bytes, draw: Random) -> bytes:
    """Flip, change, cut, insert, repeat or blank bytes."""
    made = bytearray(data)
    at = draw.randrange(len(made) + 1)
    span = min(draw.choice((1, 1, 2, 4, 16, 256)), len(made) - at)
    kind = draw.randrange(8)
    if kind == 0 and span:
        made[at] ^= 1 << draw.randrange(8)
    elif kind == 1 and span:
        made[at] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
    elif kind == 2:
        del made[at:]
    elif kind == 3:
        del made[at : at + span]
    elif kind == 4:
        made[at:at] = draw.randbytes(draw.choice((1, 4, 64)))
    elif kind == 5:
        made[at : at + span] = bytes(span)
    elif kind == 6:
        made[at:at] = made[at : at + span] * draw.choice((1, 3))
    else:
        made += draw.choice((b"\0" * 200, b"\n", data[:64], draw.randbytes(16)))
    return bytes(made)
