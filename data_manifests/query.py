"""SQL over the tables, at any version: DuckDB in this process, shut in and read-only.

DuckDB reads the Parquet files of a version by its own reader, so that only the columns, row groups
and parts of nested columns that a query asks for are read. (It can't read them as Arrow data sets:
it hands its filters on strings down as string views, which Arrow does not compare with strings.)
It may open those files and nothing else, and only questions are let through.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import pyarrow as pa

from data_manifests.errors import ManifestError, MissingExtra
from data_manifests.schema import arrow_schema
from data_manifests.store import TABLES, Store

__all__ = ["Pin", "ask", "noun_of", "opened", "sql_text"]

MEMORY = "1GB"  # more than that goes to a folder of its own that is removed afterwards
BATCH = 8192  # rows that an answer is read by
NOUNS = {name: noun for noun, name in TABLES.items()}
# Ways to a table that may not spell its name: all tables are there then.
_INDIRECT = ("show", "schema", "duckdb_", "query", "pragma_")
# Strings, quoted names and comments are passed over; what is left may name a version.
_TOKEN = re.compile(
    r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$"
    r'|"(?:[^"]|"")*"|\b(?P<table>[A-Za-z_]\w*)@(?P<version>\d+)\b',
    re.DOTALL,
)
_PINNED = re.compile(r'"(\w+)@(\d+)"')
_EXPLAIN = re.compile(r"\A\s*explain(\s+analyze)?\s", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pin:
    """A table at a version, the newest if none; without the files that `unlike` holds too."""

    noun: type
    version: int | None = None
    unlike: int | None = None


@contextlib.contextmanager
def ask(store: Store, sql: str) -> Iterator[pa.RecordBatchReader]:
    """The answer to one SELECT over the tables, read batch by batch; times are UTC.

    Every table goes by its name, a version of it as `samples@3`; a table that nobody has written
    yet is empty. Raises ManifestError, in one line, for a query that is wrong, asks for anything
    but rows, or needs more memory than it may have.
    """
    text, pins = _named(sql)
    with opened(store, pins) as connection:
        _only_a_question(connection, text)
        yield connection.sql(text).to_arrow_reader(BATCH)


@contextlib.contextmanager
def opened(store: Store, pins: Mapping[str, Pin]) -> Iterator[Any]:
    """A DuckDB connection that sees these tables under these names, and no other file.

    Raises MissingExtra without DuckDB, ManifestError for a version that is not there, and instead
    of what DuckDB raises inside.
    """
    duckdb = _duckdb()
    files = {name: _files(store, pin) for name, pin in pins.items()}
    spilled = tempfile.TemporaryDirectory(prefix="authface-sql-")
    with spilled as spill, _plain_errors(pins):
        connection = duckdb.connect(":memory:")
        try:
            allowed = sorted({file for found in files.values() for file in found})
            _shut_in(connection, allowed, spill)
            for name, pin in pins.items():
                connection.execute(f"CREATE VIEW {_quoted(name)} AS {_view(pin, files[name])}")
            connection.execute("SET lock_configuration = true")
            yield connection
        finally:
            connection.close()


def noun_of(name: str) -> type:
    """The noun of a table; raises ManifestError, naming the nearest, if there is none."""
    if name not in NOUNS:
        raise ManifestError(f"There is no table {name!r}.", _nearest(name, NOUNS))
    return NOUNS[name]


def sql_text(text: str) -> str:
    """The text as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtra("duckdb", "tables", "Querying the tables") from error
    return duckdb


def _shut_in(connection: Any, allowed: list[str], spill: str) -> None:
    settings = {
        "TimeZone": "'UTC'",
        "memory_limit": sql_text(MEMORY),
        "temp_directory": sql_text(spill),
        "python_enable_replacements": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allowed_paths": f"[{', '.join(map(sql_text, allowed))}]",
        "enable_external_access": "false",
    }
    for name, value in settings.items():
        connection.execute(f"SET {name} = {value}")


def _files(store: Store, pin: Pin) -> list[str]:
    held = _held(store, pin.noun, pin.version)
    if pin.unlike is not None:
        held -= _held(store, pin.noun, pin.unlike)
    folder = (store.folder / TABLES[pin.noun]).absolute()
    files = [folder / file for file in sorted(held)]
    if gone := [file for file in files if not file.exists()]:
        raise ManifestError(
            f"{len(gone)} files of {TABLES[pin.noun]} are gone: {gone[0]} is the first.",
            "Run `authface manifest fsck`.",
        )
    return list(map(str, files))


