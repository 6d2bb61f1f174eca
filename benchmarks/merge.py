"""Merging changed answers into a large table, beside plain Parquet merged and rewritten by pandas.

    python benchmarks/merge.py [--rows 1000000] [--changes 10000] [--scattered]

Each side runs in a process of its own, three times in turn, on the same rows; the time is of the
merge alone and the memory is the process's peak beyond what it held before the merge. Changed
answers are those of whole projects, the newest ones, as a pull brings them; with --scattered they
lie anywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_manifests.records import Annotation, Box, Region
from data_manifests.schema import table_from_records
from data_manifests.store import Store

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def answers(numbers: np.ndarray) -> pa.Table:
    """Rows like real ones: ten answers a photo, a box each, 700 bytes of raw JSON of their own."""
    template = table_from_records(Annotation, [answer(int(n)) for n in numbers[:1000]])
    table = pa.concat_tables([template] * -(-len(numbers) // 1000)).slice(0, len(numbers))
    texts = pa.array([f"{n:08d}" for n in numbers])
    photos = pa.array([hashlib.sha256(b"%d" % (n // 10)).hexdigest() for n in numbers])
    own = {
        "annotation_id": pc.binary_join_element_wise("server", texts, ":"),
        "photo_id": photos,
        "task_key": pc.binary_join_element_wise(photos, "triage:1", ":"),
        "caption": pc.binary_join_element_wise("A portrait, number ", texts, ""),
        "raw": raws(numbers),
    }
    for name, values in own.items():
        place = table.column_names.index(name)
        table = table.set_column(place, table.schema.field(place), values)
    return table


def raws(numbers: np.ndarray) -> pa.Array:
    """Label Studio's results: ids of ten letters and boxes in percent, all different."""
    ids = (hashlib.sha256(b"r%d" % n).hexdigest() for n in numbers)
    part = '{"id": "%s", "type": "choices", "value": {"choices": ["soft"], "x": %s.%s}}'
    return pa.array(
        [
            "[" + ",".join(part % (i[k : k + 10], i[k : k + 2], i[k:]) for k in range(6)) + "]"
            for i in ids
        ]
    )


def answer(number: int) -> Annotation:
    photo = hashlib.sha256(b"%d" % (number // 10)).hexdigest()
    region = Region(label="face", box=Box(left=1.0 * number, top=2.0, right=300.0, bottom=400.0))
    return Annotation(
        annotation_id=f"server:{number:08d}",
        task_key=f"{photo}:triage:1",
        photo_id=photo,
        annotator=f"person-{number % 40}",
        state="counted",
        decision="accept",
        rating=number % 5 + 1,
        semantic_tags=("gender/woman", "age/adult", f"hair/{number % 9}"),
        photographic_tags=("light/soft", f"focus/{number % 4}"),
        caption=f"A portrait, number {number}, in soft light from the left",
        regions=(region,),
        raw=str(number) * 90,
        lead_time_s=float(number % 100),
        created_at=WHEN + timedelta(seconds=number),
        updated_at=WHEN + timedelta(seconds=number),
    )


def changed(rows: int, count: int, scattered: bool) -> list[Annotation]:
    draw = np.random.default_rng(1)
    picked = draw.choice(rows, count, False) if scattered else np.arange(rows - count, rows)
    return [replace(answer(int(n)), decision="reject", caption="changed") for n in sorted(picked)]


def by_store(folder: Path, fresh: list[Annotation]) -> None:
    Store(folder / "tables").upsert(Annotation, fresh, why="pull")


def by_pandas(folder: Path, fresh: list[Annotation]) -> None:
    import pandas as pd

    standing = pd.read_parquet(folder / "plain.parquet")
    update = table_from_records(Annotation, fresh).to_pandas()
    merged = pd.concat([standing, update]).drop_duplicates("annotation_id", keep="last")
    schema = pq.read_schema(folder / "plain.parquet")
    pa_table = pa.Table.from_pandas(
        merged.sort_values("annotation_id"), schema, preserve_index=False
    )
    pq.write_table(pa_table, folder / "new.parquet")
    (folder / "new.parquet").rename(folder / "plain.parquet")


def peak_mib() -> float:
    """VmHWM: getrusage would tell the parent's, where that was larger."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def one(side: str, folder: Path, fresh: list[Annotation]) -> None:
    before, start = peak_mib(), time.perf_counter()
    (by_store if side == "store" else by_pandas)(folder, fresh)
    print(json.dumps({"s": time.perf_counter() - start, "mib": peak_mib() - before}))


def check(folder: Path, count: int) -> None:
    ours = Store(folder / "tables").table(Annotation)
    theirs = pq.read_table(folder / "plain.parquet").sort_by("annotation_id")
    names = ["annotation_id", "decision", "caption", "photo_id", "rating"]
    assert ours.select(names).equals(theirs.select(names).cast(ours.select(names).schema))
    assert ours.column("decision").to_pylist().count("reject") == count


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--changes", type=int, default=10_000)
    asked.add_argument("--scattered", action="store_true")
    asked.add_argument("--side")
    asked.add_argument("--folder", type=Path)
    told = asked.parse_args()
    if told.side:
        one(told.side, told.folder, changed(told.rows, told.changes, told.scattered))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = answers(np.arange(told.rows))
        start = time.perf_counter()
        Store(folder / "tables").replace_rows(Annotation, rows, why="benchmark")
        pq.write_table(rows, folder / "plain.parquet")
        del rows
        files = len(list((folder / "tables" / "annotations").glob("*.parquet")))
        print(f"made {told.rows:,} rows, {files} files, in {time.perf_counter() - start:.1f} s")
        sides: dict[str, list[dict[str, float]]] = {"store": [], "pandas": []}
        for turn in range(3):
            for side, found in sides.items():
                command = [sys.executable, __file__, "--side", side, "--folder", name]
                command += ["--rows", str(told.rows), "--changes", str(told.changes)]
                command += ["--scattered"] * told.scattered
                if turn:  # the next turn has the same to do
                    undo(folder, side, told.rows, told.changes, told.scattered)
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found.append(json.loads(done.stdout))
            check(folder, told.changes)
        report(sides)


def undo(folder: Path, side: str, rows: int, count: int, scattered: bool) -> None:
    numbers = np.array([int(a.annotation_id[7:]) for a in changed(rows, count, scattered)])
    if side == "store":
        Store(folder / "tables").upsert(Annotation, [answer(int(n)) for n in numbers], why="undo")


def report(sides: dict[str, list[dict[str, float]]]) -> None:
    for side, found in sides.items():
        times, peaks = ([f[k] for f in found] for k in ("s", "mib"))
        print(f"{side:<8} {statistics.median(times):6.2f} s  {statistics.median(peaks):7.0f} MiB")
    ours, theirs = sides["store"], sides["pandas"]
    for name, unit in (("s", "times faster"), ("mib", "times the memory")):
        ratios = [t[name] / o[name] for o, t in zip(ours, theirs, strict=True)]
        print(f"pandas over store: {statistics.median(ratios):.1f} {unit}")


if __name__ == "__main__":
    main()
