"""Pictures with captions beside them: plain folders, and the layout that AuthFace-HQ comes in.

Nothing is opened here but text: a picture is only named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from data_manifests.import_files import (
    LONGEST_TEXT,
    Folder,
    as_json,
    clean,
    parse_json,
    read_json,
)
from data_manifests.import_shapes import Answer, Aside, Found, is_picture

__all__ = ["read_authface_hq", "read_captions", "said_answer"]

METADATA = "metadata.jsonl"
WORDS = ("caption", "text", "prompt")  # the keys that a caption goes by
GENDERS = ("woman", "man")
GROUPS = ("semantic_tags", "photographic_tags")


def read_captions(folder: Folder) -> Iterator[Found | Aside]:
    """Pictures with captions in metadata.jsonl or in a .json or .txt file of the same name."""
    told: dict[str, Found] = {}
    for name in folder.names:
        if PurePosixPath(name).name == METADATA:
            yield from _read_metadata(folder, name, told)
    used = {n for n in folder.names if PurePosixPath(n).name == METADATA}
    for name in folder.names:
        if not is_picture(name):
            continue
        found = told.get(name) or _beside(folder, name, (".json", ".txt"), hq=False)
        used |= {name, *_partners(folder, name, (".json", ".txt"))}
        yield found
    yield from _left(folder, used, (".json", ".txt"))


def read_authface_hq(folder: Folder) -> Iterator[Found | Aside]:
    """The published layout: woman/NAME.png and man/NAME.png, each with NAME_qwen.json beside it."""
    used: set[str] = set()
    for name in folder.names:
        if not is_picture(name):
            continue
        used |= {name, *_partners(folder, name, ("_qwen.json",))}
        if PurePosixPath(name).parts[0] not in GENDERS or len(PurePosixPath(name).parts) != 2:
            yield Aside(name, "not_in_woman_or_man")
        else:
            yield _beside(folder, name, ("_qwen.json",), hq=True)
    yield from _left(folder, used, ("_qwen.json",))


def said_answer(value: Any, stem: str, *, groups: bool) -> Answer | None:
    """The answer that a caption's JSON holds, none if it has no shape that is known.

    A string, a list of tags, an object with a caption, or (with `groups`) an object of tag groups.
    """
    words: str | None = None
    tags: dict[str, tuple[str, ...]] = {}
    if isinstance(value, dict):
        inner = [value[k] for k in (stem, f"{stem}.png") if k in value and len(value) == 1]
        if inner:
            return said_answer(inner[0], stem, groups=groups)
        key = next((k for k in WORDS if k in value), None)
        if key is not None:
            words = _sentence(value[key])
            tags = {k: _tags(value[k], k) for k in GROUPS if _is_words(value.get(k))}
        elif groups and value and all(_is_words(v) for v in value.values()):
            words = ", ".join(filter(None, map(_sentence, value.values())))
            tags = _grouped(value)
    else:
        words = _sentence(value)
    if not words or len(words) > LONGEST_TEXT:
        return None
    return Answer(
        raw=as_json(value),
        decision="accept",
        caption=words,
        semantic_tags=tags.get("semantic_tags", ()),
        photographic_tags=tags.get("photographic_tags", ()),
    )


def _read_metadata(folder: Folder, name: str, told: dict[str, Found]) -> Iterator[Aside]:
    """Fill `told` by the name of the picture; yields the lines that can't be used."""
    base = PurePosixPath(name).parent
    try:
        lines = (folder.root / name).read_bytes().splitlines()
    except OSError as error:
        yield Aside(name, f"unreadable: {error.strerror}")
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        read = _metadata_line(folder, base, line)
        if isinstance(read, str):
            yield Aside(f"{name}:{number}", read)
        elif read.name in told:
            yield Aside(f"{name}:{number}", "named_twice")
        else:
            told[read.name] = read


def _metadata_line(folder: Folder, base: PurePosixPath, line: bytes) -> Found | str:
    try:
        row = parse_json(line)
    except ValueError as error:
        return f"damaged_json: {error}"
    if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
        return "no_file_name"
    picture = (base / row["file_name"]).as_posix()
    wrong = folder.why_not(picture)
    if wrong:
        return wrong
    answer = said_answer(row, PurePosixPath(picture).stem, groups=False)
    return "no_caption" if answer is None else Found(picture, (answer,))


def _beside(folder: Folder, name: str, endings: tuple[str, ...], *, hq: bool) -> Found | Aside:
    partners = _partners(folder, name, endings)
    reason = "no_caption"
    for partner in partners:
        read = _read_words(folder.root / partner)
        if isinstance(read, Aside):
            reason = read.reason
            continue
        answer = said_answer(read, PurePosixPath(name).stem, groups=hq)
        if answer is not None:
            return Found(name, (_gendered(answer, name) if hq else answer,))
        reason = "json_of_another_shape" if partner.endswith(".json") else "no_caption"
    return Aside(name, reason)


def _read_words(path: Path) -> Any:
    if path.suffix == ".json":
        try:
            return read_json(path)
        except ValueError as error:
            return Aside(str(path), f"damaged_json: {error}")
    try:
        if path.stat().st_size > 4 * LONGEST_TEXT:
            return Aside(str(path), "caption_too_long")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return Aside(str(path), "caption_unreadable")


def _left(folder: Folder, used: set[str], endings: tuple[str, ...]) -> Iterator[Aside]:
    """What nothing has named: captions without a picture, and everything else."""
    for name in folder.names:
        if name not in used:
            lonely = name.endswith(endings)
            yield Aside(name, "no_picture" if lonely else "neither_picture_nor_caption")
    yield from (Aside(name, reason) for name, reason in folder.odd)


def _partners(folder: Folder, name: str, endings: tuple[str, ...]) -> list[str]:
    stem = name[: -len(PurePosixPath(name).suffix)]
    return [stem + ending for ending in endings if stem + ending in folder.known]


def _gendered(answer: Answer, name: str) -> Answer:
    gender = f"gender/{PurePosixPath(name).parts[0]}"
    return replace(answer, semantic_tags=(gender, *answer.semantic_tags))


def _grouped(value: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    tags: dict[str, tuple[str, ...]] = dict.fromkeys(GROUPS, ())
    for key, said in value.items():
        group = "photographic_tags" if "photo" in key.lower() else "semantic_tags"
        tags[group] += _tags(said, clean(key).replace("/", " ") or "words")
    return tags


def _tags(value: Any, question: str) -> tuple[str, ...]:
    """question/value, without doubles; a tag that names its question keeps it."""
    words = value.split(",") if isinstance(value, str) else value
    cleaned = (clean(word) for word in words)
    named = (w if "/" in w and question in GROUPS else f"{question}/{w}" for w in cleaned if w)
    return tuple(dict.fromkeys(named))


def _sentence(value: Any) -> str | None:
    if not _is_words(value):
        return None
    return clean(value) if isinstance(value, str) else ", ".join(filter(None, map(clean, value)))


def _is_words(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(word, str) for word in value)
    )
