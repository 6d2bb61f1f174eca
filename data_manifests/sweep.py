"""What a killed or failed writer left half written, taken away by the next one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from data_manifests.log import commits, log_folder

__all__ = ["PART", "leftovers", "sweep_table"]

log = logging.getLogger(__name__)

PART = ".part-"  # files not yet under their final name begin with this


def leftovers(table: Path) -> Iterator[Path]:
    """Files of a table that no version of its log has ever named."""
    named = {name for commit in commits(table) for name in commit.added}
    yield from (p for p in sorted(table.glob("*.parquet")) if p.name not in named)
    for folder in (table, log_folder(table), table / "_seals"):
        yield from sorted(folder.glob(PART + "*"))
    yield from sorted(p for p in log_folder(table).glob("*") if p.name.endswith(".tmp"))


def sweep_table(table: Path) -> int:
    """Delete a table's leftovers; how many there were. The caller holds the store's lock."""
    found = list(leftovers(table)) if table.is_dir() else []
    for path in found:
        log.info("taking away %s, which a stopped writer left", path)
        path.unlink(missing_ok=True)
    return len(found)
