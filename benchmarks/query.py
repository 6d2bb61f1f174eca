"""SQL, differences and distributions on large tables: `python benchmarks/query.py [ROWS]`.

Each question is asked by a process of its own, so that its time holds the imports and its memory is
its own. Beside each stands the same question to the whole table in pandas.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_manifests.records import Annotation
from data_manifests.schema import arrow_schema
from data_manifests.store import Store

RAW = '[{"from_name": "decision", "type": "choices", "value": {"choices": ["accept"]}}]' * 3
QUESTIONS = {
    "count": "SELECT count(*) FROM annotations",
    "group by decision and annotator": (
        "SELECT decision, annotator, count(*) FROM annotations GROUP BY ALL"
    ),
    "tags of both groups, unnested": (
        "SELECT tag, count(*) FROM annotations, unnest(semantic_tags) AS u(tag) GROUP BY tag"
    ),
    "one photo's answers": f"SELECT * FROM annotations WHERE photo_id = '{7:064x}'",
    "people who disagree, photo by photo": (
        "SELECT count(*) FROM (SELECT photo_id FROM annotations GROUP BY photo_id"
        " HAVING count(DISTINCT decision) > 1)"
    ),
}
ASK = "from data_manifests.query import ask\nwith ask(store, sys.argv[2]) as r: r.read_all()"
PANDAS = (
    "from data_manifests.records import Annotation\n"
    "store.table(Annotation).to_pandas().groupby(['decision', 'annotator']).size()"
)
DIFF = (
    "from data_manifests.changes import changes\nfrom data_manifests.records import Annotation\n"
    "print(sum(1 for _ in changes(store, Annotation, 2, 4)))"
)
# Not ru_maxrss: a child's begins at what its parent held.
END = "\nprint(next(s.split()[1] for s in open('/proc/self/status') if s.startswith('VmHWM')))\n"
START = "import sys, pathlib\nfrom data_manifests.store import Store\n"
START += "store = Store(pathlib.Path(sys.argv[1]))\n"


def annotations(rows: int) -> pa.Table:
    """Ten answers a photo, from 24 people."""
    rng = np.random.default_rng(1)
    places = np.arange(rows)
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    decisions = np.array(["accept", "retouch", "reject"])[rng.integers(0, 3, rows)]
    shots = [["shot/close_up", "gender/woman"], ["shot/group"], ["shot/half_length", "hair/bald"]]
    columns: dict[str, object] = {
        "annotation_id": [f"{n:032x}" for n in places],
        "task_key": [f"{n // 10:064x}:triage:1" for n in places],
        "photo_id": [f"{n // 10:064x}" for n in places],
        "annotator": np.array([f"annotator-{i}" for i in range(24)])[rng.integers(0, 24, rows)],
        "state": ["counted"] * rows,
        "decision": decisions,
        "rating": rng.integers(1, 6, rows),
        "semantic_tags": [shots[n % 3] for n in places],
        "caption": [f"a portrait of a person, number {n}" for n in places],
        "raw": [f"{RAW}{n}" for n in places],
        "cancelled": [False] * rows,
        "updated_at": [begun + timedelta(seconds=int(n)) for n in places],
    }
    schema = arrow_schema(Annotation)
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def timed(label: str, code: str, *arguments: str) -> None:
    """Run the code by a new Python; print its wall time and its peak memory."""
    start = time.perf_counter()
    child = subprocess.run(
        [sys.executable, "-c", START + code + END, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    took = time.perf_counter() - start
    said = child.stdout.split()[-1:] if child.returncode == 0 else []
    peak = f"{int(said[0]) / 1024:7.0f} MiB" if said else "FAILED"
    print(f"{label:<52} {took:6.2f} s {peak}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        table = annotations(rows)
        store.replace_rows(Annotation, table, why="benchmark")
        size = sum(p.stat().st_size for p in Path(folder).rglob("*.parquet")) / 2**20
        print(f"{rows:,} annotations, {size:.0f} MiB of Parquet, {os.cpu_count()} cores")
        timed("only the imports", "import duckdb, data_manifests.query", folder)
        for label, sql in QUESTIONS.items():
            timed(f"sql: {label}", ASK, folder, sql)
        timed("pandas: group by decision and annotator", PANDAS, folder)
        tenth = rows // 10
        changed = table.slice(0, tenth)
        place = changed.schema.get_field_index("rating")
        rating = pc.add(changed["rating"], 1)
        changed = changed.set_column(place, changed.schema.field(place), rating)
        both = pa.concat_tables([changed, table.slice(tenth)])
        del table, changed
        store.replace_rows(Annotation, both, why="benchmark")
        timed(f"diff: {tenth:,} rows of {rows:,} changed", DIFF, folder)


if __name__ == "__main__":
    main()
