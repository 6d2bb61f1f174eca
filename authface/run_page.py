"""One HTML page about one training run: how it goes, what it makes, what it stands on."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from authface.charts import line_chart, series_chart
from authface.pages import page_environment
from authface.run_facts import ADVERSARIAL, Curve, RunFacts, mean_of, thinned
from authface.stats_page import number
from data_manifests.config import flat
from data_manifests.ledger import read_view
from data_manifests.records import Photo, Sample
from data_manifests.store import Store
from training.config import PriorConfig, RestorerConfig
from training.grids import SIDECAR, TINY, grid_files

__all__ = ["figure", "render_run"]

GRIDS = 9  # on a page, spread over the run; all of them lie in its folder
WIDEST = 1200  # px of a grid on the page
CONDITION_USE = "condition_use"
STAGES = {"prior": "Stage 1, the prior", "restorer": "Stage 2, the restorer"}


def render_run(run: RunFacts, store: Store) -> str:
    """The page as text: no script, no outside file. What the run has not written is left out."""
    return (
        page_environment()
        .get_template("run.html.j2")
        .render(
            run=run,
            stage=STAGES.get(str(run.record.get("kind")), "A run"),
            total=run.settings.get("steps"),
            notices=list(_notices(run)),
            tiles=list(_tiles(run)),
            curves=list(_curves(run)),
            validated=list(_validated(run)),
            buckets=_buckets(run),
            grids=_grids(run.folder),
            data=_data(run, store),
            settings=_settings(run),
            versions=_versions(run),
        )
    )


def figure(value: float | None) -> str:
    """A figure of a run for people: three digits, very small ones in powers of ten."""
    if value is None:
        return "-"
    return number(value) if abs(value) >= 1000 else f"{value:.3g}"


def _notices(run: RunFacts) -> Sequence[str]:
    told = []
    if run.record.get("tiny"):
        told.append(TINY[0].upper() + TINY[1:] + ".")
    if (run.folder / "contains_erased.json").exists():
        told.append(
            "This run saw a person who was erased since: contains_erased.json in its folder says"
            " when. What becomes of its model is for you to decide."
        )
    if any(row.get("seen") for row in run.validations):
        told.append(
            "No sample was held out: validation losses and pictures are of samples that the run"
            " trains on, and say little about other faces."
        )
    return told


def _tiles(run: RunFacts) -> Sequence[tuple[str, str]]:
    total = run.settings.get("steps")
    tiles = [(f"{run.done:,} / {total:,}" if total else f"{run.done:,}", "updates")]
    tiles.append((_span(run.seconds), "on steps"))
    tiles.append((figure(run.final_loss), "loss, last tenth"))
    for name, curve in run.validated_means.items():
        if name == CONDITION_USE:
            used = f"{curve[-1][1]:.1%}"
            tiles.append((used.replace("-0.0%", "0.0%"), "condition use"))
        elif len(tiles) < 4:
            tiles.append((figure(curve[-1][1]), f"validation, {name}"))
    speed, share = run.middle("samples_per_s"), run.middle("mfu")
    if speed is not None:
        tiles.append((figure(speed), "samples per second"))
    if share is not None:
        tiles.append((f"{share:.1%}", "of the device's peak (MFU)"))
    return tiles


def _curves(run: RunFacts) -> Sequence[dict[str, str]]:
    paths = [("loss",), *(("parts", name) for name in run.parts)]
    paths += [("lr",), ("samples_per_s",), ("mfu",)]
    names = {"lr": "learning rate", "samples_per_s": "samples per second", "mfu": "MFU"}
    drawn = []
    for path in paths:
        curve = run.curve(*path)
        if len({v for _, v in curve}) < 2:
            continue  # a straight line tells what the settings tell
        name = names.get(path[-1], path[-1] if len(path) == 1 else f"part: {path[-1]}")
        few = thinned(curve)
        chart = line_chart([s for s, _ in few], [v for _, v in few], label=name)
        each = -(-len(curve) // len(few))
        drawn.append({"name": name, "chart": chart, "each": f"means of {each}" if each > 1 else ""})
    return [d for d in drawn if d["chart"]]


def _validated(run: RunFacts) -> Sequence[dict[str, Any]]:
    names = _buckets(run)
    return [
        {
            "name": "condition use" if name == CONDITION_USE else name,
            "about": _about(name),
            "chart": series_chart(dict(zip(names, curves, strict=True)), label=f"{name} by bucket"),
            "first": [_end(curve, 0) for curve in curves],
            "last": [_end(curve, -1) for curve in curves],
            "mean": figure(mean_of([c[-1][1] for c in curves if c])),
        }
        for name, curves in run.validated.items()
    ]


def _about(name: str) -> str:
    if name == CONDITION_USE:
        return "how much worse with another face as the condition; 0: it is not looked at"
    return "a contest: neither low nor high is good" if name in ADVERSARIAL else "lower is better"


def _buckets(run: RunFacts) -> list[str]:
    """Names of the parts of the schedule, in percent of it, the least noise first."""
    count = len(next(iter(run.validated.values()), []))
    return [f"{100 * i // count}-{100 * (i + 1) // count} %" for i in range(count)]


def _end(curve: Curve, place: int) -> str:
    return figure(curve[place][1]) if curve else figure(None)


def _grids(folder: Path) -> list[dict[str, Any]]:
    files = grid_files(folder)
    if len(files) > GRIDS:
        places = {round(i * (len(files) - 1) / (GRIDS - 1)) for i in range(GRIDS)}
        files = [files[place] for place in sorted(places)]
    return [
        {"step": step, "picture": _embedded(file), "samples": _shown(file)}
        for step, file in reversed(files)
    ]


def _shown(file: Path) -> list[str]:
    try:
        told = json.loads(file.with_name(file.name + SIDECAR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(s) for s in told.get("samples", [])]


def _embedded(file: Path) -> str:
    image = Image.open(file).convert("RGB")
    image.thumbnail((WIDEST, 8 * WIDEST), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def _data(run: RunFacts, store: Store) -> dict[str, Any]:
    """Samples of the pinned version by split, and what allows their use, as it stands now."""
    version = (run.record.get("tables") or {}).get("samples")
    rows = store.read(Sample, version) if version is not None else []
    used = [s for s in rows if s.split == "train" and s.weight > 0]
    consents, licences = read_view(store), _licences(store)
    bases = Counter(c.basis if (c := consents.get(s.consent_id)) else "unknown" for s in used)
    return {
        "version": version,
        "at_start": run.record.get("samples"),
        "splits": Counter(s.split for s in rows).most_common(),
        "used": len(used),
        "consents": len({s.consent_id for s in used}),
        "bases": bases.most_common(),
        "licences": Counter(licences.get(s.photo_id) or "not told" for s in used).most_common(),
    }


def _licences(store: Store) -> Mapping[str, str | None]:
    table = store.columns(Photo, ["photo_id", "licence"])
    if table is None or "licence" not in table.column_names:
        return {}
    found = table.to_pydict()
    return dict(zip(found["photo_id"], found["licence"], strict=True))


def _settings(run: RunFacts) -> list[dict[str, Any]]:
    """Every setting, and whether it is another than the default."""
    kind = PriorConfig if run.record.get("kind") == "prior" else RestorerConfig
    usual = dict(flat(kind().model_dump(mode="json")))
    return [
        {"name": name, "value": _worded(value), "own": name in usual and usual[name] != value}
        for name, value in run.settings.items()
    ]


def _worded(value: Any) -> str:
    """A setting's value as a settings file has it."""
    if value is None:
        return "not set"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _versions(run: RunFacts) -> list[tuple[str, str]]:
    code = run.record.get("code") or {}
    commit = str(code.get("commit", "")) + (" with changes" if code.get("dirty") else "")
    rows = [("code", commit or str(code.get("version") or "not told"))]
    rows.append(("base", str(run.record.get("base", ""))))
    rows.append(("base, SHA-256", str(run.record.get("base_sha256") or "not told")))
    rows.append(("Python", str(run.record.get("python", ""))))
    packages = run.record.get("packages") or {}
    return rows + [(name, str(version)) for name, version in packages.items() if version]


def _span(seconds: float) -> str:
    """A time for people: of the two largest units that it has."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
