"""`authface photos` and `authface faces`: look at what is in the tables, and settle it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.curate import STATES
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from data_manifests.records import Face, Photo

__all__ = ["app", "faces_app"]

app = typer.Typer(help="The photos: list them, show them on one page, settle duplicates.")
faces_app = typer.Typer(help="The faces that were found.", no_args_is_help=True)

StateOption = Annotated[str | None, typer.Option(help="kept, set_aside or quarantined only.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per row.")]


@app.callback(invoke_without_command=True)
def root(context: typer.Context, workspace: WorkspaceOption = None) -> None:
    """The photos: list them, show them on one page, settle duplicates."""
    if context.invoked_subcommand is None:
        show(workspace=workspace)


@app.command("list")
def show(
    workspace: WorkspaceOption = None, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """List the photos: name, state, reasons, size, faces.

    Example: authface photos list --state set_aside
    """
    rows, faces = _read(workspace, state)
    count = Counter(f.photo_id for f in faces)
    if as_json:
        _list_json(rows, count)
        return
    body = [
        (Path(p.path).name, p.state, ", ".join(p.reasons) or "-", _size(p), count[p.photo_id])
        for p in rows
    ]
    console.table("Photos", ("name", "state", "reasons", "size", "faces"), body)
    told = Counter(p.state for p in rows)
    console.say(", ".join(f"{told[s]} {s.replace('_', ' ')}" for s in STATES))


@app.command()
def report(
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write it; photos.html in the workspace if left out."),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Write one HTML file with the funnel, the figures and every photo; it works from disk.

    Example: authface photos report --out photos.html
    """
    from curation.report import photo_report
    from data_manifests.media import write_pieces

    place, _ = open_workspace(workspace)
    rows, faces = _read(workspace, None)
    target = (out or place.root / "photos.html").absolute()
    pieces = photo_report(rows, faces, media=place.media)
    size = write_pieces(target, (piece.encode() for piece in pieces))
    shown = out or target
    console.done(f"{shown}: {len(rows)} photos, {len(faces)} faces ({size / 1e6:.1f} MB)")


@app.command()
def settle(workspace: WorkspaceOption = None) -> None:
    """Find duplicates, bursts and files of one shot over all photos; the best one stays.

    `authface ingest` does this by itself, except with --shard.

    Example: authface photos settle
    """
    from curation.settle import settle_tables
    from data_manifests.store import Store

    place, settings = open_workspace(workspace)
    console.done(settle_tables(Store(place.tables), settings.ingest.gates).text())


@app.command()
def embed(workspace: WorkspaceOption = None) -> None:
    """Suggest tags and a look score with the open_clip model of [ingest.embed].

    Suggestions count for nothing until a person confirms them.

    Example: authface photos embed
    """
    from annotation.team import forms
    from authface.prompts import question_prompts
    from curation.embed import embed_table, open_embedder
    from data_manifests.store import Store

    place, settings = open_workspace(workspace)
    config = settings.ingest.embed
    embedder = open_embedder(config)
    stream = embed_table(
        Store(place.tables),
        media=place.media,
        embedder=embedder,
        prompts=question_prompts(forms(settings.annotate, place.root)["triage"]),
        config=config,
    )
    made = sum(1 for _ in console.track(stream, label="embed"))
    console.done(f"{made} photos embedded with {embedder.name}")


@app.command()
def fetch(workspace: WorkspaceOption = None) -> None:
    """Bring crops, tiles and proxies that lie at [ingest] media_url and are missing here.

    Example: authface photos fetch
    """
    from curation.remote import fetch_media
    from data_manifests.errors import ConfigError

    place, settings = open_workspace(workspace)
    url = settings.ingest.media_url
    if url is None:
        raise ConfigError("No media_url is set.", "Set [ingest] media_url = 's3://bucket/folder'.")
    rows, faces = _read(workspace, None)
    shown = [n for p in rows for n in (p.proxy_path, p.thumb_path) if n]
    names = [*shown, *(c.path for f in faces for c in f.crops)]
    stream = console.track(fetch_media(url, place.media, names), label="fetch")
    console.done(f"{sum(1 for _ in stream)} of {len(names)} pictures fetched from {url}")


@faces_app.command("list")
def list_faces(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the faces: photo, size, pose, finder, crops and tiles.

    Example: authface faces list
    """
    rows, faces = _read(workspace, None)
    names = {p.photo_id: Path(p.path).name for p in rows}
    ordered = sorted(faces, key=lambda f: (names[f.photo_id], f.index))
    if as_json:
        for face in ordered:
            console.data(_face_told(face, names[face.photo_id]))
        return
    body = [tuple(_face_told(f, names[f.photo_id]).values()) for f in ordered]
    console.table(
        "Faces", ("photo", "face", "width", "eyes apart", "yaw", "crops", "tiles", "finder"), body
    )


@faces_app.command()
def identify(workspace: WorkspaceOption = None) -> None:
    """Group the faces of one person, where each consent allows identity_embedding.

    Off unless [ingest.identity] enabled = true. The vectors are not kept.

    Example: authface faces identify
    """
    from curation.identity import identify as group
    from data_manifests.errors import ConfigError
    from data_manifests.store import Store

    place, settings = open_workspace(workspace)
    if not settings.ingest.identity.enabled:
        raise ConfigError(
            "Grouping faces by person is off.",
            "Set [ingest.identity] enabled = true; each photo's consent must cover "
            "identity_embedding.",
        )
    told = group(Store(place.tables), media=place.media, config=settings.ingest.identity)
    console.done(told.text())


def _read(workspace: Path | None, state: str | None) -> tuple[list[Photo], list[Face]]:
    from data_manifests.errors import ConfigError
    from data_manifests.records import Face, Photo
    from data_manifests.store import Store

    if state is not None and state not in STATES:
        raise ConfigError(f"There is no state {state!r}.", f"Known are: {', '.join(STATES)}.")
    place, _ = open_workspace(workspace)
    store = Store(place.tables)
    rows = sorted((p for p in store.read(Photo) if state in (None, p.state)), key=lambda p: p.path)
    wanted = {p.photo_id for p in rows}
    return rows, [f for f in store.read(Face) if f.photo_id in wanted]


def _list_json(rows: Sequence[Photo], faces: Counter[str]) -> None:
    for photo in rows:
        console.data(
            {
                "path": photo.path,
                "photo_id": photo.photo_id,
                "state": photo.state,
                "reasons": list(photo.reasons),
                "width": photo.width,
                "height": photo.height,
                "faces": faces[photo.photo_id],
                "values": {v.gate: v.value for v in photo.verdicts},
            }
        )


def _face_told(face: Face, name: str) -> dict[str, object]:
    tiles = sum(c.kind == "tile" for c in face.crops)
    return {
        "photo": name,
        "face": face.index,
        "width": round(face.box.width),
        "eye_distance": round(face.eye_distance) if face.eye_distance else "-",
        "yaw": f"{face.pose.yaw:.2f}" if face.pose else "-",
        "crops": len(face.crops) - tiles,
        "tiles": tiles,
        "finder": face.finder,
    }


def _size(photo: Photo) -> str:
    return f"{photo.width} x {photo.height}" if photo.width else "-"
