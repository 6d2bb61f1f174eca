"""How a table of an older release becomes one of this release: named steps, each a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from data_manifests.errors import ManifestError
from data_manifests.schema import SCHEMA_PROPERTY, SCHEMA_VERSION, arrow_schema

__all__ = ["STEPS", "Step", "bare", "migrate", "refuse_newer", "schema_version"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step from the schema before to schema `to`; it must be safe to run twice."""

    to: int
    name: str
    run: Callable[[DeltaTable, type, CommitProperties], None]


def schema_version(table: DeltaTable) -> int:
    """The schema that a table says it has; the first release did not say, and had 1."""
    return int(table.metadata().configuration.get(SCHEMA_PROPERTY, "1"))


def refuse_newer(table: DeltaTable, folder: Path) -> None:
    """Raise ManifestError if a newer release wrote the table: what it means is not known here."""
    version = schema_version(table)
    if version > SCHEMA_VERSION:
        raise ManifestError(
            f"{folder} was written by a newer AuthFace: its schema is {version}, and this one"
            f" knows up to {SCHEMA_VERSION}.",
            "Nothing was read or written: install the newer version.",
        )


def migrate(table: DeltaTable, noun: type) -> list[str]:
    """Run the steps that the table lacks; their names. The caller holds the store's lock."""
    done = []
    for step in STEPS:
        if schema_version(table) < step.to:
            step.run(table, noun, _because(step))
            table.alter.set_table_properties(
                {SCHEMA_PROPERTY: str(step.to)},
                raise_if_not_exists=False,
                commit_properties=_because(step),
            )
            table.update_incremental()
            done.append(step.name)
    return done


def _widen(table: DeltaTable, noun: type, because: CommitProperties) -> None:
    """Give the table the columns it lacks.

    A MERGE that widens the table while it rewrites a file loses the values of the rows it does not
    touch (delta-rs 1.6), so the table is as wide as the rows before one begins.
    """
    wanted, standing = arrow_schema(noun), pa.schema(table.schema().to_arrow())
    if set(_names(wanted)) - set(_names(standing)):
        known = set(standing.names)
        wider = pa.schema([bare(f) if f.name in known else f for f in wanted])
        write_deltalake(
            table,
            wider.empty_table(),
            mode="append",
            schema_mode="merge",
            commit_properties=because,
        )
        table.update_incremental()


def bare(field: pa.Field) -> pa.Field:
    """The field without descriptions, its own and those inside it.

    Delta-rs refuses another description of a column that is there: it keeps its first one.
    """
    kind = field.type
    if pa.types.is_list(kind):
        kind = pa.list_(bare(kind.value_field))
    elif pa.types.is_struct(kind):
        kind = pa.struct([bare(inner) for inner in kind])
    return field.remove_metadata().with_type(kind)


def _names(fields: Iterable[pa.Field], within: str = "") -> Iterator[str]:
    """Names of the fields and of what lies inside them; types carry notes and never compare."""
    for field in fields:
        kind = field.type
        while pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = kind.value_type
        yield within + field.name
        if pa.types.is_struct(kind):
            yield from _names(kind, f"{within}{field.name}.")


def _because(step: Step) -> CommitProperties:
    return CommitProperties(custom_metadata={"authface_why": f"migration {step.name}"})


STEPS = (
    Step(2, "0002_capture_facts_and_lineage", _widen),
    Step(3, "0003_rounds_of_work", _widen),
)
