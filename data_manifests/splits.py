"""Which split each photo's person falls in: never two for one person, and stable as rows come."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_manifests.assemble import BuildConfig

__all__ = ["LINKS", "groups", "place_of", "split_of"]

# What links photos that must share a split, strongest first: one person, one shot, one scene.
LINKS = ("subject", "identity", "shot", "duplicates")


def groups(links: Mapping[str, Sequence[str | None]], photo_ids: Sequence[str]) -> list[str]:
    """Per photo, the name that its split is drawn by, such as `subject:s1`.

    Photos that share any link, directly or through others, get one name: that of their strongest
    link, the first in the alphabet among several. A new photo changes no name but of those that it
    is linked to: a photo without a subject is drawn by itself until a duplicate or a shot joins it.
    """
    parents: dict[str, str] = {}
    first: list[str] = []
    for row, photo_id in enumerate(photo_ids):
        named = [f"{kind}:{v}" for kind in LINKS if (v := links[kind][row]) is not None]
        first.append(named[0] if named else f"photo:{photo_id}")
        for other in named[1:]:
            _unite(parents, named[0], other)
    return [_root(parents, name) for name in first]


def split_of(name: str, config: BuildConfig) -> str:
    """train, validation or test of what a split is drawn by, such as `subject:s1`."""
    place = place_of(name, config.salt)
    if place < config.test_share:
        return "test"
    return "validation" if place < config.test_share + config.validation_share else "train"


def place_of(name: str, salt: str) -> float:
    """A place in [0, 1) that only the name and the salt decide."""
    digest = hashlib.sha256(f"{salt}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _root(parents: dict[str, str], name: str) -> str:
    while (above := parents.get(name, name)) != name:
        parents[name] = parents.get(above, above)
        name = above
    return name


def _unite(parents: dict[str, str], one: str, other: str) -> None:
    roots = sorted((_root(parents, one), _root(parents, other)), key=_strength)
    parents[roots[1]] = roots[0]


def _strength(name: str) -> tuple[int, str]:
    return LINKS.index(name.split(":", 1)[0]), name
