"""How long the tables take: `python benchmarks/store.py` on a folder of its own."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from data_manifests.records import Photo, Verdict
from data_manifests.store import Store


def timed(label: str, action) -> None:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    action()
    print(f"{label:<48} {time.perf_counter() - start:6.2f} s")


def main() -> None:
    verdicts = tuple(Verdict(gate=g, value=1.0, keep=True) for g in ("size", "sharp", "light"))
    rows = [
        Photo(photo_id=f"{n:064d}", path=f"/{n}", state="kept", size_bytes=n, verdicts=verdicts)
        for n in range(20_000)
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        timed("upsert 20,000 new photos", lambda: store.upsert(Photo, rows, why="bench"))
        timed("upsert the same 20,000 (no commit)", lambda: store.upsert(Photo, rows, why="bench"))
        changed = [replace(rows[7], state="set_aside")]
        timed("upsert one changed row", lambda: store.upsert(Photo, changed, why="bench"))
        timed("read 20,000 as records", lambda: store.read(Photo))
        timed("read 20,000 as an Arrow table", lambda: store.table(Photo))


if __name__ == "__main__":
    main()
