"""Files of one shot: a RAW, the camera's JPEG, the edit of it and what was exported from them.

They lie in one folder, their names differ in what programs append, and where two of them say when
and with which camera they were taken, they say the same: cameras use their numbers again.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curation.formats import RAW_SUFFIXES
from curation.xmp import EDITED
from data_manifests.records import Photo

__all__ = ["Shot", "find_shots", "standing_order"]

_SAME_TIME_S = 2.0  # some formats round to even seconds, some programs to whole ones

# What programs append when they edit or export. Never -HDR or -Pano: those are made of many shots.
_EDIT = re.compile(
    r"""[-_\s](?:
        edit(?:ed)?(?:-\d{1,2})?            # Lightroom, phones
      | retouch(?:ed)? | final | bw         # by hand
      | enhanced(?:-nr|-rd|-sr)*            # Lightroom's denoising and super resolution
      | dxo(?:[-_\s][a-z0-9]+)*             # DxO PhotoLab and PureRAW
      | topaz(?:[-_\s][a-z0-9]+)* | (?:denoise|sharpen|gigapixel)[-_\s]?ai(?:[-_\s][a-z0-9.]+)*
    )$""",
    re.VERBOSE,
)
_EXPORT = re.compile(
    r"""[-_\s](?:
        (?:-\s)?(?:copy|kopie|copie|copia)(?:[\s-]?\(?\d{1,2}\)?)?    # Photoshop, Windows, macOS
      | export(?:ed)? | srgb | web | print | low-?res | hi-?res | full-?res
    )$""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"(?:[-_\s]\d{1,2}|\s?\(\d{1,3}\))$")
_UPSCALED = re.compile(r"enhanced(?:-nr|-rd)*-sr|gigapixel")


@dataclass(frozen=True, slots=True)
class Shot:
    """Two files or more of one shot, by path."""

    shot_id: str
    members: tuple[Photo, ...]


@dataclass(frozen=True, slots=True)
class _Name:
    """A path cut down: `stem` without what programs append, `base` without numbers too."""

    folder: str
    stem: str
    base: str


def find_shots(photos: Iterable[Photo]) -> list[Shot]:
    """The shots of two files or more, by identity; a photo is in one of them at most.

    A number at the end (IMG_1-2, IMG_1 (1)) is a copy's number only if a file without it was taken
    at the same moment: series and downloads are numbered the same way.
    """
    by_base: dict[tuple[str, str], dict[str, list[Photo]]] = {}
    for photo in photos:
        name = _name(photo.path)
        stems = by_base.setdefault((name.folder, name.base), {})
        stems.setdefault(name.stem, []).append(photo)
    found = []
    for (folder, base), stems in by_base.items():
        if len(stems) > 1 or any(len(same) > 1 for same in stems.values()):
            found += [_shot(folder, base, c) for c in _clusters(base, stems) if len(c) > 1]
    return sorted(found, key=lambda shot: shot.shot_id)


def standing_order(photo: Photo, shot: Shot) -> tuple[int, int, int, str]:
    """Sorts first what stands for the shot: what the photographer made last, in its best form.

    A 16-bit TIFF or a PSD; then an export, where name or sidecar say that the shot was edited; then
    the RAW; then the camera's JPEG. An upscaled file comes last whatever it is.
    """
    stem = _plain_stem(photo.path)
    edited = any(m.format == "RAW" and EDITED in m.notes for m in shot.members)
    if _UPSCALED.search(stem):
        rank = 4
    elif photo.format == "PSD" or (photo.format == "TIFF" and photo.bit_depth >= 16):
        rank = 0
    elif photo.format == "RAW":
        rank = 2
    else:
        rank = 1 if edited or _strip(stem, _EXPORT) != _strip(stem, _EXPORT, _EDIT) else 3
    return rank, -photo.width * photo.height, -photo.bit_depth, photo.path


