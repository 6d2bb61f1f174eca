"""What several people drew on one photo, made one: boxes, points and painted areas.

Boxes are clustered by overlap, points are medians, painted areas are voted on pixel by pixel. A
region stands if at least half of those who could draw gave it. Pure: painted areas come and go as
boolean arrays through callables.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from annotation.questions import Form
from data_manifests.records import Agreement, Annotation, Box, Point, Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Mask_HW: TypeAlias = NDArray[np.bool_]

__all__ = ["Masks", "eye_distance", "overlap", "settle_regions", "vote_masks"]

SAME_FACE = 0.5  # overlap from which two boxes mark one thing, as in PASCAL VOC

Drawn: TypeAlias = tuple[int, Region]  # number of the person, what they drew
Settled: TypeAlias = tuple[list[Region], list[Agreement]]


@dataclass(frozen=True, slots=True)
class Masks:
    """How painted areas are read and kept: the path of a PNG below media/, and a boolean array."""

    load: Callable[[str], Mask_HW]
    save: Callable[[Mask_HW], str]


def settle_regions(
    voters: Sequence[Annotation], form: Form, masks: Masks | None = None
) -> tuple[tuple[Region, ...], list[Agreement]]:
    """The regions that at least half of the voters gave, and how near people were to them.

    Whoever answered elsewhere than in the editor, and drew nothing, could not draw: no vote. Areas
    are left out if several people painted and no `masks` are given.
    """
    able = [a for a in voters if a.regions or a.source == "label_studio"]
    drawn: dict[tuple[str, str], list[Drawn]] = defaultdict(list)
    asked = {c.value: q.name for q in form.questions if q.column == "regions" for c in q.choices}
    for person, answer in enumerate(able):
        for region in filter(_shape, answer.regions):
            drawn[asked.get(region.label, region.label), _shape(region)].append((person, region))
    place = {q.name: number for number, q in enumerate(form.questions)}
    settled: list[Region] = []
    agreements: list[Agreement] = []
    for question, shape in sorted(drawn, key=lambda k: (place.get(k[0], len(place)), k)):
        found = drawn[question, shape]
        if shape == "mask":
            regions, said = _areas(question, found, len(able), masks)
        else:
            regions, said = _SETTLE[shape](question, found, len(able))
        settled += regions
        agreements += said
    return tuple(settled), agreements


def overlap(one: Box, other: Box) -> float:
    """Area in both over area in either, 0 to 1."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (one.width * one.height + other.width * other.height - both)


def eye_distance(points: Mapping[str, Point]) -> float | None:
    """Pixels between the eyes, none if one is missing or both are at one place."""
    if not {"left_eye", "right_eye"} <= points.keys():
        return None
    return _apart(points["left_eye"], points["right_eye"]) or None


def vote_masks(masks: Sequence[Mask_HW], voters: int) -> tuple[Mask_HW, float]:
    """Pixels that at least half of the voters painted, and the mean overlap of all with them.

    Masks of one size; a voter who painted nothing counts as an overlap of 0.
    """
    import numpy as np

    votes = np.sum(np.stack(masks), axis=0, dtype=np.int32)
    settled = np.asarray(2 * votes >= voters) & (votes > 0)
    overlaps = (float((m & settled).sum() / max((m | settled).sum(), 1)) for m in masks)
    return settled, sum(overlaps) / max(voters, 1)


def _shape(region: Region) -> str:
    if region.mask_path:
        return "mask"
    return "box" if region.box else "point" if region.point else ""


def _boxes(question: str, drawn: Sequence[Drawn], voters: int) -> Settled:
    """Boxes of one thing are those that overlap; of each person at most one is in a cluster."""
    clusters = _clusters(drawn)
    merged = [_median_box([region for _, region in cluster]) for cluster in clusters]
    near = [
        sum(overlap(r.box, m.box) for _, r in cluster if r.box and m.box) / voters
        for cluster, m in zip(clusters, merged, strict=True)
    ]
    kept = [m for c, m in zip(clusters, merged, strict=True) if 2 * len(c) >= voters]
    kept.sort(key=lambda r: (r.label, r.box.left if r.box else 0.0))
    said = Agreement(
        question=question,
        value=",".join(r.label for r in kept),
        voters=len({person for person, _ in drawn}),
        share=min(statistics.fmean(near), 1.0),
        measure="iou",
    )
    return kept, [said]


def _clusters(drawn: Sequence[Drawn]) -> list[list[Drawn]]:
    order = sorted(drawn, key=lambda d: (d[0], d[1].label, _edges(d[1])))
    cluster_of = {i: {i} for i in range(len(order))}
    pairs = [
        (order[a][1].label != order[b][1].label, -_overlap_of(order[a], order[b]), a, b)
        for a, b in itertools.combinations(range(len(order)), 2)
        if _overlap_of(order[a], order[b]) >= SAME_FACE
    ]
    # The surest pairs first, of one label before those of two.
    for _, _, a, b in sorted(pairs):
        one, other = cluster_of[a], cluster_of[b]
        if {order[i][0] for i in one} & {order[i][0] for i in other}:
            continue
        joined = one | other
        cluster_of.update(dict.fromkeys(joined, joined))
    unique = {min(members): members for members in cluster_of.values()}
    return [[order[i] for i in sorted(unique[first])] for first in sorted(unique)]


