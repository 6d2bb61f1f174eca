"""Commands on the tables: build samples, look at them, check them; and the consent ledger."""

from __future__ import annotations

from typing import Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

__all__ = ["app", "consent_app"]

app = typer.Typer(no_args_is_help=True)
consent_app = typer.Typer(no_args_is_help=True)

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


@consent_app.command("add")
def consent_add(
    consent_id: Annotated[str, typer.Argument(help="A name for the consent; photos refer to it.")],
    basis: Annotated[str, typer.Option(help="What it rests on, and where that is kept.")],
    purpose: Annotated[
        list[str], typer.Option(help="curation, annotation, training, publish; may be repeated.")
    ],
    days: Annotated[int | None, typer.Option(help="Days it is valid; open if left out.")] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Record a consent; photos ingested under it may be used for its purposes.

    Example: authface consent add release-17 --basis "signed release, folder 17" --purpose training
    """
    from datetime import UTC, datetime, timedelta

    from data_manifests.consent import grant
    from data_manifests.records import Consent
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    now = datetime.now(UTC)
    until = now + timedelta(days=days) if days is not None else None
    row = Consent(
        consent_id=consent_id,
        purposes=tuple(purpose),
        basis=basis,
        valid_from=now,
        valid_until=until,
    )
    grant(Store(place.tables), row)
    console.done(f"consent {consent_id} covers {', '.join(purpose)}")


@consent_app.command("withdraw")
def consent_withdraw(consent_id: str, workspace: WorkspaceOption = None) -> None:
    """Withdraw a consent: its photos fall out of the next build, and training refuses them at once.

    Example: authface consent withdraw release-17
    """
    from datetime import UTC, datetime

    from data_manifests.consent import withdraw
    from data_manifests.records import Face
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    store, now = Store(place.tables), datetime.now(UTC)
    withdraw(store, consent_id, now)
    if any(face.identity_group for face in store.read(Face)):
        from curation.identity import clear_groups

        console.done(f"{clear_groups(store, now)} faces taken out of their identity group")
    console.done(
        f"consent {consent_id} is withdrawn; run `authface manifest build` to leave its photos out"
    )


@consent_app.command("list")
def consent_list(workspace: WorkspaceOption = None) -> None:
    """Print the consent ledger.

    Example: authface consent list
    """
    from data_manifests.records import Consent
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    rows = [
        (
            c.consent_id,
            ", ".join(c.purposes),
            c.basis,
            _day(c.valid_from),
            _day(c.valid_until),
            _day(c.withdrawn_at),
        )
        for c in Store(place.tables).read(Consent)
    ]
    console.table("Consents", ("consent", "purposes", "basis", "from", "until", "withdrawn"), rows)


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


def _day(when: object) -> str:
    return "" if when is None else str(when)[:10]
