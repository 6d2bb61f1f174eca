"""Commands that look at the tables: SQL, distributions, versions, differences, a sample's chain."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from data_manifests.changes import RowChange
    from data_manifests.media import Workspace
    from data_manifests.store import Store

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

FEW = 100  # rows that a terminal is shown unless it asks for more
WIDE = 8  # columns that stand side by side; a wider row is printed one column a line
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
At = Annotated[
    int | None, typer.Option("--at", help="Version of the table; the newest if left out.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Rows at the most; 100 on a terminal.")
]


@app.command()
def sql(
    query: Annotated[
        str, typer.Argument(help="One SELECT. Tables go by name, a version as samples@3.")
    ],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")] = False,
    limit: Limit = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Ask the tables in SQL (DuckDB's), any version of them; nothing can be changed by it.

    Example: authface manifest sql "SELECT split, count(*) FROM samples@3 GROUP BY split"
    """
    from data_manifests.query import ask

    store, _ = _opened(workspace)
    with ask(store, query) as answer:
        names = answer.schema.names
        rows = (row for batch in answer for row in _rows(batch))
        if as_json:
            _print_json(dict(zip(names, row, strict=True)) for row in _first(rows, limit))
        elif as_csv:
            _print_csv(names, _first(rows, limit))
        else:
            _print_rows(names, rows, limit or FEW)


@app.command()
def stats(
    at: At = None,
    page: Annotated[
        Path | None, typer.Option("--html", help="Write a page with charts to this file.")
    ] = None,
    as_json: AsJson = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Print how samples and kept photos are spread: sizes, lenses, light, pose, people, consents.

    Example: authface manifest stats --html stats.html
    """
    from dataclasses import asdict

    from authface.stats_page import print_stats, render_stats
    from data_manifests.media import write_atomic
    from data_manifests.stats import describe

    store, place = _opened(workspace)
    found = describe(store, at)
    if as_json:
        console.data(asdict(found))
    elif page is None:
        print_stats(found)
    if page is not None:
        title = f"What {place.root.name} holds"
        write_atomic(page, render_stats(found, title=title).encode())
        console.note(f"the page is {page}") if as_json else console.done(f"the page is {page}")


@app.command()
def versions(
    name: Annotated[str | None, typer.Argument(help="A table, for its whole history.")] = None,
    as_json: AsJson = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Print the newest version of every table, or every version of one: when, what and why.

    Example: authface manifest versions samples
    """
    store, _ = _opened(workspace)
    if name is not None:
        _print_history(store, name, as_json)
    elif as_json:
        console.data(store.versions())
    else:
        console.table("Tables", ("table", "version"), store.versions().items())


@app.command()
def diff(
    which: Annotated[
        list[str], typer.Argument(metavar="[TABLE] A B", help="Samples if no table is named.")
    ],
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=0, help="Rows shown on a terminal.")] = 20,
    workspace: WorkspaceOption = None,
) -> None:
    """Print what differs from version A of a table to version B: rows, field by field.

    Example: authface manifest diff samples 3 5
    """
    from data_manifests.changes import changes

    store, _ = _opened(workspace)
    table, before, after = _two_versions(which)
    found = changes(store, _noun(table), before, after)
    if as_json:
        _print_json(map(_change_as_json, found))
        return
    count: Counter[str] = Counter()
    shown: list[RowChange] = []
    for change in found:
        count[change.kind] += 1
        if len(shown) < limit:
            shown.append(change)
    kinds = ", ".join(f"{count[kind]} {kind}" for kind in ("added", "changed", "removed"))
    console.done(f"{table}@{before} to {table}@{after}: {kinds}")
    for change in shown:
        _print_change(change)
    if count.total() > len(shown) > 0:
        console.note(f"{count.total() - len(shown)} more rows; --limit shows more, --json all")


