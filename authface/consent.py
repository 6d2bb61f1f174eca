"""`authface consent`: who allowed what, entered in a ledger that is only ever added to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)


@app.command("add")
def add(
    consent_id: Annotated[str, typer.Argument(help="A name for the consent; photos refer to it.")],
    basis: Annotated[str, typer.Option(help="What it rests on, and where that is kept.")],
    purpose: Annotated[
        list[str], typer.Option(help="curation, annotation, training, publish; may be repeated.")
    ],
    days: Annotated[int | None, typer.Option(help="Days it is valid; open if left out.")] = None,
    subject: Annotated[str | None, typer.Option(help="Who gave it, as a pseudonym.")] = None,
    minor: Annotated[bool, typer.Option("--minor", help="The subject is a minor.")] = False,
    guardian: Annotated[
        str | None, typer.Option(help="Reference to the guardian who gave it for a minor.")
    ] = None,
    jurisdiction: Annotated[
        str | None, typer.Option(help="Law it was given under, such as DE.")
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="The text that was shown; only its SHA-256 is kept.")
    ] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Scan of the signed release; only its SHA-256 is kept.")
    ] = None,
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
        subject_id=subject,
        is_minor=minor,
        guardian=guardian,
        jurisdiction=jurisdiction,
        text_sha256=_hash_of(text),
        evidence_sha256=_hash_of(evidence),
    )
    grant(Store(place.tables), row)
    console.done(f"consent {consent_id} covers {', '.join(purpose)}")


@app.command("withdraw")
def withdraw(consent_id: str, workspace: WorkspaceOption = None) -> None:
    """Withdraw a consent: its photos fall out of the next build, and training refuses them at once.

    Example: authface consent withdraw release-17
    """
    from datetime import UTC, datetime

    from data_manifests.consent import withdraw as withdraw_consent
    from data_manifests.records import Face
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    store, now = Store(place.tables), datetime.now(UTC)
    withdraw_consent(store, consent_id, now)
    if any(face.identity_group for face in store.read(Face)):
        from curation.identity import clear_groups

        console.done(f"{clear_groups(store, now)} faces taken out of their identity group")
    console.done(
        f"consent {consent_id} is withdrawn; run `authface manifest build` to leave its photos out"
    )


@app.command("list")
def show(workspace: WorkspaceOption = None) -> None:
    """Print the consents as they stand.

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
            c.subject_id or "",
            f"minor, {c.guardian or 'no guardian'}" if c.is_minor else "",
            _day(c.valid_from),
            _day(c.valid_until),
            _day(c.withdrawn_at),
        )
        for c in Store(place.tables).read(Consent)
    ]
    columns = ("consent", "purposes", "basis", "subject", "minor", "from", "until", "withdrawn")
    console.table("Consents", columns, rows)


@app.command("log")
def log(workspace: WorkspaceOption = None) -> None:
    """Print the ledger, entry by entry, and check its chain; exit 3 if it is broken.

    Example: authface consent log
    """
    from data_manifests.ledger import verify
    from data_manifests.records import Consent, ConsentEntry
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    store = Store(place.tables)
    entries = store.read(ConsentEntry)
    rows = [
        (e.entry_id, e.kind, e.consent_id or "(erased)", str(e.at)[:19], e.entry_sha256[:12])
        for e in entries
    ]
    console.table("Ledger", ("entry", "kind", "consent", "entered", "hash"), rows)
    faults = list(verify(entries, store.read(Consent)))
    for row, wrong in faults:
        console.note(f"{row} {wrong}")
    if faults:
        raise typer.Exit(console.PARTIAL)
    console.done("the chain holds")


def _hash_of(file: Path | None) -> str | None:
    from data_manifests.errors import InputError
    from data_manifests.store import file_sha256

    if file is None:
        return None
    try:
        return file_sha256(file)
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror}.", "Check the path.") from error


def _day(when: object) -> str:
    return "" if when is None else str(when)[:10]