def _held(store: Store, noun: type, version: int | None) -> set[str]:
    """Names of the Parquet files of a version."""
    held = store.files(noun, version)
    if held is not None:
        return held
    if version is None:
        return set()
    name, newest = TABLES[noun], store.version(noun)
    there = "There is no such table yet" if newest is None else f"The newest is {newest}"
    raise ManifestError(
        f"{name} has no version {version}.",
        f"{there}: see `authface manifest versions {name}`.",
    )


def _view(pin: Pin, files: list[str]) -> str:
    """Rows in the noun's columns; those that an older file lacks are NULL.

    The first half holds no row, only the types, and DuckDB plans it away.
    """
    columns = ", ".join(
        f"NULL::{_sql_type(f.type)} AS {_quoted(f.name)}" for f in arrow_schema(pin.noun)
    )
    empty = f"SELECT {columns} WHERE false"
    if not files:
        return empty
    listed = ", ".join(map(sql_text, files))
    read = f"SELECT * FROM read_parquet([{listed}], union_by_name = true)"
    return f"{empty} UNION ALL BY NAME {read}"


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{_quoted(f.name)} {_sql_type(f.type)}' for f in kind)})"
    plain: list[tuple[Callable[[pa.DataType], bool], str]] = [
        (pa.types.is_string, "VARCHAR"),
        (pa.types.is_int64, "BIGINT"),
        (pa.types.is_float64, "DOUBLE"),
        (pa.types.is_boolean, "BOOLEAN"),
        (pa.types.is_timestamp, "TIMESTAMPTZ"),
    ]
    return next(name for is_kind, name in plain if is_kind(kind))


def _named(sql: str) -> tuple[str, dict[str, Pin]]:
    """The query with `samples@3` put in quotes, and the tables that it may need."""
    pins: dict[str, Pin] = {}

    def pin(found: re.Match[str]) -> str:
        quoted = _PINNED.fullmatch(found[0])
        table, version = quoted.groups() if quoted else found.group("table", "version")
        if table is None:
            return found[0]
        name = f"{table.lower()}@{int(version)}"
        pins[name] = Pin(noun_of(table.lower()), int(version))
        return _quoted(name)

    text = _TOKEN.sub(pin, sql)
    words = text.lower()
    every = any(way in words for way in _INDIRECT)
    pins |= {name: Pin(noun) for name, noun in NOUNS.items() if every or name in words}
    return text, pins


def _only_a_question(connection: Any, text: str) -> None:
    statements = connection.extract_statements(_EXPLAIN.sub("", text, count=1))
    if len(statements) != 1:
        raise ManifestError(f"One query is needed, and there are {len(statements)}.", "Give one.")
    if statements[0].type.name != "SELECT":
        raise ManifestError(
            f"{statements[0].type.name} is refused: the tables can only be asked.",
            "Give a SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN.",
        )


@contextlib.contextmanager
def _plain_errors(pins: Mapping[str, Pin]) -> Iterator[None]:
    duckdb = _duckdb()
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ManifestError(
            f"The query needs more than {MEMORY} of memory.",
            "Ask for fewer columns or rows, or for counts.",
        ) from error
    except (duckdb.Error, pa.ArrowException) as error:
        _raise_plainly(str(error), pins, error)


def _raise_plainly(text: str, pins: Mapping[str, Pin], error: Exception) -> NoReturn:
    what = re.sub(r"\n+LINE \d+:.*", "", text, flags=re.DOTALL)
    what = " ".join(re.sub(r"\n+Candidate", ". Candidate", what).replace("!.", ".").split())
    if missing := re.search(r"Table with name (\S+) does not exist", what):
        raise ManifestError(
            f"There is no table {missing[1]!r}.", _nearest(missing[1], {**NOUNS, **pins})
        ) from error
    if what.startswith("IO Error"):
        raise ManifestError(
            f"A file of the tables can't be read: {what}.", "Run `authface manifest fsck`."
        ) from error
    raise ManifestError(f"The query is wrong: {what.split(' Error: ', 1)[-1]}") from error


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    meant = f"Did you mean {close[0]}? " if close else ""
    return f"{meant}Known are: {', '.join(NOUNS)}."


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
