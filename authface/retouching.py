"""Commands for the retoucher: what waits, and taking back what was saved into the hot folder."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from annotation.retouch_tools import Taken, Tools
    from authface.sections import Settings
    from data_manifests.records import Retouch
    from data_manifests.store import Store

__all__ = ["retouch_list", "take_back"]


def take_back(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder the retoucher saves into, or one file of it; only read."),
    ],
    workspace: WorkspaceOption = None,
    photo: Annotated[
        str | None,
        typer.Option(help="Id of the photo that the one file belongs to, or its beginning."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again until Ctrl-C.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Match and check, and write nothing.")
    ] = False,
) -> None:
    """Match retouched files to their photos, check them, and ask for a review of those that pass.

    Exit code 3: some files were kept apart; they stay where they are. Where it can't tell which
    photo a file belongs to, name it with --photo.

    Example: authface annotate take-back /shares/retouched
    """
    from annotation.retouch import take_back as take
    from annotation.retouch_files import HotFolder
    from data_manifests.errors import InputError
    from data_manifests.store import Store

    space, settings = open_workspace(workspace)
    config, store = settings.retouch, Store(space.tables)
    told: set[str] = set()
    if photo is not None and folder.is_dir():
        raise InputError(
            f"--photo names one photo, and {folder} is a folder.",
            "Name the file that belongs to it.",
        )
    hot = HotFolder(folder, photo)
    with _tools(settings, store) as tools:

        def look() -> Taken:
            taken = take(store, space.media, hot, tools, config=config, dry_run=dry_run)
            _say(taken, told, quiet=watch, dry_run=dry_run)
            return taken

        if watch:
            _look_again(look, config.poll_s)
        elif look().apart:
            raise typer.Exit(console.PARTIAL)


def _look_again(look: Callable[[], Taken], every_s: float) -> None:
    """Until Ctrl-C; a look that it breaks off has written nothing, and the next one finds all."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as a service is ended
    try:
        while True:
            look()
            time.sleep(every_s)
    except KeyboardInterrupt:
        console.done("Stopped watching.")


def retouch_list(workspace: WorkspaceOption = None) -> None:
    """Show what waits for the retoucher: the photo, what to do, and the name to save it under.

    Example: authface annotate retouch-list
    """
    from annotation.retouch_match import export_name
    from annotation.standing import standings
    from data_manifests.records import Annotation, Consensus, Photo, Retouch, Standing, Task
    from data_manifests.store import Store

    space, _ = open_workspace(workspace)
    store = Store(space.tables)
    photos = {p.photo_id: p for p in store.read(Photo)}
    settled = {c.photo_id: c for c in store.read(Consensus)}
    notes: dict[str, list[str]] = {}
    for answer in store.read(Annotation):
        if answer.state == "counted" and answer.note and answer.decision == "retouch":
            notes.setdefault(answer.photo_id, []).append(answer.note)
    stands = standings(
        photos.values(),
        settled.values(),
        store.read(Retouch),
        store.read(Task),
        earlier=store.read(Standing),
        now=datetime.now(UTC),
    )
    rows = [
        (
            photos[s.photo_id].path,
            s.round,
            _wanted(s, settled.get(s.photo_id), notes.get(s.photo_id, [])),
            export_name(s.photo_id, s.round),
        )
        for s in stands
        if s.state == "retouch" and s.photo_id in photos
    ]
    if not rows:
        console.say("Nothing waits for the retoucher.")
        return
    console.table("For the retoucher", ("photo", "round", "what to do", "save it as"), rows)


def _wanted(standing: Any, said: Any, notes: list[str]) -> str:
    regions = [
        f"{r.label}{f' ({r.note})' if r.note else ''}"
        for r in (said.regions if said else ())
        if not r.label.endswith("_face") and r.point is None
    ]
    back = [standing.why] if standing.round > 1 else []
    return "; ".join([*back, *regions, *notes]) or standing.why


def _say(taken: Taken, told: set[str], *, quiet: bool, dry_run: bool) -> None:
    for row in (*taken.retired, *taken.retouches):
        _say_row(row)
    lines = [f"{one.path.name}: kept apart: {one.reason}" for one in taken.apart]
    lines += [
        f"{path.name}: still being written; it is taken at the next look"
        for path in taken.unsettled
    ]
    for line in lines:
        if line not in told:
            told.add(line)
            console.note(line)
    good = sum(r.state == "waiting" for r in taken.retouches)
    back = sum(r.state == "fix" for r in taken.retouches)
    if not quiet or taken.retouches:
        console.say(
            f"{'Would take' if dry_run else 'Took'} {len(taken.retouches)}: {good} to review, "
            f"{back} {'goes' if back == 1 else 'go'} back; {taken.already} were taken before, "
            f"{len(taken.apart)} kept apart."
        )
    _say_unmeasured(taken)


def _say_row(row: Retouch) -> None:
    from annotation.comparison import warnings

    name = row.verdicts[0].reason.removeprefix("came back as ")
    head = f"{name} -> photo {row.photo_id[:12]} by {row.match_method}, round {row.round}"
    if row.state == "waiting":
        warned = "".join(f"; the reviewer is told: {w}" for w in warnings(row))
        console.done(f"{head}: passes, waits for a review{warned}")
    elif row.state == "superseded":
        console.note(f"{head}: passed, but {row.reasons[0]}")
    else:
        console.note(f"{head}: goes back: {'; '.join(row.reasons)}")


def _say_unmeasured(taken: Taken) -> None:
    """Files whose identity was not measured, counted by the reason."""
    verdicts = (v for r in taken.retouches for v in r.verdicts)
    reasons = Counter(v.reason for v in verdicts if v.gate == "identity" and v.value is None)
    for why, count in reasons.items():
        console.note(f"In {count} of them {why}. Only the shift of landmarks tells.")


@contextmanager
def _tools(settings: Settings, store: Store) -> Iterator[Tools]:
    from annotation.retouch_tools import Picture, Tools
    from authface.likeness import open_likeness
    from curation.colour import pyramid, to_deep_srgb, to_srgb
    from curation.crops import warp
    from curation.duplicates import perceptual_hash
    from curation.faces import open_finder
    from curation.lossless import encode_lossless
    from curation.sandbox import Sandbox

    finder = open_finder(settings.ingest.faces)
    wanted = settings.ingest.crops

    def cut(picture: Picture, matrix_23: Any, size: int) -> tuple[bytes, str, int]:
        decoded = picture.whole
        square = warp(pyramid(decoded.pixels_HWC, 512), matrix_23, size)
        deep = square.dtype.itemsize == 2 and wanted.deep
        icc = decoded.facts.icc
        srgb = to_deep_srgb(square, icc) if deep else to_srgb(square, icc)
        return *encode_lossless(srgb, wanted.codec), 16 if deep else 8

    def landmarks(pixels_HWC: Any) -> Any:
        faces = finder(pixels_HWC)
        return faces[0].landmarks if faces else ()

    with Sandbox(settings.ingest.decoder) as sandbox:

        def read(path: Path) -> Picture:
            decoded = sandbox.read(path)
            facts = decoded.facts
            shown = to_srgb(decoded.pixels_HWC, facts.icc)
            return Picture(shown, facts.bit_depth, facts.capture, decoded)

        find = landmarks if finder.has_landmarks else None
        likeness = open_likeness(store, settings.ingest.identity)
        yield Tools(read, cut, perceptual_hash, find, likeness)
