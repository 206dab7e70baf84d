"""Counts and names in sentences."""


def listed(names: list[str]) -> str:
    """Join names with commas and "and"; with semicolons where a name has a comma of its own."""
    if len(names) < 2:
        return "".join(names)
    inner = any("," in name for name in names)
    return ("; " if inner else ", ").join(names[:-1]) + ("; and " if inner else " and ") + names[-1]


def plural(count: int, noun: str) -> str:
    """ "1 run", "2 runs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
