"""The step that looks at all photos at once: shots, equal pixels, near duplicates, bursts.

It starts from what every other gate said about each photo alone, so it can run again at any time:
in another order, or after more photos came, it says the same of the same photos. A photo that
people work on already is never set aside by one that came later.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from curation.config import GatesConfig
from curation.duplicates import unpack
from curation.looks import Grouping, Looks, Reach, Run
from curation.shots import find_shots, standing_order
from data_manifests.records import Face, Photo, Task, Verdict
from data_manifests.store import Store
from data_manifests.tombstones import erased_in, marks_held

__all__ = ["SETTLED_GATES", "Settled", "settle", "settle_tables"]

SETTLED_GATES = ("shot", "exact_duplicate", "near_duplicate", "burst")
_STEP = 1.25  # sharpness and eye distance within a quarter are taken as equal: that is noise
_BURST_BITS = 1.2  # frames of a burst move: that much further than near duplicates,
_BURST_LIKENESS = 3.0  # and that many times less like
_BURST_SPAN_S = 30.0  # from the best frame: no camera's buffer lasts longer, a timelapse does

Rank = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """What settling did: rows in all, rows changed, and how many are set aside for which gate."""

    photos: int
    changed: int
    kept: int
    shots: int
    exact_duplicates: int
    near_duplicates: int
    bursts: int

    def text(self) -> str:
        """One line for people."""
        told = (
            (self.shots, "as another file of a shot"),
            (self.exact_duplicates, "with the same pixels"),
            (self.near_duplicates, "as near duplicate"),
            (self.bursts, "as burst frame"),
        )
        found = ", ".join(f"{count} {what}" for count, what in told if count) or "no duplicate"
        return f"{self.kept} of {self.photos} photos stay; set aside: {found}"


def settle_tables(
    store: Store, config: GatesConfig, *, photos: Sequence[Photo] | None = None
) -> Settled:
    """Settle the photos of the tables and write those that change, in one commit.

    `photos` are the rows where they were read already and have not changed since.
    """
    photos = store.read(Photo) if photos is None else photos
    busy = frozenset(t.photo_id for t in store.read(Task) if t.state != "deleted")
    changed = settle(photos, eye_distance=_eye_distances(store), busy=busy, config=config)
    with marks_held(store):
        # A photo erased since its row was read must not be written back.
        erased = erased_in(store)
        changed = [p for p in changed if not erased.has(p.photo_id)]
        if changed:
            store.upsert(Photo, changed, why="settled shots, duplicates and bursts")
    now = {p.photo_id: p for p in photos} | {p.photo_id: p for p in changed}
    reasons = Counter(r for p in now.values() for r in p.reasons)
    return Settled(
        photos=len(now),
        changed=len(changed),
        kept=sum(p.state == "kept" for p in now.values()),
        shots=reasons["shot"],
        exact_duplicates=reasons["exact_duplicate"],
        near_duplicates=reasons["near_duplicate"],
        bursts=reasons["burst"],
    )


def settle(
    photos: Sequence[Photo],
    *,
    eye_distance: Mapping[str, float],
    busy: frozenset[str],
    config: GatesConfig,
) -> list[Photo]:
    """The photos whose rows change, by photo_id. Quarantined ones are left as they are.

    `eye_distance` in pixels of the main face and `busy` (has a task) go by photo_id.
    """
    judged = sorted((p for p in photos if p.state != "quarantined"), key=lambda p: p.photo_id)
    plan = _Plan([_taken_back(p) for p in judged], busy)
    _settle_shots(plan)
    seen = [p for p in plan.photos if plan.stands(p) and (p.pixel_hash or p.perceptual_hash)]
    best_first = sorted(seen, key=lambda p: _rank(p, eye_distance, busy))
    _settle_equals(plan, best_first)
    hashed = [p for p in best_first if plan.stands(p) and _comparable(p)]
    if len(hashed) > 1:
        fixed = np.array([p.photo_id in busy for p in hashed], np.bool_)
        grouping = Grouping(Looks(hashed), fixed)
        _settle_near(plan, hashed, grouping, config)
        _settle_bursts(plan, hashed, grouping, config)
    rows = zip(judged, plan.rows(), strict=True)
    return [new for old, new in rows if new is not old and new != old]


class _Plan:
    """What is to become of the photos, collected step by step."""

    def __init__(self, photos: Sequence[Photo], busy: frozenset[str]) -> None:
        self.photos = photos
        self.busy = busy
        self.shots: dict[str, str] = {}
        self.verdicts: dict[str, list[Verdict]] = defaultdict(list)
        self.instead: dict[str, str] = {}
        self._parents: dict[str, str] = {}

    def stands(self, photo: Photo) -> bool:
        """True as long as no gate set it aside."""
        return photo.state == "kept" and photo.photo_id not in self.instead

    def prefer(self, best: Photo, other: Photo, said: Verdict) -> None:
        """Set the other aside for the best, unless it is being worked on."""
        if other.photo_id in self.busy:
            why = f"kept beside {_file(best)}: people work on it already"
            said = replace(said, keep=True, reason=why)
        else:
            self.instead[other.photo_id] = best.photo_id
        self.verdicts[other.photo_id].append(said)

    def join(self, one: Photo, other: Photo) -> None:
        """Put two photos in one duplicate group."""
        first, second = sorted((self._root(one.photo_id), self._root(other.photo_id)))
        self._parents[second] = first

    def rows(self) -> Iterator[Photo]:
        """Every photo as it is to be, in the order given."""
        touched = self.verdicts.keys() | self.shots.keys() | self._parents.keys()
        for photo in self.photos:
            yield self._row(photo) if photo.photo_id in touched else photo

    def _row(self, photo: Photo) -> Photo:
        key, said = photo.photo_id, tuple(self.verdicts.get(photo.photo_id, ()))
        failed = tuple(v.gate for v in said if not v.keep)
        return replace(
            photo,
            state="set_aside" if failed else photo.state,
            reasons=photo.reasons + failed,
            verdicts=photo.verdicts + said,
            near_duplicate_of=self._kept_instead(key),
            shot_id=self.shots.get(key),
            duplicate_group=_digest("duplicates", self._root(key))
            if key in self._parents
            else None,
        )

    def _kept_instead(self, key: str) -> str | None:
        """The one that is kept in the end: the best of a group may lose in a later step."""
        found = self.instead.get(key)
        while found in self.instead:
            found = self.instead[found]
        return found

    def _root(self, key: str) -> str:
        path = [key]
        while (parent := self._parents.setdefault(path[-1], path[-1])) != path[-1]:
            path.append(parent)
        self._parents.update(dict.fromkeys(path, path[-1]))
        return path[-1]


def _settle_shots(plan: _Plan) -> None:
    for shot in find_shots(plan.photos):
        plan.shots |= {p.photo_id: shot.shot_id for p in shot.members}
        standing = [p for p in shot.members if plan.stands(p)]
        standing.sort(key=lambda p: (p.photo_id not in plan.busy, standing_order(p, shot)))
        for other in standing[1:]:
            why = f"another file of the shot that {_file(standing[0])} stands for"
            plan.prefer(standing[0], other, Verdict(gate="shot", keep=False, reason=why))


def _settle_equals(plan: _Plan, best_first: Sequence[Photo]) -> None:
    equals: dict[str, list[Photo]] = defaultdict(list)
    for photo in best_first:
        if photo.pixel_hash:
            equals[photo.pixel_hash].append(photo)
    for best, *others in equals.values():
        for other in others:
            why = f"the same pixels as {_file(best)}"
            said = Verdict(gate="exact_duplicate", value=0.0, keep=False, reason=why)
            plan.prefer(best, other, said)
            plan.join(best, other)


def _settle_near(
    plan: _Plan, photos: Sequence[Photo], grouping: Grouping, config: GatesConfig
) -> None:
    reach = Reach(config.near_duplicate_bits, config.least_likeness)
    for leader, members, apart in grouping.near(reach):
        best = photos[leader]
        for member, bits in zip(members, apart, strict=True):
            why = f"a version of {_file(best)}: {bits} of 256 hash bits differ"
            plan.prefer(best, photos[member], _measured("near_duplicate", bits, reach, why))
            plan.join(best, photos[member])


def _settle_bursts(
    plan: _Plan, photos: Sequence[Photo], grouping: Grouping, config: GatesConfig
) -> None:
    reach = Reach(
        min(round(config.near_duplicate_bits * _BURST_BITS), 256),
        1 - (1 - config.least_likeness) * _BURST_LIKENESS,
    )
    for run in _runs(plan, photos, config.burst_s):
        for leader, members, apart in grouping.within(run, _BURST_SPAN_S, reach):
            best = photos[leader]
            for member, bits in zip(members, apart, strict=True):
                why = f"burst frame; the best of {len(members) + 1} is {_file(best)}"
                plan.prefer(best, photos[member], _measured("burst", bits, reach, why))
                plan.join(best, photos[member])


def _runs(plan: _Plan, photos: Sequence[Photo], gap_s: float) -> Iterator[Run]:
    """Photos that one camera took for one photographer, none later than `gap_s` after another."""
    series: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for place, photo in enumerate(photos):
        facts = photo.capture
        camera = (facts.body_serial or facts.camera) if facts else None
        if facts and facts.taken_at and camera and plan.stands(photo):
            owner = photo.photographer or photo.path.rpartition("/")[0]
            series[camera, owner].append((facts.taken_at.timestamp(), place))
    for frames in series.values():
        frames.sort()
        cuts = [n for n, (a, b) in enumerate(pairwise(frames), 1) if b[0] - a[0] > gap_s]
        for first, last in pairwise([0, *cuts, len(frames)]):
            if last - first > 1:
                moments, places = zip(*frames[first:last], strict=True)
                yield Run(np.array(places, np.int64), np.array(moments, np.float64))


def _taken_back(photo: Photo) -> Photo:
    """The photo as the other gates left it."""
    marked = photo.near_duplicate_of or photo.shot_id or photo.duplicate_group
    ours = any(r in SETTLED_GATES for r in photo.reasons)
    if not (marked or ours or any(v.gate in SETTLED_GATES for v in photo.verdicts)):
        return photo
    reasons = tuple(r for r in photo.reasons if r not in SETTLED_GATES)
    return replace(
        photo,
        state="kept" if ours and not reasons else photo.state,
        reasons=reasons,
        verdicts=tuple(v for v in photo.verdicts if v.gate not in SETTLED_GATES),
        near_duplicate_of=None,
        shot_id=None,
        duplicate_group=None,
    )


def _rank(photo: Photo, eye_distance: Mapping[str, float], busy: frozenset[str]) -> Rank:
    """Sorts the best first: what the photographer said, then what is being worked on, then what
    shows the face best; of equals the one with most pixels, bits and bytes."""
    sharpness = next((v.value for v in photo.verdicts if v.gate == "sharpness"), None)
    return (
        -(photo.xmp_pick or 0),
        -(photo.xmp_rating or 0),
        photo.photo_id not in busy,
        -_steps(sharpness),
        -_steps(eye_distance.get(photo.photo_id)),
        -photo.width * photo.height,
        -photo.bit_depth,
        -photo.size_bytes,
        photo.path,
        photo.photo_id,
    )


def _steps(value: float | None) -> int:
    known = value is not None and math.isfinite(value)
    return round(math.log(max(value or 0.0, 1e-6), _STEP)) if known else -100


def _comparable(photo: Photo) -> bool:
    """A blank picture, whose descriptor is all zeros, is like nothing."""
    has_hash = photo.perceptual_hash is not None and len(photo.perceptual_hash) == 64
    if not has_hash or photo.descriptor is None or photo.embedding:
        return has_hash
    return bool(unpack(photo.descriptor).any())


def _measured(gate: str, bits: int, reach: Reach, why: str) -> Verdict:
    return Verdict(
        gate=gate, value=float(bits), threshold=float(reach.bits), keep=False, reason=why
    )


def _eye_distances(store: Store) -> dict[str, float]:
    """Eye distance of each photo's main face."""
    if store.version(Face) is None:
        return {}
    columns = store.table(Face).select(["photo_id", "index", "eye_distance"]).to_pydict()
    rows = zip(columns["photo_id"], columns["index"], columns["eye_distance"], strict=True)
    return {photo_id: eyes for photo_id, index, eyes in rows if index == 0 and eyes is not None}


def _file(photo: Photo) -> str:
    return photo.path.rpartition("/")[2]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
