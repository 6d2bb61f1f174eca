"""Commands on the tables: build samples, look at them, check them."""

from __future__ import annotations

from typing import Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

EXAMPLES = 3  # faults printed for each rule
SHOWN = 20  # rows of a table that are printed

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
            s["sample_id"][:12],
            s["split"],
            f"{s['width']}x{s['height']}",
            f"{s['native_width']:.0f}x{s['native_height']:.0f}",
            s["caption"][:60],
        )
        for s in built.rows.slice(0, SHOWN).to_pylist()
    ]
    count, left = built.rows.num_rows, sum(built.left_out.values())
    if rows:
        console.table("Samples", ("sample", "split", "crop px", "native px", "caption"), rows)
    if count > SHOWN:
        console.say(f"  ... and {count - SHOWN:,} more: authface manifest show samples")
    if left:
        console.table(
            "Left out", ("photos", "why"), [(n, why) for why, n in built.left_out.items()]
        )
    console.done(f"{built.photos} photos = {count} samples + {left} left out")
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
    from data_manifests.checks import looked_at, read_tables
    from data_manifests.store import Store

    place, settings = open_workspace(workspace)
    now = datetime.now(UTC)
    tables = read_tables(Store(place.tables), place.media, now, settings.manifest)
    faults = check_tables(tables)
    rows = [(rule, looked_at(tables, rule), len(found)) for rule, found in faults.items()]
    console.table("Checks", ("rule", "looked at", "faults"), rows)
    for rule, found in faults.items():
        for fault in found[:EXAMPLES]:
            console.say(f"  {rule}: {fault.row} {fault.wrong}")
        if len(found) > EXAMPLES:
            console.say(f"  {rule}: and {len(found) - EXAMPLES:,} more")
    if any(faults.values()):
        raise typer.Exit(console.PARTIAL)
    console.done("every rule holds")


@app.command()
def fsck(
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Prove all of it, also what a cut-off run proved.")
    ] = False,
    tidy: Annotated[
        bool, typer.Option("--tidy", help="Delete what stopped writers left half written.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Prove every byte of the tables, their log and the media; exit 3 if one is wrong.

    A run that was cut off goes on where it was.

    Example: authface manifest fsck
    """
    from data_manifests.fsck import prove
    from data_manifests.fsck import tidy as take_away

    place, _ = open_workspace(workspace)
    proofs = list(console.track(prove(place, fresh=fresh), label="proving"))
    wrong = [(p.path, p.fault) for p in proofs if p.fault]
    spare = sum(p.leftover for p in proofs)
    known = sum(p.known for p in proofs)
    if spare and tidy:
        console.done(f"{take_away(place)} files taken away that stopped writers left")
    elif spare:
        console.say(f"  {spare} files that stopped writers left; --tidy takes them away")
    if known:
        console.say(f"  {known} of them were proved by the run before, which was cut off")
    if wrong:
        for path, fault in wrong:
            console.say(f"  {path}: {fault}")
        console.note(f"{len(proofs)} files looked at, {len(wrong)} are wrong")
        raise typer.Exit(console.PARTIAL)
    console.done(f"{len(proofs) - spare} files, every byte is what was committed")


@app.command()
def migrate(workspace: WorkspaceOption = None) -> None:
    """Bring tables of an older release up to this one; every write does it for its own table.

    Example: authface manifest migrate
    """
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    done = Store(place.tables).migrate()
    for name, steps in done.items():
        console.done(f"{name}: {', '.join(steps)}")
    if not done:
        console.done("every table is of this release")


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
