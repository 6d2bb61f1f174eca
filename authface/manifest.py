"""Commands on the tables: build samples, look at them, check them."""

from __future__ import annotations

from typing import Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

TableName = Annotated[
    str, typer.Argument(help="photos, faces, tasks, annotations, consensus, consents or samples.")
]
TableVersion = Annotated[
    int | None, typer.Option("--at", help="Version of the table; the newest if left out.")
]


@app.command()
def build(workspace: WorkspaceOption = None) -> None:
    """Join crops, answers and consents into Samples, split by person; print what was left out.

    Example: authface manifest build
    """
    from datetime import UTC, datetime

    from data_manifests.assemble import build as build_samples
    from data_manifests.store import Store

    place, settings = open_workspace(workspace)
    built = build_samples(Store(place.tables), settings.manifest, datetime.now(UTC))
    rows = [
        (
            s.sample_id[:12],
            s.split,
            f"{s.width}x{s.height}",
            f"{s.native_width:.0f}x{s.native_height:.0f}",
            s.caption[:60],
        )
        for s in built.samples
    ]
    if rows:
        console.table("Samples", ("sample", "split", "crop px", "native px", "caption"), rows)
    left = sum(built.left_out.values())
    if left:
        console.table(
            "Left out", ("photos", "why"), [(n, why) for why, n in built.left_out.items()]
        )
    console.done(
        f"{len(built.samples) + left} photos = {len(built.samples)} samples + {left} left out"
    )
    if built.version is not None:
        console.done(
            f"samples@{built.version}, made from {built.sources}: the version a training run pins"
        )


@app.command()
def show(name: TableName, at: TableVersion = None, workspace: WorkspaceOption = None) -> None:
    """Print the rows of a table, a few columns wide.

    Example: authface manifest show samples --at 2
    """
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    rows = Store(place.tables).table(_noun(name), at)
    names = rows.column_names[:8]
    console.table(
        f"{name}: {rows.num_rows} rows",
        names,
        [[_short(r[n]) for n in names] for r in rows.to_pylist()],
    )


@app.command()
def check(workspace: WorkspaceOption = None) -> None:
    """Check every rule the tables must keep, down to the bytes of each file; exit 3 if one fails.

    Example: authface manifest check
    """
    from datetime import UTC, datetime

    from data_manifests.checks import check as check_tables
    from data_manifests.checks import read_tables
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    faults = check_tables(read_tables(Store(place.tables), place.media, datetime.now(UTC)))
    rows = [
        (rule, len(found), "; ".join(f"{f.row[:40]} {f.wrong}" for f in found[:3]))
        for rule, found in faults.items()
    ]
    console.table("Checks", ("rule", "faults", "first"), rows)
    if any(faults.values()):
        raise typer.Exit(console.PARTIAL)
    console.done("every rule holds")


def _noun(name: str) -> type:
    from data_manifests.errors import ManifestError
    from data_manifests.store import TABLES

    nouns = {table: noun for noun, table in TABLES.items()}
    if name not in nouns:
        raise ManifestError(f"There is no table {name!r}.", f"Known are: {', '.join(nouns)}.")
    return nouns[name]


def _short(cell: object) -> str:
    text = "" if cell is None else str(cell)
    return text if len(text) <= 24 else text[:21] + "..."
