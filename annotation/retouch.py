"""Take retouched files back from a hot folder: match, check, copy by hash, ask for a review.

Reads the folder, which is never written, and writes media/ and the tables. A file that is not taken
stays where it is, with its reason; taking it again changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.comparison import compare, review_task
from annotation.retouch_checks import Checked, Find, Pair, check
from annotation.retouch_config import RetouchConfig
from annotation.retouch_match import FileSays, Match, NoMatch, Seen, match, read_ids
from annotation.retouch_pixels import Pixels
from annotation.standing import move, standings
from data_manifests.errors import AuthFaceError, InputError, UnreadablePhoto
from data_manifests.media import write_media, write_pieces
from data_manifests.records import (
    LANDMARK_NAMES,
    Capture,
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

__all__ = ["Apart", "Picture", "Taken", "Tools", "returned_files", "take_back"]

Stamp = tuple[int, int]  # size in bytes, time of change in ns

_NOT_YET = re.compile(
    r"^\._|^\.|~$|^~|\.(tmp|temp|part|partial|crdownload|xmp|lock|ini|db)$|^Photoshop Temp",
    re.IGNORECASE,
)
_BLOCK = 1 << 20
_PACKET = (b"<x:xmpmeta", b"</x:xmpmeta>")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded file: upright 8-bit sRGB pixels, what it says, and `whole` for whoever cuts it."""

    pixels_HWC: Pixels
    bit_depth: int
    capture: Capture | None
    whole: Any = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What other parts do for us. `cut` gives (file's bytes, suffix, bits) of an aligned square
    from a decoded file, a 2x3 matrix from its pixels and the square's side in px."""

    read: Callable[[Path], Picture]
    cut: Callable[[Picture, NDArray[np.float64], int], tuple[bytes, str, int]]
    hash_pixels: Callable[[Pixels], str]
    find: Find | None = None
    likeness: Callable[[Pixels, Pixels], float | None] | None = None


@dataclass(frozen=True, slots=True)
class Apart:
    """A file that was not taken, and why; it stays where it is."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What a look into the folder gave; `already` files were taken at an earlier one."""

    retouches: tuple[Retouch, ...] = ()
    apart: tuple[Apart, ...] = ()
    already: int = 0
    unsettled: tuple[Path, ...] = ()


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
    fresh: list[Retouch] = field(default_factory=list)
    asked: list[Task] = field(default_factory=list)


def returned_files(folder: Path) -> Iterator[Path]:
    """Files of the folder that may be returned work, oldest first; temporary ones are passed over.

    Raises InputError if it is no folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder.", "Name the folder the retoucher saves into.")
    found = [
        Path(here) / name
        for here, folders, names in os.walk(folder)
        for name in names
        if not _NOT_YET.search(name) and not any(p.startswith(".") for p in Path(here).parts[1:])
    ]
    plain = [p for p in found if p.is_file() and not p.is_symlink()]
    return iter(sorted(plain, key=lambda p: (p.stat().st_mtime_ns, str(p))))


def take_back(
    store: Store,
    media: Path,
    folder: Path,
    tools: Tools,
    *,
    config: RetouchConfig,
    dry_run: bool = False,
) -> Taken:
    """Take every file of the folder that has settled; what fails a check is taken as `fix`."""
    before = {p: _stamp(p) for p in returned_files(folder)}
    if before and config.settle_s:
        time.sleep(config.settle_s)
    desk = _desk(store, media, tools, config, datetime.now(UTC))
    known = {r.retouch_id for r in desk.retouches}
    apart: list[Apart] = []
    unsettled: list[Path] = []
    already = 0
    for path, stamp in before.items():
        sha256 = _settled_hash(path, stamp)
        if sha256 is None:
            unsettled.append(path)
        elif sha256 in known:
            already += 1
        else:
            reason = _take(desk, path, sha256, dry_run)
            known |= set() if reason else {sha256}
            apart += [Apart(path, reason)] if reason else []
    if not dry_run:
        _commit(store, desk)
    return Taken(tuple(desk.fresh), tuple(apart), already, tuple(unsettled))


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
        stands = desk.standing.get(photo.photo_id)
        if stands is None or face is None:
            return "its photo was set aside, or has no face that was found"
        move(stands, "review", by="retoucher", why="a file came back", now=desk.now)
        source = desk.tools.read(Path(photo.path))
    except UnreadablePhoto as error:
        return f"a picture can't be read: {error}"
    except AuthFaceError as error:
        return str(error)
    checked = check(_pair(desk, source, picture, face), desk.config)
    row = _row(desk, path, sha256, found, checked, picture)
    if not dry_run:
        if not _copied(path, desk.media, sha256):
            return "it changed while it was read; it is taken at the next look"
        row = _with_pictures(desk, row, (source, picture), face, checked)
    desk.fresh.append(row)
    desk.retouches.append(row)
    return ""


def _matched(desk: _Desk, path: Path, sha256: str, picture: Picture) -> Match | NoMatch:
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
    drawn = (r for r in (said.regions if said else ()) if r.box and r.priority != "keep_as_is")
    asked = tuple(
        r.box
        for r in drawn
        if r.box and not r.label.endswith("_face") and r.label not in LANDMARK_NAMES
    )
    tools = desk.tools
    return Pair(source.pixels_HWC, picture.pixels_HWC, face.box, asked, tools.find, tools.likeness)


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
        path=_media_path(sha256, path),
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
    store.upsert(Retouch, desk.fresh, why="retouched files taken back")
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


def packet_of(path: Path) -> bytes:
    """The first XMP packet in a file's bytes, empty if it has none or can't be read."""
    import mmap

    with (
        contextlib.suppress(OSError, ValueError),
        path.open("rb") as handle,
        mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        start = data.find(_PACKET[0])
        end = data.find(_PACKET[1], start) if start >= 0 else -1
        return bytes(data[start : end + len(_PACKET[1])]) if end >= 0 else b""
    return b""


def _settled_hash(path: Path, stamp: Stamp | None) -> str | None:
    """The SHA-256 of a file read to its last byte, none if it changed or is changing."""
    if stamp is None or not stamp[0] or _stamp(path) != stamp:
        return None
    with contextlib.suppress(OSError):
        digest = hashlib.sha256()
        size = 0
        for block in _blocks(path):
            digest.update(block)
            size += len(block)
        return digest.hexdigest() if size == stamp[0] and _stamp(path) == stamp else None
    return None


def _copied(path: Path, media: Path, sha256: str) -> bool:
    """Copy into media/ by hash; false, and nothing left, if the bytes are others by now."""
    target = media / _media_path(sha256, path)
    if not target.exists():
        digest = hashlib.sha256()

        def pieces() -> Iterable[bytes]:
            for block in _blocks(path):
                digest.update(block)
                yield block

        write_pieces(target, pieces())
        if digest.hexdigest() != sha256:
            target.unlink()
            return False
    return True


def _media_path(sha256: str, path: Path) -> str:
    suffix = re.sub(r"\W", "", path.suffix.lower()) or "bin"
    return f"retouches/{sha256[:2]}/{sha256}.{suffix}"


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            yield block


def _stamp(path: Path) -> Stamp | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns
