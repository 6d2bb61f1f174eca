"""Commands on photos: take them in, list them, and show them on one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from curation.pipeline import Ingested
    from data_manifests.records import Face, Photo

__all__ = ["ingest", "photos", "sheet"]

STATES = ("kept", "set_aside", "quarantined")


def ingest(
    sources: Annotated[list[Path], typer.Argument(help="Folders or files with original photos.")],
    workspace: WorkspaceOption = None,
    photographer: Annotated[str | None, typer.Option(help="Who took them.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the photos.")] = None,
    consent: Annotated[str | None, typer.Option(help="The consent that covers them.")] = None,
    subject: Annotated[str | None, typer.Option(help="Who is in them, as a pseudonym.")] = None,
) -> None:
    """Decode, judge, find faces, cut crops; every file ends in the table with a reason.

    Originals are only read. A second run skips what is done. Exit code 3 if a file can't be read.

    Example: authface ingest ~/shoots/2026-03 --consent release-17 --subject person-4
    """
    from curation.ledger import commit, known_photos
    from curation.pipeline import ingest_found
    from curation.scan import find_photos
    from data_manifests.store import Store

    place, settings = open_workspace(workspace)
    told = {
        "photographer": photographer,
        "licence": licence,
        "consent_id": consent,
        "subject_id": subject,
    }
    config = settings.ingest.model_copy(update={k: v for k, v in told.items() if v is not None})
    found = list(find_photos(sources))
    if not found:
        console.note(f"no photo in {', '.join(map(str, sources))}")
        return
    store = Store(place.tables)
    stream = ingest_found(found, workspace=place, config=config, known=known_photos(store))
    tracked = console.track(commit(store, stream), total=len(found), label="ingest")
    if _tell(list(tracked)):
        raise typer.Exit(console.PARTIAL)


def photos(
    workspace: WorkspaceOption = None,
    state: Annotated[str | None, typer.Option(help="kept, set_aside or quarantined only.")] = None,
) -> None:
    """List the photos: name, state, reasons, size, faces.

    Example: authface photos --state set_aside
    """
    rows, faces = _read(workspace, state)
    count = Counter(f.photo_id for f in faces)
    body = [
        (Path(p.path).name, p.state, ", ".join(p.reasons) or "-", _size(p), count[p.photo_id])
        for p in sorted(rows, key=lambda p: p.path)
    ]
    console.table("Photos", ("name", "state", "reasons", "size", "faces"), body)
    told = Counter(p.state for p in rows)
    console.say(", ".join(f"{told[s]} {s.replace('_', ' ')}" for s in STATES))


def sheet(
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write it; photos.html in the workspace if left out."),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Write the contact sheet: one HTML file that works from disk.

    Example: authface sheet --out photos.html
    """
    from curation.report import contact_sheet
    from data_manifests.media import write_atomic

    place, _ = open_workspace(workspace)
    rows, faces = _read(workspace, None)
    target = out or place.root / "photos.html"
    write_atomic(target.absolute(), contact_sheet(rows, faces, media=place.media).encode())
    console.done(f"{target}: {len(rows)} photos, {len(faces)} faces")


def _read(workspace: Path | None, state: str | None) -> tuple[list[Photo], list[Face]]:
    from data_manifests.errors import ConfigError
    from data_manifests.records import Face, Photo
    from data_manifests.store import Store

    if state is not None and state not in STATES:
        raise ConfigError(f"There is no state {state!r}.", f"Known are: {', '.join(STATES)}.")
    place, _ = open_workspace(workspace)
    store = Store(place.tables)
    rows = [p for p in store.read(Photo) if state in (None, p.state)]
    wanted = {p.photo_id for p in rows}
    return rows, [f for f in store.read(Face) if f.photo_id in wanted]


def _tell(items: list[Ingested]) -> int:
    """Print what became of the files; how many could not be read."""
    new = [i for i in items if i.status == "new" and i.photo is not None]
    states = Counter(i.photo.state for i in new if i.photo is not None)
    reasons = Counter(r for i in new if i.photo is not None for r in i.photo.reasons)
    status = Counter(i.status for i in items)
    console.table("Ingest", ("files", "what"), _lines(len(items), states, reasons, status))
    for item in items:
        if item.status == "unreadable" or (item.status != "new" and item.problem):
            console.note(f"{_one_line(item.path)} {item.problem}")
    console.done(f"{sum(len(i.faces) for i in new)} faces in {len(new)} new photos")
    return status["unreadable"]


def _lines(
    seen: int, states: Counter[str], reasons: Counter[str], status: Counter[str]
) -> Iterable[tuple[int, str]]:
    yield seen, "seen"
    for state in STATES:
        if states[state]:
            yield states[state], state.replace("_", " ")
    for reason, count in reasons.most_common():
        yield count, f"  because of {reason}"
    for name, words in (
        ("known", "known already"),
        ("copy", "copies of a known photo"),
        ("unreadable", "could not be read"),
    ):
        if status[name]:
            yield status[name], words


def _size(photo: Photo) -> str:
    return f"{photo.width} x {photo.height}" if photo.width else "-"


def _one_line(path: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in path)