def _name(path: str) -> _Name:
    stem = _strip(_plain_stem(path), _EDIT, _EXPORT)
    without = _NUMBER.sub("", stem)
    base = stem if without in (stem, "") else _strip(without, _EDIT, _EXPORT, _NUMBER)
    return _Name(path.rpartition("/")[0], stem, base)


def _plain_stem(path: str) -> str:
    """The name in lower case without its suffix, and without a RAW's before it (IMG.NEF.jpg)."""
    stem = _without_suffix(path.rpartition("/")[2].casefold())
    inner = _without_suffix(stem)
    return inner if stem[len(inner) :] in RAW_SUFFIXES else stem


def _without_suffix(name: str) -> str:
    # PurePath.stem does the same and takes as long as all the rest of settling.
    stem, _, _ = name.rpartition(".")
    return stem or name


def _strip(stem: str, *marks: re.Pattern[str]) -> str:
    """The stem without any of the marks at its end, as often as they come; never empty."""
    while True:
        shorter = next((s for m in marks if (s := m.sub("", stem)) and s != stem), None)
        if shorter is None:
            return stem
        stem = shorter


def _clusters(base: str, stems: dict[str, list[Photo]]) -> list[list[Photo]]:
    """The photos of one base name by shot."""
    plain = _agreeing(stems.get(base, []))
    numbered = [c for stem in sorted(stems) if stem != base for c in _agreeing(stems[stem])]
    alone = []
    for cluster in numbered:
        homes = [c for c in plain if _agree(c, cluster) and _same_moment(c, cluster)]
        if len(homes) == 1:
            homes[0].extend(cluster)
        else:
            alone.append(cluster)
    return plain + alone


def _agreeing(photos: Sequence[Photo]) -> list[list[Photo]]:
    """The photos of one stem in groups that do not contradict each other.

    What says least comes last, and where it fits several groups it stays alone.
    """
    clusters: list[list[Photo]] = []
    for photo in sorted(photos, key=_telling):
        homes = [c for c in clusters if _agree(c, [photo])]
        if len(homes) == 1:
            homes[0].append(photo)
        else:
            clusters.append([photo])
    return clusters


def _telling(photo: Photo) -> tuple[bool, bool, str, str, str]:
    taken, camera = _taken(photo), _camera(photo)
    return taken is None, camera is None, str(taken or ""), photo.path, photo.photo_id


def _agree(some: Sequence[Photo], others: Sequence[Photo]) -> bool:
    return not any(_contradict(a, b) for a in some for b in others)


def _contradict(one: Photo, other: Photo) -> bool:
    first, second = _taken(one), _taken(other)
    if first is not None and second is not None and abs(first - second) > _SAME_TIME_S:
        return True
    cameras = {_camera(one), _camera(other)} - {None}
    return len(cameras) > 1


def _same_moment(some: Sequence[Photo], others: Sequence[Photo]) -> bool:
    """True if both groups say when they were taken; that they agree is known."""
    return all(any(_taken(p) is not None for p in group) for group in (some, others))


def _taken(photo: Photo) -> float | None:
    when = photo.capture.taken_at if photo.capture else None
    return None if when is None else when.timestamp()


def _camera(photo: Photo) -> str | None:
    camera = photo.capture.camera if photo.capture else None
    return camera.casefold() if camera else None


def _shot(folder: str, base: str, members: Sequence[Photo]) -> Shot:
    moments: dict[str, list[float]] = defaultdict(list)
    for photo in members:
        if (taken := _taken(photo)) is not None:
            moments["taken"].append(taken)
    cameras = sorted(c for p in members if (c := _camera(p)))
    when = str(int(min(moments["taken"]))) if moments["taken"] else ""
    key = "\n".join(("shot", folder, base, when, cameras[0] if cameras else ""))
    ordered = tuple(sorted(members, key=lambda p: (p.path, p.photo_id)))
    return Shot(hashlib.sha256(key.encode()).hexdigest()[:32], ordered)
