"""The photo report at ten thousand photos: `python benchmarks/report.py [--photos 10000]`.

Writes synthetic rows with real JPEG thumbnails, makes the page, opens it in a Chromium from disk,
scrolls it to the end, and says what that cost. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import io
import resource
import shutil
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from curation.report import photo_report
from data_manifests.media import write_media
from data_manifests.records import Box, Capture, Face, Photo, Point, Suggestion, Verdict

CAMERAS = ("Canon EOS R5", "Nikon Z 9", "Sony ILCE-7RM5", "FUJIFILM GFX100 II", "Leica SL3")
GATES = {  # name -> (threshold, centre, spread, more is better)
    "long_side": (8192, 8800, 900, True),
    "eye_distance": (96, 420, 160, True),
    "sharpness": (8, 60, 40, True),
    "eye_sharpness": (4, 70, 45, True),
    "effective_resolution": (-18, -10, 5, True),
    "noise": (12, 4, 4, False),
    "motion_blur": (0.6, 0.2, 0.15, False),
    "clipping": (0.15, 0.03, 0.05, False),
    "brightness": (0.2, 0.7, 0.2, True),
    "jpeg_quality": (85, 94, 4, True),
}
WATCH = """() => {
  window.__frames = []; window.__long = [];
  new PerformanceObserver(list => list.getEntries().forEach(e => window.__long.push(e.duration)))
    .observe({ type: 'longtask' });
  let last = performance.now();
  const tick = now => { window.__frames.push(now - last); last = now; requestAnimationFrame(tick) };
  requestAnimationFrame(tick);
}"""
SCROLL = """async (step) => {
  const end = () => document.documentElement.scrollHeight - innerHeight;
  let empty = 0, most = 0;
  while (scrollY < end() - 1) {
    scrollBy(0, step);
    await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame);
    const cards = document.querySelectorAll('#grid .card');
    most = Math.max(most, cards.length);
    const rest = document.getElementById('grid').getBoundingClientRect().bottom;
    if (!cards.length && rest > 0) empty++;
  }
  return [most, empty];
}"""


def thumbnails(media: Path, rng: np.random.Generator, count: int) -> list[str]:
    """320 px pictures with a head-like spot and grain: about as large as those of portraits."""
    paths = []
    grid_y, grid_x = np.mgrid[0:240, 0:320].astype(np.float32)
    for _ in range(count):
        x, y, size = rng.uniform(110, 210), rng.uniform(80, 150), rng.uniform(30, 70)
        spot = np.exp(-(((grid_x - x) / size) ** 2 + ((grid_y - y) / size / 1.3) ** 2))
        tone = rng.uniform(30, 90, 3) + spot[..., None] * rng.uniform(90, 150, 3)
        tone += rng.normal(0, 20, (240, 320, 1)) + (grid_x / 8 % 7)[..., None] * 4
        buffer = io.BytesIO()
        Image.fromarray(tone.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=80)
        paths.append(write_media(media, "thumbs", buffer.getvalue(), ".jpg")[0])
    return paths


def verdicts(rng: np.random.Generator) -> tuple[Verdict, ...]:
    made = []
    for gate, (threshold, centre, spread, more) in GATES.items():
        value = float(abs(rng.normal(centre, spread))) * (-1 if centre < 0 else 1)
        keep = value >= threshold if more else value <= threshold
        why = "" if keep else f"{gate.replace('_', ' ')} {value:.2f}, {threshold} asked for"
        made.append(Verdict(gate=gate, value=value, threshold=threshold, keep=keep, reason=why))
    return tuple(made)


def synthetic(number: int, thumb: str, rng: np.random.Generator) -> tuple[Photo, Face | None]:
    said = verdicts(rng)
    reasons = tuple(v.gate for v in said if not v.keep)
    capture = Capture(
        camera=CAMERAS[int(rng.integers(len(CAMERAS)))],
        lens="85 mm f/1.2",
        focal_length_mm=float(rng.choice([35, 50, 85, 105, 135])),
        aperture_f=float(rng.choice([1.4, 2, 2.8, 4, 5.6, 8])),
        iso=int(rng.choice([64, 100, 200, 400, 800, 1600, 3200])),
        shutter_s=float(rng.choice([1 / 2000, 1 / 500, 1 / 200, 1 / 60])),
        taken_at=datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=number * 7),
    )
    photo = Photo(
        photo_id=f"{number:064x}",
        path=f"/shoots/2026-03/{number // 500:02d}/IMG_{number:05d}.jpg",
        state="set_aside" if reasons else "kept",
        reasons=reasons,
        format=str(rng.choice(["JPEG", "TIFF", "RAW"], p=[0.8, 0.1, 0.1])),
        size_bytes=int(rng.integers(8_000_000, 60_000_000)),
        width=int(said[0].value or 0),
        height=int((said[0].value or 0) * 3 / 4),
        bit_depth=int(rng.choice([8, 16], p=[0.85, 0.15])),
        colour_profile=str(rng.choice(["sRGB IEC61966-2.1", "Adobe RGB (1998)", "Display P3"])),
        capture=capture,
        photographer=f"photographer {number % 7}",
        licence="CC-BY-4.0",
        consent_id=f"release-{number % 40}",
        xmp_rating=int(rng.integers(0, 6)),
        proxy_path=thumb,
        thumb_path=thumb,
        verdicts=said,
        duplicate_group=f"burst-{number // 4}" if number % 16 < 8 else None,
        shot_id=f"shot-{number // 2}" if number % 10 < 4 else None,
        suggestions=(Suggestion(question="shot", value="close_up", score=0.71),),
    )
    if number % 97 == 0:
        photo = replace(
            photo,
            state="quarantined",
            reasons=("truncated",),
            verdicts=(),
            thumb_path=None,
            proxy_path=None,
            width=0,
            height=0,
            bit_depth=0,
        )
        return photo, None
    return photo, synthetic_face(photo, rng)


def synthetic_face(photo: Photo, rng: np.random.Generator) -> Face:
    side = photo.width / 4
    left, top = photo.width * rng.uniform(0.3, 0.45), photo.height * rng.uniform(0.2, 0.35)
    places = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.78), (0.65, 0.78))
    return Face(
        face_id=f"{photo.photo_id}-0",
        photo_id=photo.photo_id,
        index=0,
        box=Box(left=left, top=top, right=left + side, bottom=top + side * 1.2),
        landmarks=tuple(Point(x=left + x * side, y=top + y * side * 1.2) for x, y in places),
        score=0.95,
        finder="synthetic",
        landmark_source="finder",
        eye_distance=photo.verdicts[1].value,
    )


def write_page(target: Path, photos: list[Photo], faces: list[Face], media: Path) -> float:
    start = time.perf_counter()
    with target.open("w", encoding="utf-8") as page:
        for piece in photo_report(photos, faces, media=media):
            page.write(piece)
    return time.perf_counter() - start


def look(page_file: Path, *, width: int, height: int) -> dict[str, Any]:
    """Open the page in a Chromium and scroll it to the end."""
    from playwright.sync_api import sync_playwright

    program = next(p for n in ("chromium", "google-chrome") if (p := shutil.which(n)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            headless=True,
            args=["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"],
        )
        page = browser.new_page(viewport={"width": width, "height": height})
        page.add_init_script(f"({WATCH})()")
        start = time.perf_counter()
        page.goto(page_file.as_uri() + "#photos", wait_until="commit")
        page.wait_for_selector("#grid .card .state:not(:empty)", state="attached")
        first = time.perf_counter() - start
        page.wait_for_load_state("load")
        loaded = time.perf_counter() - start
        loading = page.evaluate("Math.max(0, ...__long)")
        page.evaluate("() => { __frames.length = 0; __long.length = 0 }")
        most, empty = page.evaluate(SCROLL, height)
        page.evaluate("() => new Promise(r => setTimeout(r, 300))")
        frames = sorted(page.evaluate("__frames"))
        scrolling = page.evaluate("Math.max(0, ...__long)")
        sorting = page.evaluate(
            """() => { const s = document.getElementById('sort'); s.value = 'sharpness';
            const t = performance.now();
            document.getElementById('tools').requestSubmit(); return performance.now() - t }"""
        )
        heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
        browser.close()
    return {
        "first card, s": first,
        "whole page loaded, s": loaded,
        "longest task while loading, ms": loading,
        "frames while scrolling to the end": len(frames),
        "median frame, ms": frames[len(frames) // 2],
        "99th percentile frame, ms": frames[int(len(frames) * 0.99)],
        "worst frame, ms": frames[-1],
        "longest task while scrolling, ms": scrolling,
        "steps that showed no card": empty,
        "most cards in the document": most,
        "filter and sort all by sharpness, ms": sorting,
        "JavaScript heap, MB": heap,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="leave the page here")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        media = Path(folder) / "media"
        thumbs = thumbnails(media, rng, min(asked.photos, 1000))
        pairs = [synthetic(n, thumbs[n % len(thumbs)], rng) for n in range(asked.photos)]
        photos, faces = [p for p, _ in pairs], [f for _, f in pairs if f is not None]
        page = asked.keep or Path(folder) / "photos.html"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = write_page(page, photos, faces, media)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"{asked.photos} photos: page {page.stat().st_size / 1e6:.1f} MB", end="")
        print(f" written in {seconds:.1f} s, memory grew by {grown / 1024:.0f} MiB")
        for name, (width, height) in {"desktop": (1440, 900), "phone": (390, 844)}.items():
            print(f"{name} {width} x {height}")
            for label, value in look(page, width=width, height=height).items():
                print(f"  {label:<40} {value:10.2f}")


if __name__ == "__main__":
    main()