def _overlap_of(one: Drawn, other: Drawn) -> float:
    a, b = one[1].box, other[1].box
    return overlap(a, b) if a and b and one[0] != other[0] else 0.0


def _edges(region: Region) -> tuple[float, ...]:
    box = region.box
    return (box.left, box.top, box.right, box.bottom) if box else ()


def _median_box(regions: Sequence[Region]) -> Region:
    edges = zip(*(_edges(r) for r in regions), strict=True)
    left, top, right, bottom = (statistics.median(edge) for edge in edges)
    return Region(
        label=_most(r.label for r in regions),
        box=Box(left=left, top=top, right=right, bottom=bottom),
        origin=_origin(regions),
        priority=_most(r.priority for r in regions if r.priority) or None,
        note="; ".join(dict.fromkeys(r.note for r in regions if r.note)) or None,
    )


def _points(question: str, drawn: Sequence[Drawn], voters: int) -> Settled:
    """The median of each label; people's mean distance from it, in parts of the eyes' distance."""
    placed: dict[str, dict[int, Region]] = defaultdict(dict)
    for person, region in drawn:
        placed[region.label].setdefault(person, region)
    kept = [
        _median_point(label, list(given.values()))
        for label, given in sorted(placed.items())
        if 2 * len(given) >= voters
    ]
    medians = {r.label: r.point for r in kept if r.point}
    eyes = eye_distance(medians)
    away = [
        min(_apart(r.point, medians[label]) / eyes, 1.0) if eyes else 0.0
        for label, given in placed.items()
        if label in medians
        for r in given.values()
        if r.point
    ]
    # Without both eyes there is no scale: then only who placed the points is compared.
    share = statistics.fmean(1 - a for a in away) if eyes else _given_share(placed, voters)
    people = len({person for person, _ in drawn})
    value = ",".join(medians)
    measure = "distance" if eyes else "share"
    said = Agreement(question=question, value=value, voters=people, share=share, measure=measure)
    return kept, [said]


def _given_share(placed: Mapping[str, Mapping[int, Region]], voters: int) -> float:
    return statistics.fmean(len(given) / voters for given in placed.values())


def _median_point(label: str, regions: Sequence[Region]) -> Region:
    points = [r.point for r in regions if r.point]
    middle = Point(
        x=statistics.median(p.x for p in points), y=statistics.median(p.y for p in points)
    )
    return Region(label=label, point=middle, origin=_origin(regions))


def _areas(question: str, drawn: Sequence[Drawn], voters: int, masks: Masks | None) -> Settled:
    settled: list[Region] = []
    overlaps: list[float] = []
    for label in sorted({region.label for _, region in drawn}):
        of_label = [d for d in drawn if d[1].label == label]
        region, share = _area(label, of_label, voters, masks)
        overlaps.append(share)
        settled += [region] if region else []
    said = Agreement(
        question=question,
        value=",".join(r.label for r in settled),
        voters=len({person for person, _ in drawn}),
        share=statistics.fmean(overlaps),
        measure="iou",
    )
    return settled, [said]


def _area(
    label: str, drawn: Sequence[Drawn], voters: int, masks: Masks | None
) -> tuple[Region | None, float]:
    if voters == 1 and len(drawn) == 1:
        return drawn[0][1], 1.0
    if masks is None or 2 * len({person for person, _ in drawn}) < voters:
        return None, 0.0
    painted = _one_size(_one_each(drawn, masks))
    area, share = vote_masks(painted, voters)
    if not area.any():
        return None, share
    regions = [region for _, region in drawn]
    priority = _most(r.priority for r in regions if r.priority) or None
    kept = Region(
        label=label, mask_path=masks.save(area), origin=_origin(regions), priority=priority
    )
    return kept, share


def _one_each(drawn: Sequence[Drawn], masks: Masks) -> list[Mask_HW]:
    """All that a person painted with a label is one mask; of two sizes the last is taken."""
    painted: dict[int, Mask_HW] = {}
    for person, region in drawn:
        mask = masks.load(region.mask_path or "")
        before = painted.get(person)
        painted[person] = mask if before is None or before.shape != mask.shape else before | mask
    return list(painted.values())


def _one_size(painted: Sequence[Mask_HW]) -> list[Mask_HW]:
    """Those of the commonest size: a mask of another was painted on another picture."""
    sizes = Counter(mask.shape for mask in painted)
    size = max(sorted(sizes), key=lambda s: sizes[s])
    return [mask for mask in painted if mask.shape == size]


def _origin(regions: Sequence[Region]) -> str:
    origins = {r.origin for r in regions}
    return origins.pop() if len(origins) == 1 else "prediction-changed"


def _most(values: Iterable[str | None]) -> str:
    counts = Counter(v for v in values if v)
    return max(sorted(counts, reverse=True), key=lambda v: counts[v]) if counts else ""


def _apart(one: Point, other: Point) -> float:
    return math.hypot(one.x - other.x, one.y - other.y)


_SETTLE: dict[str, Callable[[str, Sequence[Drawn], int], Settled]] = {
    "box": _boxes,
    "point": _points,
}
