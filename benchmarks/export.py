"""Exports, forgetting and bit flips: `python benchmarks/export.py [samples]`.

Writes each format beside what its own package writes from the same pictures, forgets ten samples,
and reads Parquet with single bits flipped, with and without its page checksums compared.
"""

from __future__ import annotations

import hashlib
import io
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from data_manifests.consent import grant
from data_manifests.export import FORMATS, Order, export, forget
from data_manifests.media import write_media
from data_manifests.outgoing import ExportConfig
from data_manifests.records import Consent, Sample
from data_manifests.store import Store

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SIDE = 512

T = TypeVar("T")


def timed(label: str, megabytes: float, action: Callable[[], T]) -> T:
    start = time.perf_counter()
    result = action()
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{label:<44} {took:6.2f} s {megabytes / took:7.0f} MB/s  peak so far {peak:5.0f} MB")
    return result


def sample(media: Path, number: int) -> Sample:
    pixels_HWC = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, "PNG", compress_level=0)
    path, sha256 = write_media(media, "crops", buffer.getvalue(), ".png")
    return Sample(
        sample_id=hashlib.sha256(str(number).encode()).hexdigest()[:32],
        photo_id=f"{number:064d}",
        face_id=f"{number:064d}-0",
        crop_path=path,
        crop_sha256=sha256,
        width=SIDE,
        height=SIDE,
        caption=f"portrait number {number}, a close-up of a face with soft light from the left",
        semantic_tags=("gender/woman", "shot/close_up"),
        native_width=2000,
        native_height=2000,
        split="train",
        consent_id="c",
    )


def with_webdataset(folder: Path, samples: list[Sample], media: Path) -> None:
    import webdataset

    folder.mkdir()
    with webdataset.ShardWriter(str(folder / "train-%06d.tar"), verbose=0) as writer:
        for one in samples:
            picture = (media / one.crop_path).read_bytes()
            writer.write({"__key__": one.sample_id, "png": picture, "txt": one.caption})


def with_datasets(folder: Path, samples: list[Sample], media: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    folder.mkdir()
    features = datasets.Features(image=datasets.Image(), caption=datasets.Value("string"))
    rows = {
        "image": [{"bytes": (media / s.crop_path).read_bytes(), "path": None} for s in samples],
        "caption": [s.caption for s in samples],
    }
    made = datasets.Dataset.from_dict(rows, features=features)
    made.to_parquet(str(folder / "train.parquet"))


def flips(path: Path, times: int) -> None:
    """Single bits flipped in the pages and in the footer; what reading them ends in."""
    data, good = path.read_bytes(), pq.read_table(path)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    damaged = path.with_name("damaged")
    for verify in (False, True):
        rng, told = random.Random(1), Counter[str]()
        for _ in range(times):
            flipped, at = bytearray(data), rng.randrange(len(data))
            flipped[at] ^= 1 << rng.randrange(8)
            damaged.write_bytes(flipped)
            part = "footer" if at >= footer else "pages"
            told[f"{part}: {read(damaged, good, verify=verify)}"] += 1
        print(f"  checksums {'compared' if verify else 'ignored '}: {dict(sorted(told.items()))}")
    damaged.unlink()


def read(path: Path, good: pa.Table, *, verify: bool) -> str:
    try:
        table = pq.read_table(path, page_checksum_verification=verify)
        same = table.schema.names == good.schema.names and table.equals(good)
    except Exception:
        return "refused"
    return "read as it was" if same else "read as other data"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        media, store = root / "w/media", Store(root / "w/tables")
        began = NOW - timedelta(days=1)
        terms: dict[str, Any] = {"purposes": ("training",), "basis": "own", "valid_from": began}
        grant(store, Consent(consent_id="c", **terms))
        samples = [sample(media, number) for number in range(count)]
        store.upsert(Sample, samples, why="bench")
        size = sum((media / s.crop_path).stat().st_size for s in samples) / 1e6
        print(f"{count} samples, {size:.0f} MB of pictures")
        doomed = frozenset(s.sample_id for s in samples[:: count // 10][:10])
        config = ExportConfig(shard_samples=100)
        for form in FORMATS:
            order = Order(form, root / form)
            done = timed(f"export {form}", size, lambda: export(store, media, order, config, NOW))  # noqa: B023
            timed(f"  forget 10 of {count}", size, lambda: forget(done.row, doomed, store, media))  # noqa: B023
        timed("webdataset.ShardWriter", size, lambda: with_webdataset(root / "wds", samples, media))
        timed("Dataset.to_parquet", size, lambda: with_datasets(root / "hf", samples, media))
        print("1,000 flips of a Parquet export (captions and boxes):")
        flips(root / "parquet/train.parquet", 1000)


if __name__ == "__main__":
    main()
