"""One edit of a text: a table's lines, a configuration's code, a command's words."""

import ast
import re
from collections.abc import Callable, Iterator
from random import Random

from benchmarks.fuzzing.edits import NAMES, edit_bytes, edit_json, nudge, odd, replace


def edit_lines(data: bytes, draw: Random) -> bytes:
    """One line of a text: JSON in it by its structure, else left out, repeated, moved, cut in columns, or by bytes."""
    lines = data.split(b"\n")
    at = draw.randrange(len(lines))
    kind = draw.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(draw.randrange(len(lines) + 1), lines[at])
    elif kind == 2:
        lines[at] = b",".join(draw.sample(lines[at].split(b","), lines[at].count(b",") + 1))
    elif kind == 3:
        lines[at] = draw.choice((b"", b",", b'"', b"\t", b"{}", b"[]", b"null", b"\xff\xfe", b"\0", b"\xef\xbb\xbf"))
    else:
        lines[at] = edit_json(lines[at], draw)
    return b"\n".join(lines)


def edit_python(data: bytes, draw: Random) -> bytes:
    """One value, name or statement of a configuration, or its bytes."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return edit_bytes(data, draw)
    if draw.random() < 0.1:
        return edit_bytes(data, draw)
    change = draw.choice((change_value, change_value, change_value, change_keyword, change_statement))
    change(tree, draw)
    try:
        return ast.unparse(ast.fix_missing_locations(tree)).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return edit_bytes(data, draw)


def values_in(tree: ast.AST) -> Iterator[tuple[Callable[[ast.expr], None], ast.expr]]:
    """(how to replace it, it) of every value that a configuration states."""
    for node in ast.walk(tree):
        for name, child in ast.iter_fields(node):
            if isinstance(child, ast.expr) and name not in ("func", "target", "ctx"):
                yield (lambda new, node=node, name=name: setattr(node, name, new)), child
            elif isinstance(child, list) and name in ("elts", "values", "args"):
                for at, one in enumerate(child):
                    yield (lambda new, child=child, at=at: child.__setitem__(at, new)), one


def change_value(tree: ast.Module, draw: Random) -> None:
    """Another value in the place of one."""
    known = list(values_in(tree))
    if not known:
        return
    put, value = draw.choice(known)
    put(draw.choice(known)[1] if draw.random() < 0.15 else literal(value, draw))


def literal(value: ast.expr, draw: Random) -> ast.expr:
    """An odd value, or one near the value that stands there, as code."""
    holder = {"value": value.value if isinstance(value, ast.Constant) else None}
    (nudge if isinstance(value, ast.Constant) and draw.random() < 0.4 else replace)(holder, "value", [], draw)
    made = holder["value"]
    text = made[5:] if isinstance(made, str) and made.startswith("@raw:") and len(made) < 500 else repr(made)
    try:
        return ast.parse(re.sub(r"\b(nan|inf)\b", r"float('\1')", text) if "'" not in text else text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return ast.Constant(0)


def change_keyword(tree: ast.Module, draw: Random) -> None:
    """Rename, leave out or add an argument of a `dict(...)`."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.keywords]
    if not calls:
        return change_value(tree, draw)
    call = draw.choice(calls)
    at = draw.randrange(len(call.keywords))
    kind = draw.randrange(3)
    if kind == 0:
        name = call.keywords[at].arg or "a"
        call.keywords[at].arg = draw.choice((name[:-1] or "a", f"{name}s", "type", "_delete_", "size", "_scope_"))
    elif kind == 1:
        del call.keywords[at]
    else:
        call.keywords.append(ast.keyword(f"new{draw.randrange(9)}", literal(ast.Constant(0), draw)))
    return None


def change_statement(tree: ast.Module, draw: Random) -> None:
    """Leave out, repeat or move a statement, or rename what it states."""
    if not tree.body:
        return
    at = draw.randrange(len(tree.body))
    kind = draw.randrange(4)
    if kind == 0:
        del tree.body[at]
    elif kind == 1:
        tree.body.append(tree.body[at])
    elif kind == 2:
        tree.body.insert(0, tree.body.pop(at))
    elif isinstance(tree.body[at], ast.Assign):
        tree.body[at].targets = [ast.Name(draw.choice(("modell", "datas", "a", "train_cf", "method", "questions")))]


def edit_words(data: bytes, draw: Random) -> bytes:
    """One word of a command's KEY=VALUE words, which stand a line each."""
    words = data.decode("utf-8", "surrogatepass").split("\n")
    at = draw.randrange(len(words))
    key, _, value = words[at].partition("=")
    parts = key.split(".")
    spot = draw.randrange(len(parts))
    kind = draw.randrange(9)
    if kind == 0:
        value = str(odd(draw)).removeprefix("@raw:")[:500]
    elif kind == 1:
        value = draw.choice(
            ("", "[", "[1,2", "(1,)", "[[],[]]", "{'a':1}", "dict(a=1)", "1,2,3", "None", "true", "'", "==")
        )
    elif kind == 2:
        parts[spot] = draw.choice((*NAMES, "99", "-1", parts[spot][:-1], f"{parts[spot]}s"))
    elif kind == 3:
        parts.insert(spot, draw.choice(("0", "type", "a", "")))
    elif kind == 4:
        del parts[spot]
    elif kind == 5:
        parts = parts[: spot + 1]
    elif kind == 6:
        value = value * 2 + "0"
    elif kind == 7:
        words.insert(at, draw.choice(words))
    else:
        value = edit_bytes(value.encode("utf-8", "surrogatepass"), draw).decode("utf-8", "replace")
    words[at] = draw.choice((f"{'.'.join(parts)}={value}", f"{'.'.join(parts)}={value}", key)).replace("\n", " ")
    return "\n".join(words).replace("\0", "").encode("utf-8", "surrogatepass")
