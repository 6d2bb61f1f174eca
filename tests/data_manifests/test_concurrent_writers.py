"""Several processes write one table at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from data_manifests.records import Photo
from data_manifests.store import Store

WRITER = """
import sys
from pathlib import Path
from data_manifests.records import Photo
from data_manifests.store import Store
store, me = Store(Path(sys.argv[1])), sys.argv[2]
for n in range(5):
    store.upsert(Photo, [Photo(photo_id=f"{me}-{n}", path="x", state="kept", size_bytes=n)], why=me)
"""


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, str(me)]) for me in range(4)]
    assert [w.wait(timeout=120) for w in writers] == [0, 0, 0, 0]
    assert len(Store(tmp_path).read(Photo)) == 20
    assert Store(tmp_path).unsealed(Photo) == []


def test_a_killed_writer_does_not_block_the_next(tmp_path: Path) -> None:
    held = "import fcntl, sys, time; h = open(sys.argv[1], 'a'); fcntl.flock(h, fcntl.LOCK_EX)"
    script = held + "; print('held', flush=True); time.sleep(60)"
    (tmp_path / ".lock").touch()
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / ".lock")], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        holder.kill()
    row = Photo(photo_id="a", path="x", state="kept", size_bytes=1)
    assert Store(tmp_path).upsert(Photo, [row], why="test").added == 1
