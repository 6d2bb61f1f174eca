"""What cards share: tables and lines of Markdown that no text from a file can break out of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["count_of", "line", "table"]

MOST_ROWS = 12
# What a value could begin a picture, a link or HTML with; the backslash, or it would undo its like.
ESCAPED = str.maketrans(
    {"\\": "\\\\", "!": "\\!", "[": "\\[", "]": "\\]", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
)


def table(
    title: str,
    columns: tuple[str, ...],
    rows: Iterable[tuple[object, ...]],
    *,
    level: int = 2,
    most: int = MOST_ROWS,
) -> Iterator[str]:
    """A titled table, none if empty; rows after the first `most` are one, its last column a sum."""
    body = list(rows)
    if not body:
        return
    yield f"{'#' * level} {line(title)}"
    yield ""
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in body[:most]:
        yield "| " + " | ".join(_cell(cell) for cell in row) + " |"
    if len(body) > most:
        rest = sum(int(str(row[-1])) for row in body[most:])
        yield f"| {len(body) - most} others | " + "- | " * (len(columns) - 2) + f"{rest} |"
    yield ""


def _cell(cell: object) -> str:
    return line(str(cell)).replace("|", "\\|")


def line(text: str) -> str:
    """The text on one line, without HTML, pictures and links: names come from files of others."""
    return " ".join(text.split()).translate(ESCAPED)


def count_of(count: int, one: str, many: str = "") -> str:
    """A number and what was counted."""
    return f"{count} {one if count == 1 else many or one + 's'}"