@app.command()
def restore(
    table: Annotated[str, typer.Argument(help="The table.")],
    version: Annotated[int, typer.Argument(help="The version that it shall be as again.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only say what would be.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Make a table as it was at a version; what came since stays readable under its own version.

    Example: authface manifest restore samples 3 --yes
    """
    from data_manifests.changes import changes, history

    store, _ = _opened(workspace)
    noun = _noun(table)
    now = history(store, noun)[-1].upto
    count = Counter(change.kind for change in changes(store, noun, now, version))
    said = ", ".join(f"{count[kind]} {kind}" for kind in ("added", "changed", "removed"))
    if not yes:
        console.note(f"{table}@{now} would be as {table}@{version} again: {said}; --yes does it")
        return
    done = store.restore(noun, version, why=f"restore {table}@{version}")
    console.done(f"{table}@{done.version} is as {table}@{version} was: {said}")


@app.command()
def explain(
    name: Annotated[
        str, typer.Argument(help="A sample's or photo's id (6 digits or more), or a file's path.")
    ],
    at: At = None,
    as_json: AsJson = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Print where a sample comes from and who trained on it; for a photo without one, why not.

    Example: authface manifest explain 4f0a9c
    """
    from dataclasses import asdict
    from datetime import UTC, datetime

    from authface.cells import plain
    from authface.chain import print_chain
    from data_manifests.lineage import explain as find_chain

    place, settings = open_workspace(workspace)
    chain = find_chain(place, name, config=settings.manifest, now=datetime.now(UTC), at=at)
    if as_json:
        console.data(plain(asdict(chain)))
    else:
        print_chain(chain)


@app.command()
def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the page docs/schema.md.")
    ] = False,
    table: Annotated[str | None, typer.Argument(help="One table; all if left out.")] = None,
) -> None:
    """Print every table with its columns, their types, units and meaning.

    Example: authface manifest schema samples
    """
    from data_manifests.schema_page import columns_of, schema_page
    from data_manifests.store import TABLES

    if markdown:
        sys.stdout.write(schema_page())
        return
    for noun in [_noun(table)] if table else TABLES:
        rows = [(c.name, c.type, c.unit, c.about) for c in columns_of(noun)]
        console.table(TABLES[noun], ("column", "type", "unit", "what it is"), rows)


def _opened(workspace: Path | None) -> tuple[Store, Workspace]:
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    return Store(place.tables), place


def _noun(name: str) -> type:
    from data_manifests.query import noun_of

    return noun_of(name)


def _two_versions(which: list[str]) -> tuple[str, int, int]:
    from data_manifests.errors import InputError

    table, numbers = (which[0], which[1:]) if len(which) == 3 else ("samples", which)
    if len(numbers) != 2 or not all(n.isdigit() for n in numbers):
        raise InputError(
            f"Two versions are needed, and {' '.join(which)!r} is not that.",
            "As in: authface manifest diff samples 3 5",
        )
    return table, int(numbers[0]), int(numbers[1])


def _rows(batch: Any) -> Iterator[tuple[Any, ...]]:
    columns = [column.to_pylist() for column in batch.columns]
    return zip(*columns, strict=True)


def _first(rows: Iterable[Any], limit: int | None) -> Iterator[Any]:
    return itertools.islice(rows, limit)


def _print_json(rows: Iterable[dict[str, Any]]) -> None:
    """A JSON array with a row a line, written as the rows come."""
    from authface.cells import plain

    sys.stdout.write("[")
    for number, row in enumerate(rows):
        sys.stdout.write(("\n" if number == 0 else ",\n") + json.dumps(plain(row)))
    sys.stdout.write("\n]\n")


def _print_csv(names: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    from authface.cells import plain

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        cells = map(plain, row)
        writer.writerow(json.dumps(c) if isinstance(c, dict | list | bool) else c for c in cells)


def _print_rows(names: list[str], rows: Iterator[tuple[Any, ...]], limit: int) -> None:
    from authface.cells import cell

    shown = list(itertools.islice(rows, limit))
    if names == ["explain_key", "explain_value"]:
        for _, plan in shown:
            console.say(plan)
    elif len(names) > WIDE:
        for number, row in enumerate(shown, 1):
            told = [(n, cell(v, width=100)) for n, v in zip(names, row, strict=True)]
            console.table(f"row {number}", ("column", "value"), told)
    else:
        console.table("", names, [[cell(value) for value in row] for row in shown])
    more = next(rows, None) is not None
    console.say(f"the first {len(shown)} rows; --limit shows more" if more else _counted(shown))


def _counted(rows: list[Any]) -> str:
    return f"{len(rows)} row{'' if len(rows) == 1 else 's'}"


def _print_history(store: Store, name: str, as_json: bool) -> None:
    from dataclasses import asdict

    from authface.cells import moment
    from data_manifests.changes import history

    found = history(store, _noun(name))
    if as_json:
        _print_json(map(asdict, found))
        return
    rows = [
        (
            str(v.version) if v.version == v.upto else f"{v.version}-{v.upto}",
            moment(v.at.replace(microsecond=0)),
            v.operation.lower(),
            *("" if n is None else n for n in (v.added, v.changed, v.removed)),
            v.why,
        )
        for v in found
    ]
    columns = ("version", "time", "operation", "added", "changed", "removed", "why")
    console.table(f"{name}: numbers joined by a dash hold the same rows", columns, rows)


def _change_as_json(change: RowChange) -> dict[str, Any]:
    from dataclasses import asdict

    whole = asdict(change)
    if change.kind == "changed":
        del whole["record"]  # the fields say it, and the row can be asked for by its key
    else:
        del whole["fields"]
    return whole


def _print_change(change: RowChange) -> None:
    from authface.cells import cell

    signs = {"added": "+", "changed": "~", "removed": "-"}
    console.say(f"{signs[change.kind]} {change.key}{_told(change)}")
    for field in change.fields:
        old, new = (cell(_dict_of(value)) or "(nothing)" for value in (field.old, field.new))
        console.say(f"    {field.path}: {old} -> {new}")


def _told(change: RowChange) -> str:
    """A few words on a row that came or went."""
    from authface.cells import cell

    names = ("path", "state", "decision", "split", "caption")
    values = (getattr(change.record, name, None) for name in names)
    told = "" if change.kind == "changed" else ", ".join(cell(v) for v in values if v)
    return f"  {told}" if told else ""


def _dict_of(value: Any) -> Any:
    from dataclasses import asdict, is_dataclass

    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
