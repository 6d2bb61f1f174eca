"""What a person sees in the terminal: words, tables, progress and one-line errors."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "PARTIAL",
    "STOPPED",
    "WRONG",
    "counted",
    "data",
    "done",
    "fail",
    "heading",
    "note",
    "one_line",
    "say",
    "table",
    "track",
]

WRONG = 2  # exit code: the user can mend it
PARTIAL = 3  # exit code: some of it worked
STOPPED = 130  # exit code: Ctrl-C
_BETWEEN = 3  # characters between two columns of a table

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


def data(value: object) -> None:
    """Print one line of JSON for a program; `--json` prints nothing else on standard output."""
    import json

    sys.stdout.write(json.dumps(value) + "\n")


def one_line(text: str) -> str:
    """The text with line breaks and control characters made visible."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def counted(number: int, noun: str) -> str:
    """The number with its noun, which takes an s unless there is one: "1 row", "2 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
    """Print a small table; numbers are right-aligned.

    A word is never broken: where a terminal is too narrow for the longest, the rows are printed one
    below the other, and what is not a terminal gets lines as long as they need be.
    """
    from rich.table import Table

    body = [[str(cell) for cell in row] for row in rows]
    screen = _console()
    room = screen.width - _BETWEEN * (len(columns) - 1) if screen.is_terminal else None
    widths = _widths(columns, body, room)
    if widths is None:
        _print_rows(title, columns, body)
        return
    drawn = Table(title=escape(title), title_justify="left", show_edge=False, pad_edge=False)
    for i, (column, width) in enumerate(zip(columns, widths, strict=True)):
        numeric = bool(body) and all(_is_number(row[i]) for row in body)
        drawn.add_column(escape(column), justify="right" if numeric else "left", width=width)
    for row in body:
        drawn.add_row(*map(escape, row))
    before, screen.width = screen.width, max(screen.width, sum(widths) + _BETWEEN * len(widths))
    screen.print(drawn)
    screen.width = before


def _widths(
    columns: Sequence[str], body: Sequence[Sequence[str]], room: int | None
) -> list[int] | None:
    """Columns' widths that break no word and fill at most `room`; none if there are no such.

    What the longest words leave goes to the columns that have more to say.
    """
    from rich.cells import cell_len

    cells = [[name, *(row[i] for row in body)] for i, name in enumerate(columns)]
    most = [max(cell_len(line) for c in column for line in c.split("\n")) for column in cells]
    if room is None or sum(most) <= room:
        return most
    least = [max(cell_len(word) for c in column for word in (*c.split(), "")) for column in cells]
    spare = room - sum(least)
    if spare < 0:
        return None
    wanted = [m - n for m, n in zip(most, least, strict=True)]
    return [n + w * spare // sum(wanted) for n, w in zip(least, wanted, strict=True)]


def _print_rows(title: str, columns: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """The rows one below the other, each cell on a line with its column's name."""
    heading(title)
    wide = max(len(c) for c in columns)
    for row in body:
        for column, value in zip(columns, row, strict=True):
            say(f"{column.ljust(wide)}  {value}")
        say("")


def track(
    iterable: Iterable[T], total: int | None = None, *, label: str = "", done: int = 0
) -> Iterator[T]:
    """Yield from the iterable and show how far it is: a bar, or lines without a terminal.

    `done` of `total` were taken before; the speed and the time left are of the others.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if not _console(stderr=True).is_terminal:
        yield from _plain_track(iterable, total, label, done)
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
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(label), total=total, completed=done, rate="")
        started = time.monotonic()
        for count, item in enumerate(iterable, 1):
            yield item
            progress.update(task, advance=1, rate=_rate(count, started))


def _plain_track(
    iterable: Iterable[T], total: int | None, label: str, done: int, every_s: float = 10.0
) -> Iterator[T]:
    started = said = time.monotonic()
    for count, item in enumerate(iterable, 1):
        yield item
        if time.monotonic() - said >= every_s:
            said = time.monotonic()
            of = f" of {total}" if total else ""
            left = (said - started) / count * (total - done - count) if total else 0.0
            rest = f", {_span(left)} left" if total else ""
            sys.stderr.write(f"  {label}: {done + count}{of}, {_rate(count, started)}{rest}\n")
            sys.stderr.flush()


def _rate(count: int, started: float) -> str:
    per_s = count / max(time.monotonic() - started, 1e-6)
    return f"{per_s:.1f}/s" if per_s >= 1 else f"{60 * per_s:.1f}/min"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, over = divmod(minutes, 60)
    if hours:
        return f"{hours} h {over} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).replace("%", "").replace(" ", "").isdigit()
