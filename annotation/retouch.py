"""Take retouched files back from a hot folder: match, check, copy by hash, ask for a review.

Reads the folder, which is never written, and writes media/ and the tables. A file that is not taken
stays where it is, with its reason; taking it again changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotation.comparison import compare, review_task, superseded
from annotation.ledger import one_at_a_time
from annotation.retouch_checks import Checked, Pair, check, unmeasured
from annotation.retouch_config import RetouchConfig
from annotation.retouch_files import (
    HotFolder,
    copied,
    media_path,
    packet_of,
)
from annotation.retouch_match import (
    GUESSES,
    FileSays,
    Match,
    NoMatch,
    Seen,
    contradicted,
    match,
    named_round,
    read_ids,
)
from annotation.retouch_pixels import Pixels
from annotation.retouch_tools import Apart, Picture, Taken, Tools
from annotation.retouch_wishes import wishes
from annotation.standing import move, standings
from data_manifests.errors import AuthFaceError, InputError, UnreadablePhoto
from data_manifests.media import write_media
from data_manifests.records import (
    Consensus,
    Crop,
    Face,
    Photo,
    Retouch,
    Standing,
    Task,
    Verdict,
)
from data_manifests.store import Store

__all__ = ["Apart", "Picture", "Taken", "Tools", "take_back"]


_FOR_NOW = "for now, "  # such a reason is not remembered: the next look tries again


@dataclass(slots=True)
class _Desk:
    """The tables as far as a take needs them; rows are added as files are taken."""

    media: Path
    tools: Tools
    config: RetouchConfig
    photos: dict[str, Photo]
    faces: dict[str, Face]
    settled: dict[str, Consensus]
    standing: dict[str, Standing]
    retouches: list[Retouch]
    tasks: list[Task]
    now: datetime
    named: Photo | None = None  # by a person, for every file
    fresh: list[Retouch] = field(default_factory=list)
    asked: list[Task] = field(default_factory=list)
    retired: list[Retouch] = field(default_factory=list)


def take_back(
    store: Store,
    media: Path,
    hot: HotFolder,
    tools: Tools,
    *,
    config: RetouchConfig,
    dry_run: bool = False,
) -> Taken:
    """Take every file of the folder that has settled; what fails a check is taken as `fix`.

    One take-back, push or pull of the workspace runs at a time.
    """
    before = hot.look()
    if config.settle_s and any(not hot.knows(p, stamp) for p, stamp in before.items()):
        time.sleep(config.settle_s)
    hashed = {p: hot.hash_of(p, stamp) for p, stamp in before.items()}
    with one_at_a_time(store):
        desk = _desk(store, media, tools, config, datetime.now(UTC))
        desk.named = _named(desk, hot.photo)
        hot.forget_unless(tuple(store.version(noun) for noun in (Photo, Face, Consensus)))
        apart, already = _take_all(desk, hot, hashed, dry_run)
        if not dry_run:
            _commit(store, desk)
    apart += [Apart(p, f"{_FOR_NOW}it can't be opened: {why}") for p, why in hot.locked.items()]
    unsettled = tuple(p for p, sha in hashed.items() if sha is None and p not in hot.locked)
    fresh = {r.retouch_id for r in desk.fresh}
    retired = tuple(r for r in desk.retired if r.retouch_id not in fresh)
    return Taken(tuple(desk.fresh), tuple(apart), already, unsettled, retired)


def _named(desk: _Desk, photo: str | None) -> Photo | None:
    """The photo that a person named; raises InputError if there is not exactly one."""
    if photo is None:
        return None
    found = [p for i, p in desk.photos.items() if i.startswith(photo.lower())]
    if len(found) != 1:
        raise InputError(
            f"{len(found) or 'No'} photos have an id that begins with {photo!r}.",
            "Give more of it, as `authface photos list --json` shows it.",
        )
    return found[0]


def _take_all(
    desk: _Desk, hot: HotFolder, hashed: Mapping[Path, str | None], dry_run: bool
) -> tuple[list[Apart], int]:
    """(files kept apart, how many were taken before)."""
    known = {r.retouch_id: r.photo_id for r in desk.retouches}
    apart: list[Apart] = []
    already = 0
    for path, sha256 in hashed.items():
        if sha256 is None:
            continue
        reason = _elsewhere(desk, known.get(sha256))
        if sha256 in known and not reason:
            already += 1
            continue
        reason = reason or hot.apart.get(sha256) or _take(desk, path, sha256, dry_run)
        if reason:
            if not reason.startswith(_FOR_NOW):
                hot.apart[sha256] = reason
            apart.append(Apart(path, reason))
        else:
            known[sha256] = desk.fresh[-1].photo_id
    return apart, already


def _elsewhere(desk: _Desk, photo_id: str | None) -> str:
    """Why a file that was taken before is not taken for the photo that a person names now."""
    if photo_id is None or desk.named is None or desk.named.photo_id == photo_id:
        return ""
    return f"it was taken for the photo {photo_id[:12]} before"


def _desk(store: Store, media: Path, tools: Tools, config: RetouchConfig, now: datetime) -> _Desk:
    photos, settled = store.read(Photo), store.read(Consensus)
    retouches, tasks = store.read(Retouch), store.read(Task)
    stands = standings(photos, settled, retouches, tasks, earlier=store.read(Standing), now=now)
    return _Desk(
        media,
        tools,
        config,
        {p.photo_id: p for p in photos},
        {f.photo_id: f for f in store.read(Face) if f.index == 0},
        {c.photo_id: c for c in settled},
        {s.photo_id: s for s in stands},
        list(retouches),
        list(tasks),
        now,
    )


def _take(desk: _Desk, path: Path, sha256: str, dry_run: bool) -> str:
    """Why the file is kept apart, empty if it was taken."""
    try:
        picture = desk.tools.read(path)
        found = _matched(desk, path, sha256, picture)
        if isinstance(found, NoMatch):
            return found.reason
        photo, face = found.photo, desk.faces.get(found.photo.photo_id)
        why = _not_now(desk, path, photo.photo_id)
        if why or face is None:
            return why or "no face was found in its photo"
        source = _original(desk, photo)
    except AuthFaceError as error:
        unread = "a picture can't be read: " if isinstance(error, UnreadablePhoto) else ""
        return f"{unread}{error}"
    checked = check(_pair(desk, source, picture, face), desk.config)
    if checked.registration is None and found.method in GUESSES:
        return contradicted(found, checked.verdicts[0].reason)
    row = _row(desk, path, sha256, found, checked, picture)
    if not dry_run:
        if not copied(path, desk.media, sha256):
            return f"{_FOR_NOW}it changed while it was read; it is taken at the next look"
        row = _with_pictures(desk, row, (source, picture), face, checked)
    _supersede(desk, row)
    desk.fresh.append(row)
    desk.retouches.append(row)
    return ""


def _original(desk: _Desk, photo: Photo) -> Picture:
    try:
        return desk.tools.read(Path(photo.path))
    except UnreadablePhoto as error:
        wrong = f"{_FOR_NOW}its original can't be read: {error}"
        raise InputError(wrong, "Is its drive there?") from error


def _not_now(desk: _Desk, path: Path, photo_id: str) -> str:
    """Why nothing is taken for the photo now; raises InputError where the retoucher has no say."""
    stands = desk.standing.get(photo_id)
    if stands is None:
        return "its photo was set aside"
    move(stands, "review", by="retoucher", why="a file came back", now=desk.now)
    return _late(desk, path, photo_id)


def _late(desk: _Desk, path: Path, photo_id: str) -> str:
    """Why a version is too old to be taken: a newer one came back before."""
    version = named_round(path.name)
    came = [
        named_round(r.verdicts[0].reason)
        for r in desk.retouches
        if r.photo_id == photo_id and r.verdicts
    ]
    newest = max((v for v in came if v is not None), default=None)
    if version is None or newest is None or version >= newest:
        return ""
    return f"it is version {version}, and version {newest} came back before"


def _supersede(desk: _Desk, row: Retouch) -> None:
    """Earlier files of the photo that wait for their review are withdrawn: this one counts."""
    tasks = {t.task_key: t for t in (*desk.tasks, *desk.asked)}
    older = [r for r in desk.retouches if r.photo_id == row.photo_id and r.state == "waiting"]
    for one in older:
        retired, withdrawn = superseded(one, row, tasks.values())
        desk.retouches[desk.retouches.index(one)] = retired
        desk.fresh = [retired if r.retouch_id == one.retouch_id else r for r in desk.fresh]
        desk.retired.append(retired)
        keys = {t.task_key for t in withdrawn}
        desk.tasks = [t for t in desk.tasks if t.task_key not in keys] + withdrawn
        desk.asked = [t for t in desk.asked if t.task_key not in keys] + withdrawn


def _matched(desk: _Desk, path: Path, sha256: str, picture: Picture) -> Match | NoMatch:
    if desk.named is not None and sha256 not in desk.photos:
        return Match(desk.named, "person", 1.0)
    ours, own, origin = read_ids(packet_of(path))
    says = FileSays(path.name, sha256, ours, own | origin, picture.capture)
    photos = list(desk.photos.values())

    def documents() -> dict[str, frozenset[str]]:
        return {p.photo_id: read_ids(packet_of(Path(p.path)))[1] for p in photos}

    def seen() -> Seen:
        hashed = desk.tools.hash_pixels(picture.pixels_HWC)
        return Seen(picture.pixels_HWC, hashed, lambda i: _proxy(desk, i))

    return match(says, photos, documents=documents, seen=seen, config=desk.config)


def _proxy(desk: _Desk, photo_id: str) -> Pixels | None:
    from PIL import Image

    proxy = desk.media / (desk.photos[photo_id].proxy_path or "")
    if not proxy.is_file():
        return None
    with Image.open(proxy) as image:
        return np.asarray(image.convert("RGB"))


def _pair(desk: _Desk, source: Picture, picture: Picture, face: Face) -> Pair:
    said = desk.settled.get(face.photo_id)
    asked, keep_HW = wishes(said.regions if said else (), source.pixels_HWC.shape, desk.media)
    tools = desk.tools
    return Pair(
        source.pixels_HWC,
        picture.pixels_HWC,
        face.box,
        asked,
        find=tools.find,
        landmarks=face.landmarks,
        likeness=tools.likeness(desk.photos[face.photo_id]) if tools.likeness else unmeasured,
        bits=(source.bit_depth, picture.bit_depth),
        keep_HW=keep_HW,
    )


def _row(
    desk: _Desk, path: Path, sha256: str, found: Match, checked: Checked, picture: Picture
) -> Retouch:
    photo_id = found.photo.photo_id
    earlier = [r.round for r in desk.retouches if r.photo_id == photo_id]
    where = Verdict(gate="found", keep=True, reason=f"came back as {path.name}")
    failed = tuple(v.reason for v in checked.verdicts if not v.keep)
    return Retouch(
        retouch_id=sha256,
        photo_id=photo_id,
        path=media_path(sha256, path),
        match_method=found.method,
        match_score=found.score,
        round=max(earlier, default=0) + 1,
        verdicts=(where, *checked.verdicts),
        state="fix" if failed else "waiting",
        reasons=failed,
        returned_at=desk.now,
        width=picture.pixels_HWC.shape[1],
        height=picture.pixels_HWC.shape[0],
        bit_depth=picture.bit_depth,
    )


def _with_pictures(
    desk: _Desk, row: Retouch, pictures: tuple[Picture, Picture], face: Face, checked: Checked
) -> Retouch:
    """With its aligned crop, and the question about it noted, where it passed."""
    source, picture = pictures
    laid = checked.registration
    if row.state != "waiting" or laid is None:
        return row
    row = replace(row, crop=_crop(desk, picture, face, laid.matrix_23))
    data, width, height = compare(
        source.pixels_HWC, _on_source(source, picture, laid.matrix_23), face.box
    )
    path, _ = write_media(desk.media, "comparisons", data, ".jpg")
    task = review_task(row, (path, width, height), (*desk.tasks, *desk.asked))
    desk.asked += [task] if task else []
    return row


def _crop(desk: _Desk, picture: Picture, face: Face, matrix_23: NDArray[np.float64]) -> Crop | None:
    """The main face's aligned crop as the photo has it, cut from the returned file."""
    own = next((c for c in face.crops if c.kind == "aligned"), None)
    if own is None:
        return None
    dx, dy = np.rint(matrix_23[:, 2])  # a known crop lies whole pixels away
    back_23 = np.array(own.matrix).reshape(2, 3)
    back_23[:, 2] -= back_23[:, :2] @ (dx, dy)
    data, suffix, bits = desk.tools.cut(picture, back_23, own.width)
    path, sha256 = write_media(desk.media, "crops", data, suffix)
    return replace(own, path=path, sha256=sha256, bit_depth=bits)


def _on_source(source: Picture, picture: Picture, matrix_23: NDArray[np.float64]) -> Pixels:
    """The returned pixels where the source has them; what a crop left out is as the source is."""
    dx, dy = (int(v) for v in np.rint(matrix_23[:, 2]))
    out = source.pixels_HWC.copy()
    height, width = picture.pixels_HWC.shape[:2]
    top, left = max(0, -dy), max(0, -dx)
    bottom, right = min(out.shape[0], height - dy), min(out.shape[1], width - dx)
    out[top:bottom, left:right] = picture.pixels_HWC[top + dy : bottom + dy, left + dx : right + dx]
    return out


def _commit(store: Store, desk: _Desk) -> None:
    rows = {r.retouch_id: r for r in (*desk.retired, *desk.fresh)}
    store.upsert(Retouch, list(rows.values()), why="retouched files taken back")
    store.upsert(Task, desk.asked, why="retouched files to review")
    stands = standings(
        desk.photos.values(),
        desk.settled.values(),
        desk.retouches,
        desk.tasks,
        earlier=store.read(Standing),
        now=desk.now,
    )
    store.upsert(Standing, stands, why="retouched files taken back")
