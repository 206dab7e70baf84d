"""`densebench COMMAND ...` is `python tools/COMMAND.py ...`, from any folder."""

import argparse
import ast
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from densebench import __version__, checkout


def commands(tools: Path) -> dict[str, str]:
    """The files of `tools` by name, each with the first line of its docstring."""
    files = (path for path in sorted(tools.glob("*.py")) if path.stem != "start")
    return {path.stem: (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0] for path in files}


def main(arguments: Sequence[str] | None = None) -> None:
    """Become the command that is named. Ends with that command's exit status; a name that is none is status 2."""
    try:
        tools = checkout() / "tools"
    except ImportError as error:
        sys.exit(f"error: {error}")
    known = commands(tools)
    width = max(map(len, known))
    parser = argparse.ArgumentParser(
        prog="densebench",
        description="Which pretraining gives the best encoder for dense prediction, and at what cost?",
        epilog="\n".join(["commands:", *(f"  {name:<{width}}  {about}" for name, about in known.items())])
        + "\n\n`densebench COMMAND --help` explains one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"densebench {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=known, help="one of those below")
    parser.add_argument("words", metavar="...", nargs=argparse.REMAINDER, help="what that command takes")
    asked = parser.parse_args(arguments)
    # seen from here, because records keep the command: `python tools/train.py` inside the checkout
    script = os.path.relpath(tools / f"{asked.command}.py")
    os.execv(sys.executable, [sys.executable, script, *asked.words])


if __name__ == "__main__":
    main()
