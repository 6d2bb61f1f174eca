"""Training runs side by side: what differs between them, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from authface.charts import series_chart
from authface.pages import page_environment
from authface.run_facts import ADVERSARIAL, RunFacts, thinned
from authface.run_page import figure

__all__ = ["Line", "compare_runs", "doubts", "render_comparison"]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing told of every run, in the order of the runs."""

    group: str
    name: str
    values: tuple[str, ...]


def compare_runs(runs: Sequence[RunFacts]) -> list[Line]:
    """What differs in settings, data and code; then losses and speed, differing or not."""
    return [*_differing(runs), *_outcomes(runs)]


def doubts(runs: Sequence[RunFacts]) -> list[str]:
    """Why some figures must not be held against each other; empty if nothing speaks against it."""
    told = []
    if len({run.record.get("kind") for run in runs}) > 1:
        told.append("the runs are of different stages: their losses mean different things")
    looked = [run for run in runs if run.validations]
    facts = {(r.validations[-1].get("of"), r.settings.get("size")) for r in looked}
    if len(facts) > 1:
        told.append("the validations are of different samples or sizes: compare within a run only")
    if len({recipe for run in looked if (recipe := run.settings.get("recipe"))}) > 1:
        told.append("the runs degrade by different recipes, in validation too")
    if len({run.settings.get("target", "base") for run in looked}) > 1:
        told.append("the runs predict different targets: their errors have different units")
    if any(row.get("seen") for run in looked for row in run.validations[-1:]):
        told.append("some validations are of samples that were trained on")
    return told


def render_comparison(runs: Sequence[RunFacts]) -> str:
    """The page as text: the table, and the curves of all runs in one chart each."""
    return (
        page_environment()
        .get_template("compare.html.j2")
        .render(
            names=[run.name for run in runs],
            lines=compare_runs(runs),
            doubts=doubts(runs),
            charts=list(_charts(runs)),
        )
    )


def _differing(runs: Sequence[RunFacts]) -> Iterator[Line]:
    names = dict.fromkeys(name for run in runs for name in run.settings)
    for name in names:
        yield from _if_differing("settings", name, [run.settings.get(name) for run in runs])
    records = [run.record for run in runs]
    yield from _if_differing("stands on", "stage", [r.get("kind") for r in records])
    versions = [(r.get("tables") or {}).get("samples") for r in records]
    yield from _if_differing("stands on", "samples@", versions)
    yield from _if_differing("stands on", "samples", [r.get("samples") for r in records])
    bases = [str((r.get("base_sha256") or "")[:12] or r.get("base")) for r in records]
    yield from _if_differing("stands on", "base", bases)
    yield from _if_differing("stands on", "code", [_code(r.get("code") or {}) for r in records])
    packages = dict.fromkeys(name for r in records for name in r.get("packages") or {})
    for name in packages:
        told = [(r.get("packages") or {}).get(name) for r in records]
        yield from _if_differing("stands on", name, told)


def _outcomes(runs: Sequence[RunFacts]) -> Iterator[Line]:
    yield Line("outcome", "updates", tuple(f"{run.done:,}" for run in runs))
    yield _figures("outcome", "loss, last tenth", [run.final_loss for run in runs])
    means = [run.validated_means for run in runs]
    for name in dict.fromkeys(name for told in means for name in told):
        ends = [told[name][-1][1] if name in told else None for told in means]
        label = "condition use" if name == "condition_use" else f"validation, {name}"
        yield _figures("outcome", f"{label}, last", ends)
        if name not in ("condition_use", *ADVERSARIAL):
            best = [min(told[name], key=lambda p: p[1]) if name in told else None for told in means]
            said = tuple(f"{figure(b[1])} at {b[0]}" if b else figure(None) for b in best)
            yield Line("outcome", f"{label}, best", said)
    yield _figures("speed", "samples per second", [run.middle("samples_per_s") for run in runs])
    shares = [run.middle("mfu") for run in runs]
    if any(share is not None for share in shares):
        yield Line("speed", "MFU", tuple("-" if s is None else f"{s:.1%}" for s in shares))
    yield Line("speed", "time on steps", tuple(_lasting(run.seconds) for run in runs))


def _if_differing(group: str, name: str, values: Sequence[Any]) -> Iterator[Line]:
    if any(value != values[0] for value in values):
        yield Line(group, name, tuple("-" if v is None else str(v) for v in values))


def _figures(group: str, name: str, values: Sequence[float | None]) -> Line:
    return Line(group, name, tuple(figure(value) for value in values))


def _lasting(seconds: float) -> str:
    for unit, long in (("h", 3600), ("min", 60)):
        if seconds >= long:
            return f"{seconds / long:,.3g} {unit}"
    return f"{seconds:.3g} s"


def _code(code: dict[str, Any]) -> str | None:
    commit = code.get("commit")
    if not commit:
        return code.get("version")
    return str(commit)[:12] + (" with changes" if code.get("dirty") else "")


def _charts(runs: Sequence[RunFacts]) -> Iterator[tuple[str, str]]:
    curves = {"loss": [thinned(run.curve("loss")) for run in runs]}
    means = [run.validated_means for run in runs]
    for name in dict.fromkeys(name for told in means for name in told):
        label = "condition use" if name == "condition_use" else f"validation, {name}"
        curves[label] = [told.get(name, []) for told in means]
    for label, drawn in curves.items():
        # By number, as a run may be named twice.
        series = {f"{i}. {run.name}": c for i, (run, c) in enumerate(zip(runs, drawn, strict=True))}
        if chart := series_chart(series, label=label):
            yield label, chart
