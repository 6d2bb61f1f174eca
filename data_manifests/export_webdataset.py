"""WebDataset shards: tar files in which a sample is a picture, its facts and its caption.

The same samples give the same bytes: times, owners and order are fixed. Nothing but the standard
library is needed to write them.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from data_manifests.errors import ManifestError
from data_manifests.media import write_pieces
from data_manifests.outgoing import ExportConfig, Outgoing, in_shards

__all__ = ["forget_webdataset", "ids_webdataset", "write_webdataset"]

Member = tuple[str, bytes]  # name in the tar file, content


def write_webdataset(
    folder: Path, split: str, outgoing: Iterable[Outgoing], config: ExportConfig
) -> int:
    """Write `<split>-000000.tar` and so on; gives how many samples they hold."""
    count = 0

    def members(shard: Iterable[Outgoing]) -> Iterator[Member]:
        nonlocal count
        for one in shard:
            count += 1
            yield from _members(one)

    for number, shard in in_shards(outgoing, config):
        write_pieces(folder / f"{split}-{number:06d}.tar", _tar(members(shard)))
    return count


def ids_webdataset(folder: Path) -> set[str]:
    """The ids of the samples that the export holds."""
    return {name for path in _files(folder) for name in _ids(path)}


def forget_webdataset(folder: Path, sample_ids: frozenset[str]) -> int:
    """Rewrite the shards that hold one of these samples without it; gives how many went."""
    return sum(_rewrite(path, sample_ids) for path in _files(folder))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def _members(one: Outgoing) -> Iterator[Member]:
    name = one.shared.sample_id
    facts = json.dumps(asdict(one.shared), ensure_ascii=False, sort_keys=True)
    yield f"{name}{one.suffix}", one.data
    yield f"{name}.json", facts.encode()
    yield f"{name}.txt", one.shared.caption.encode()


def _tar(members: Iterable[Member]) -> Iterator[bytes]:
    size = 0
    for name, data in members:
        head = tarfile.TarInfo(name)
        head.size, head.mode = len(data), 0o644
        for piece in (head.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % 512)):
            size += len(piece)
            yield piece
    size += 1024  # two empty blocks end the file, then it is filled up as tar does
    yield bytes(1024 + -size % tarfile.RECORDSIZE)


def _ids(path: Path) -> set[str]:
    return {name.partition(".")[0] for name, _ in _read(path, content=False)}


def _rewrite(path: Path, doomed: frozenset[str]) -> int:
    held = _ids(path)
    if not held & doomed:
        return 0
    if held <= doomed:
        path.unlink()
    else:
        staying = (m for m in _read(path) if m[0].partition(".")[0] not in doomed)
        write_pieces(path, _tar(staying))
    return len(held & doomed)


def _read(path: Path, *, content: bool = True) -> Iterator[Member]:
    try:
        with tarfile.open(path, "r:") as tar:
            for head in tar:
                opened = tar.extractfile(head) if content else io.BytesIO()
                if opened is not None:
                    yield head.name, opened.read()
    except (OSError, tarfile.TarError) as error:
        raise ManifestError(
            f"{path} can't be read: {error}.", "Make the export again with --overwrite."
        ) from error
