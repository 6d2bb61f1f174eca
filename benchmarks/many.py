"""Many tiny files in one folder: does the time grow with the number of files, or faster?

    python benchmarks/many.py [--counts 10000,100000]

Makes the folder, ingests it, ingests it again with nothing to do, and settles it: wall time, peak
memory of the main process, and the ratio between the counts. The files are 64 px JPEGs, all
different, which the header's gate sets aside; what is measured is everything around the pixels.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import simplejpeg


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--counts", default="10000,100000")
    told = asked.parse_args()
    took: dict[int, float] = {}
    for count in (int(c) for c in told.counts.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            took[count] = measure(Path(folder), count)
    counts = sorted(took)
    for small, large in pairwise(counts):
        print(
            f"\n{large / small:.0f} times the files take {took[large] / took[small]:.1f} times"
            " the time"
        )


def measure(folder: Path, count: int) -> float:
    """Seconds of the first ingest."""
    shoot = folder / "shoot"
    shoot.mkdir()
    make(shoot, count)
    authface("init", str(folder / "w"))
    first, memory = timed("ingest", str(shoot), "-w", str(folder / "w"))
    again, memory_again = timed("ingest", str(shoot), "-w", str(folder / "w"))
    print(
        f"\n{count} files: {first:.1f} s ({count / first:.0f}/s), {memory} MB; a second run with"
        f" nothing to do: {again:.1f} s, {memory_again} MB"
    )
    return first


def make(shoot: Path, count: int) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        (shoot / f"{i:06d}.jpg").write_bytes(simplejpeg.encode_jpeg(pixels, quality=50))


def timed(*command: str) -> tuple[float, int]:
    """(wall seconds, peak MB of the main process)."""
    code = (
        "import sys\nfrom authface.cli import app\n"
        "try:\n    app()\nexcept SystemExit as end:\n    status = end.code\n"
        "peak = next(l for l in open('/proc/self/status') if l.startswith('VmHWM'))\n"
        "sys.stderr.write('PEAK ' + peak.split()[1] + '\\n')\nsys.exit(status or 0)\n"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    )
    taken = time.perf_counter() - start
    peak = next(line for line in done.stderr.splitlines() if line.startswith("PEAK "))
    return taken, round(int(peak.split()[1]) / 1000)


def authface(*command: str) -> None:
    subprocess.run([sys.executable, "-m", "authface.cli", *command], check=True)


if __name__ == "__main__":
    main()
