"""What a person sees in the terminal: words, tables, progress and one-line errors."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PARTIAL", "WRONG", "done", "fail", "heading", "note", "say", "table", "track"]

WRONG = 2  # exit code: the user can mend it
PARTIAL = 3  # exit code: some of it worked

T = TypeVar("T")


@cache
def _console(stderr: bool = False) -> Console:
    # Rich costs as much to import as the rest of `authface --help` takes.
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def escape(text: str) -> str:
    """The text with rich's markup made harmless."""
    from rich.markup import escape as escape_markup

    return escape_markup(text)


def say(text: str) -> None:
    """Print one line of result."""
    _console().print(escape(text))


def heading(text: str) -> None:
    """Print one line that opens a step."""
    _console().print(f"\n[bold]{escape(text)}[/bold]")


def done(text: str) -> None:
    """Print one line that says a step is finished."""
    _console().print(f"[green]✓[/green] {escape(text)}")


def note(text: str) -> None:
    """Print one line that explains or warns, on standard error."""
    _console(stderr=True).print(f"[yellow]![/yellow] {escape(text)}")


def fail(text: str) -> None:
    """Print one line that says what is wrong, on standard error."""
    _console(stderr=True).print(f"[red]error:[/red] {escape(' '.join(text.split()))}")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a small table; numbers are right-aligned."""
    from rich.table import Table

    body = [[str(cell) for cell in row] for row in rows]
    drawn = Table(title=escape(title), title_justify="left", show_edge=False, pad_edge=False)
    for i, column in enumerate(columns):
        numeric = bool(body) and all(_is_number(row[i]) for row in body)
        drawn.add_column(escape(column), justify="right" if numeric else "left", overflow="fold")
    for row in body:
        drawn.add_row(*map(escape, row))
    _console().print(drawn)


def track(iterable: Iterable[T], total: int | None = None, *, label: str = "") -> Iterator[T]:
    """Yield from the iterable and show how far it is: a bar, or lines without a terminal."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if not _console(stderr=True).is_terminal:
        yield from _plain_track(iterable, total, label)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console(stderr=True), transient=True) as progress:
        yield from progress.track(iterable, total=total, description=escape(label))


def _plain_track(
    iterable: Iterable[T], total: int | None, label: str, every_s: float = 10.0
) -> Iterator[T]:
    said = time.monotonic()
    for count, item in enumerate(iterable, 1):
        yield item
        if time.monotonic() - said >= every_s:
            said = time.monotonic()
            of = f" of {total}" if total else ""
            sys.stderr.write(f"  {label}: {count}{of}\n")
            sys.stderr.flush()


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).replace("%", "").replace(" ", "").isdigit()
