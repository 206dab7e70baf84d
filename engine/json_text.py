"""JSON of unknown origin as text that can be written again."""

import json
from typing import Any


def parse(text: str | bytes, **hooks: Any) -> Any:
    """The content of JSON.

    Args:
        text: the JSON. hooks: of `json.loads`.

    Raises:
        ValueError: no JSON, not UTF-8, or a text with half of a surrogate pair ("\\ud800" alone): JSON can spell it,
            but no tokenizer, file name or output takes it.
        RecursionError: nested too deeply.
    """
    content = json.loads(text, **hooks)
    if ("\\u" if isinstance(text, str) else b"\\u") in text:
        json.dumps(content, ensure_ascii=False).encode()
    return content
