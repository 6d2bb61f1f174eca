"""Vectors of faces to groups of one person: pure, deterministic, no chains of strangers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation.zeroshot import Vectors, unit
from data_manifests.records import Face

__all__ = ["group_identities"]

_NEVER = 1e9  # distance that keeps two faces apart whatever else is in their groups
_BLOCK = 1024  # rows of the comparison at once


def group_identities(
    faces: Sequence[Face], vectors_BD: Vectors, *, least_likeness: float
) -> dict[str, str]:
    """face_id -> group, by average linkage: the mean cosine between two groups decides.

    One face between two people does not chain them together, as it would by nearest neighbours, and
    two faces of one photo are never one person. A group keeps the name that most of its faces carry
    already; a new one is named after the smallest face_id in it. The order of the faces does not
    matter.
    """
    order = sorted(range(len(faces)), key=lambda i: faces[i].face_id)
    ordered = [faces[i] for i in order]
    labels = _average_linkage(ordered, unit(vectors_BD[order]), least_likeness)
    members: dict[int, list[Face]] = {}
    for face, label in zip(ordered, labels, strict=True):
        members.setdefault(label, []).append(face)
    return _named(list(members.values()))


def _average_linkage(faces: Sequence[Face], vectors_BD: Vectors, least: float) -> list[int]:
    """A label for each face. Groups whose mean cosine reaches `least` share a pair that does, so
    each connected part can be worked out by itself: memory goes with the largest part."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    labels = list(range(len(faces)))
    for part in _connected(vectors_BD, least):
        if len(part) < 2:
            continue
        near_NN = 1.0 - (vectors_BD[part] @ vectors_BD[part].T).astype(np.float64)
        photos = np.array([faces[i].photo_id for i in part])
        near_NN[photos[:, None] == photos[None, :]] = _NEVER
        np.fill_diagonal(near_NN, 0.0)
        tree = linkage(squareform(near_NN, checks=False), method="average")
        for place, label in zip(part, fcluster(tree, 1.0 - least, "distance"), strict=True):
            labels[place] = part[0] + len(faces) * int(label)
    return labels


def _connected(vectors_BD: Vectors, least: float) -> list[list[int]]:
    """The connected parts of the graph of pairs that reach `least`, found block by block."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(vectors_BD)
    rows: list[NDArray[np.intp]] = []
    columns: list[NDArray[np.intp]] = []
    for start in range(0, size, _BLOCK):
        row, column = np.nonzero(vectors_BD[start : start + _BLOCK] @ vectors_BD.T >= least)
        rows.append(row + start)
        columns.append(column)
    if not rows:
        return []
    places = (np.concatenate(rows), np.concatenate(columns))
    graph = coo_array((np.ones(len(places[0]), np.bool_), places), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    parts: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        parts.setdefault(int(label), []).append(place)
    return list(parts.values())


def _named(groups: Sequence[Sequence[Face]]) -> dict[str, str]:
    """Names: the largest share of an old group inherits its name, the rest get new ones."""
    claims = Counter(
        {
            (old, i): n
            for i, group in enumerate(groups)
            for old, n in Counter(f.identity_group for f in group if f.identity_group).items()
        }
    )
    names: dict[int, str] = {}
    for (old, i), _ in sorted(claims.items(), key=lambda c: (-c[1], c[0])):
        if i not in names and old not in names.values():
            names[i] = old
    taken = set(names.values())
    for i, group in enumerate(groups):
        if i not in names:
            names[i] = _new_name(min(f.face_id for f in group), taken)
            taken.add(names[i])
    return {f.face_id: names[i] for i, group in enumerate(groups) for f in group}


def _new_name(face_id: str, taken: set[str]) -> str:
    """A name no group has: an old group may still carry what the smallest face_id would give."""
    for turn in range(len(taken) + 1):
        name = f"person-{hashlib.sha256(f'{face_id}:{turn}'.encode()).hexdigest()[:12]}"
        if name not in taken:
            return name
    raise ValueError("as many names as groups and one more can not all be taken")
