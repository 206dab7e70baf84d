"""Work on many files by a few threads."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

from tqdm import tqdm

BATCH = 1024  # items that the threads are given at once: a data set may have millions


def each(function: Callable, items: Sequence, what: str, unit: str = "file") -> Iterator[Any]:
    """`function` of each item, in order, by several threads, with a bar; decoding an image leaves the interpreter."""
    parts = (items[k : k + BATCH] for k in range(0, len(items), BATCH))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = chain.from_iterable(pool.map(function, part) for part in parts)
        yield from tqdm(results, desc=what, total=len(items), unit=unit, disable=len(items) < 200, leave=False)
