"""Which split each photo's person falls in: never two for one person, and stable as rows come.

A split is drawn once, by the hash of a name. A later build keeps what stands: a photo that is found
to be of somebody, or of a scene that came later, is not drawn again under its new name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_manifests.assemble import BuildConfig

__all__ = ["LINKS", "drawn_by", "groups", "place_of", "split_of", "splits"]

# What links photos that must share a split, strongest first: one person, one shot, one scene.
LINKS = ("subject", "identity", "shot", "duplicates")

# Most learned from first.
LEARNED_FROM = ("train", "validation", "test")


def groups(links: Mapping[str, Sequence[str | None]], photo_ids: Sequence[str]) -> list[str]:
    """Per photo, the name that its split is drawn by, such as `subject:s1`.

    Photos that share any link, directly or through others, get one name: that of their strongest
    link, the first in the alphabet among several. A new photo changes no name but of those that it
    is linked to.
    """
    parents: dict[str, str] = {}
    first: list[str] = []
    for row, photo_id in enumerate(photo_ids):
        named = [f"{kind}:{v}" for kind in LINKS if (v := links[kind][row]) is not None]
        first.append(named[0] if named else f"photo:{photo_id}")
        for other in named[1:]:
            _unite(parents, named[0], other)
    return [_root(parents, name) for name in first]


def splits(
    names: Sequence[str], standing: Sequence[str | None], config: BuildConfig
) -> dict[str, str]:
    """The split of every name, from what stands for its rows (none: a row that is new).

    Where rows that fell in two splits turn out to belong together, all go to train if any was
    trained on, then to validation: what is held out was never learned from.
    """
    kept: dict[str, str] = {}
    for name, split in zip(names, standing, strict=True):
        if split is not None:
            kept[name] = min(split, kept.get(name, split), key=LEARNED_FROM.index)
    return {name: kept.get(name) or split_of(name, config) for name in set(names)}


def drawn_by(config: BuildConfig) -> str:
    """The settings that decide a draw, as a commit notes them; under others all are drawn anew."""
    return f"{config.salt} {config.validation_share:g} {config.test_share:g}"


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
