"""A model's card: Markdown with the header that Hugging Face reads, from the facts beside it.

Every section stands on facts that are there: a model exported without its run's has a short card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from data_manifests.card_text import count_of, line, table

__all__ = ["render"]

Facts = Mapping[str, Any]

_WHAT = {
    "prior": "A text-to-image model of portraits",
    "restorer": "A face-restoration model: a ControlNet on a frozen model of portraits",
}
_TINY = "**Made from the tiny random model, for testing code paths: it makes no good picture.**"
_MISUSE = (
    "It must not be used to make or change pictures of people who have not agreed to it, to "
    "deceive, to demean, or for sexual content."
)
_LIMITS = {
    "prior": (
        "Its portraits look like those it was shown: what is rare there it draws worse.",
        "It may draw a face that resembles somebody it was trained on. Who that was can't be told "
        "from the model, and erasing them from the tables does not take it out of the weights.",
        _MISUSE,
    ),
    "restorer": (
        "A restored face is a guess at what was there: never identify anyone by it, and never use "
        "it as evidence. The worse the input, the more of it is invented.",
        "Skin, eyes, teeth and hair are drawn as the portraits it learnt from have them: marks, "
        "scars and make-up may go or come, and age and skin tone may shift.",
        "It was trained on the damage of its recipe alone: blur, reduction, noise and JPEG of "
        "other kinds may be restored badly. Text, hands and backgrounds are none of its work.",
        "A restored picture should say that it is one; `authface restore` writes that into it.",
        _MISUSE,
    ),
}
_SCORES = {"psnr_db": ("psnr", "PSNR, dB"), "ssim": ("ssim", "SSIM")}


def render(facts: Facts) -> str:
    """The card of a model folder; `facts` are those of its authface.json."""
    pieces = (
        _header(facts),
        _summary(facts),
        _data(facts.get("data", {}), facts),
        _review(facts.get("data", {})),
        _training(facts),
        _metrics(facts),
        _limits(facts),
        _licence(facts),
    )
    return "\n".join(row for piece in pieces for row in piece).rstrip() + "\n"


def _header(facts: Facts) -> Iterator[str]:
    from huggingface_hub import EvalResult, ModelCardData

    kind, name = facts["kind"], f"AuthFace {facts['kind']}"
    task = {"prior": "text-to-image", "restorer": "image-to-image"}[kind]
    scores = facts.get("evaluation", {}).get("means", {})
    results = [
        EvalResult(
            task_type=task,
            dataset_type="own-pairs",
            dataset_name="pairs of restored and sharp pictures",
            metric_type=_SCORES.get(metric, (metric, metric))[0],
            metric_name=_SCORES.get(metric, (metric, metric.replace("_", " ")))[1],
            metric_value=round(value, 4),
        )
        for metric, value in scores.items()
    ]
    base = facts.get("base_model")
    told = ModelCardData(
        model_name=name,
        library_name="diffusers",
        pipeline_tag=task,
        tags=["authface", "faces", "portraits", "stable-diffusion-xl", *_kind_tags(facts)],
        base_model=base,
        base_model_relation=None if not base else "adapter" if kind == "restorer" else "finetune",
        eval_results=results or None,
        **(facts.get("licence") or {"license": "unknown"}),
    )
    yield "---"
    yield told.to_yaml().rstrip()
    yield "---"


def _kind_tags(facts: Facts) -> list[str]:
    if facts["kind"] == "restorer":
        return ["controlnet", "face-restoration"]
    return ["lora"] if facts.get("settings", {}).get("lora_rank") else []


def _summary(facts: Facts) -> Iterator[str]:
    yield f"# AuthFace {facts['kind']}"
    yield ""
    if facts["tiny"]:
        yield _TINY
        yield ""
    steps, whole = facts["trained_steps"], facts.get("of_steps")
    of = f" of {whole}" if whole and whole != steps else ""
    yield (
        f"{_WHAT[facts['kind']]}, trained for {steps}{of} steps at {facts['size']} px on"
        f" {count_of(facts['samples'], 'sample')} ({_versions(facts['table_versions'])}),"
        f" from {_base(facts)}."
    )
    yield ""
    prior = facts.get("prior")
    if prior:
        yield (
            f"It stands on a prior of ours, trained for {prior['trained_steps']} steps on"
            f" {count_of(prior['samples'], 'sample')} ({_versions(prior['table_versions'])})."
        )
        yield ""


def _data(data: Facts, facts: Facts) -> Iterator[str]:
    if not data:
        return
    yield "## Data"
    yield ""
    yield (
        f"{count_of(data['samples'], 'aligned portrait')} from {count_of(data['photos'], 'photo')}"
        f" by {count_of(data['photographers'], 'known photographer')}, of"
        f" {count_of(data['people'], 'known person', 'known people')}."
        f" {data['minors']} show somebody who was a minor when consent was given."
        f" They stand on {count_of(data['consents'], 'consent')}."
    )
    yield ""
    yield f"Counted when the model was written; the tables stood at {_versions(data['versions'])}."
    yield ""
    for what, spread in (
        ("Side of the crop's area in the original", data["native_px"]),
        ("Distance of the eyes in the original", data["eyes_px"]),
    ):
        if spread:
            yield f"- {what}: {spread[0]} to {spread[2]} px, median {spread[1]} px"
    yield ""
    columns = ("value", "samples")
    yield from table("Licences of the photos", columns, data["licences"].items(), level=3)
    yield from table("Basis of the consents", columns, data["bases"].items(), level=3)
    yield from table("What was consented to", columns, data["purposes"].items(), level=3)
    for question, counts in data["who"].items():
        yield from table(f"Answers: {question}", columns, counts.items(), level=3)
    yield from _erased(data, facts)


def _erased(data: Facts, facts: Facts) -> Iterator[str]:
    if data["erased"]:
        told = ", ".join(f"{count} {line(kind)}" for kind, count in data["erased"].items())
        yield f"Erased from the tables on request: {told}."
        yield ""
    if facts.get("saw_erased") or facts.get("prior", {}).get("saw_erased"):
        yield "**It was trained on pictures of somebody who was erased from the tables later.**"
        yield ""


def _review(data: Facts) -> Iterator[str]:
    if not data:
        return
    yield "## How the photos were reviewed"
    yield ""
    voters, share = data["voters_per_photo"], data["agreement"]
    yield (
        f"{count_of(data['answers'], 'answer')} of {count_of(data['reviewers'], 'reviewer')} count"
        + (f", {voters:.2f} per photo" if voters is not None else "")
        + (
            f"; on average {100 * share:.0f} % of the voters agree with the decision"
            if share is not None
            else ""
        )
        + f". Words from a person: {count_of(data['described'], 'sample')}."
        f" Retouched, and reviewed after it: {count_of(data['retouched'], 'sample')}."
    )
    yield ""
    rows = ((g["name"], g["thresholds"] or "-", g["judged"], g["passed"]) for g in data["gates"])
    yield from table("Gates", ("gate", "threshold", "judged", "passed"), rows, level=3, most=100)


def _training(facts: Facts) -> Iterator[str]:
    rows = facts.get("settings", {}).items()
    yield from table("Training settings", ("setting", "value"), rows, most=1000)


def _metrics(facts: Facts) -> Iterator[str]:
    losses, scores = facts.get("losses", {}), facts.get("evaluation", {})
    if not losses and not scores:
        return
    yield "## Metrics"
    yield ""
    if losses:
        rows = [(name, f"{value:.6g}") for name, value in losses["means"].items()]
        title = f"Mean losses of steps {losses['first']} to {losses['last']}, on the training data"
        yield from table(title, ("loss", "mean"), rows, level=3, most=100)
    if scores:
        made = scores["made_by"]
        means = [(name, f"{v:.4g}", made[name]) for name, v in scores["means"].items()]
        title = f"Means over {count_of(scores['pictures'], 'picture')}, `authface evaluate`"
        yield from table(title, ("metric", "mean", "reckoned by"), means, level=3, most=100)


def _limits(facts: Facts) -> Iterator[str]:
    yield "## Limits and misuse"
    yield ""
    yield from (f"- {limit}" for limit in _LIMITS[facts["kind"]])
    size = facts["size"]
    yield f"- It works at {size} px, on faces aligned as `authface ingest` aligns them."
    yield ""


def _licence(facts: Facts) -> Iterator[str]:
    yield "## Licence"
    yield ""
    told = facts.get("licence") or {}
    if told:
        named = f" ({line(told['license_name'])})" if "license_name" in told else ""
        yield (
            f"The base's licence, {line(told['license'])}{named}, applies to what is made of it,"
            " with its restrictions of use. What the photos' licences and consents ask for besides"
            " stands above."
        )
    else:
        yield (
            "The base's licence applies. None was found beside it: look it up, and name it here,"
            " before the model is passed on."
        )


def _base(facts: Facts) -> str:
    if facts.get("base_model"):
        return f"`{line(facts['base_model'])}`"
    return "the tiny random model" if facts["tiny"] else "a base that has no public name"


def _versions(versions: Mapping[str, int]) -> str:
    return " ".join(f"{name}@{version}" for name, version in sorted(versions.items())) or "no table"
