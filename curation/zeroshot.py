"""Vectors of pictures and of sentences to suggestions: pure arithmetic, no model, no file.

Vectors are unit rows of one model's common space, float32. Scores are probabilities between the
offered answers only: they say nothing about an answer that was not offered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curation.config import EmbedConfig
from data_manifests.records import Photo, Suggestion, Verdict

__all__ = [
    "AESTHETIC",
    "WATERMARK",
    "Asked",
    "EmbedTexts",
    "Prompts",
    "Questions",
    "Vectors",
    "antonym_score",
    "ask",
    "judge_watermark",
    "suggest",
    "unit",
]

Vectors = NDArray[np.float32]  # BD, unit rows
EmbedTexts = Callable[[Sequence[str]], Vectors]
Prompts = Mapping[str, Mapping[str, Sequence[str]]]  # question -> value -> sentences

# (more of it, less of it). Source: Wang et al., CLIP-IQA, AAAI 2023, section 3: antonym pairs, so
# that what both sentences share falls out. The first pair of AESTHETIC is theirs.
AESTHETIC = (
    ("Good photo.", "Bad photo."),
    ("A beautiful portrait photograph.", "An ugly snapshot."),
    ("A professional portrait.", "An amateur picture."),
)
WATERMARK = (
    ("A photo with a watermark across it.", "A photo without a watermark."),
    ("A stock photo with a logo or text over the picture.", "A clean photo without any text."),
)

_ORIGIN = "open_clip"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as vectors: one unit row for each value it can take."""

    question: str
    values: tuple[str, ...]
    vectors_VD: Vectors


def unit(vectors_BD: NDArray[np.floating]) -> Vectors:
    """The rows at length 1; a row of zeros stays zero."""
    length_B1 = np.linalg.norm(vectors_BD, axis=-1, keepdims=True)
    return np.asarray(vectors_BD / np.maximum(length_B1, 1e-12), dtype=np.float32)


def ask(prompts: Prompts, embed: EmbedTexts) -> tuple[Asked, ...]:
    """Every question as vectors: the mean over each value's sentences, at length 1.

    Source: Radford et al., CLIP, ICML 2021, section 3.1.4, prompt ensembling in embedding space.
    """
    asked = []
    for question, values in prompts.items():
        counts = [len(sentences) for sentences in values.values()]
        vectors_SD = embed([s for sentences in values.values() for s in sentences])
        parts = np.split(vectors_SD, np.cumsum(counts)[:-1])
        means_VD = np.stack([part.mean(axis=0) for part in parts])
        asked.append(Asked(question, tuple(values), unit(means_VD)))
    return tuple(asked)


def suggest(
    vectors_BD: Vectors, asked: Sequence[Asked], *, logit_scale: float, least_score: float
) -> list[tuple[Suggestion, ...]]:
    """Of each picture the likeliest answer to every question, where it reaches `least_score`.

    Softmax over the cosines times the model's logit scale. Source: Radford et al., ICML 2021,
    figure 3.
    """
    chances = [softmax(logit_scale * vectors_BD @ a.vectors_VD.T) for a in asked]
    return [
        tuple(
            Suggestion(question=a.question, value=a.values[best], score=_score(row[best]))
            for a, chance_BV in zip(asked, chances, strict=True)
            if (row := chance_BV[i])[best := int(row.argmax())] >= least_score
        )
        for i in range(len(vectors_BD))
    ]


def antonym_score(vectors_BD: Vectors, pairs_P2D: Vectors, *, logit_scale: float) -> Vectors:
    """How much each picture is like the first of each pair rather than the second: B, 0 to 1.

    The mean over the pairs. Source: Wang et al., CLIP-IQA, AAAI 2023, equations 2 and 3; they take
    out the positional embedding, which asks for a ResNet, and we do not.
    """
    logits_BP2 = logit_scale * np.einsum("bd,pkd->bpk", vectors_BD, pairs_P2D)
    return np.asarray(softmax(logits_BP2)[..., 0].mean(axis=-1), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Questions:
    """What every photo is asked, as vectors."""

    asked: tuple[Asked, ...]
    aesthetic_P2D: Vectors
    watermark_P2D: Vectors
    logit_scale: float

    @classmethod
    def of(cls, prompts: Prompts, embed: EmbedTexts, logit_scale: float) -> Questions:
        """The prompts, and the house's own questions of looks and watermarks."""

        def pairs(texts: Sequence[tuple[str, str]]) -> Vectors:
            return np.stack([embed(pair) for pair in texts])

        return cls(ask(prompts, embed), pairs(AESTHETIC), pairs(WATERMARK), logit_scale)

    def answer(self, photos: Sequence[Photo], config: EmbedConfig) -> Iterator[Photo]:
        """The embedded photos with what the model proposes."""
        if not photos:
            return
        vectors_BD = np.array([p.embedding for p in photos], dtype=np.float32)
        scale = self.logit_scale
        tags = suggest(vectors_BD, self.asked, logit_scale=scale, least_score=config.least_score)
        liked_B = antonym_score(vectors_BD, self.aesthetic_P2D, logit_scale=scale)
        marked_B = antonym_score(vectors_BD, self.watermark_P2D, logit_scale=scale)
        for photo, said, liked, marked in zip(photos, tags, liked_B, marked_B, strict=True):
            scores = (
                Suggestion(question="aesthetic", value="good_photo", score=round(float(liked), 3)),
                Suggestion(question="watermark", value="watermark", score=round(float(marked), 3)),
            )
            proposed = tuple(
                replace(s, origin=f"{_ORIGIN} {photo.embedder}") for s in said + scores
            )
            # What others proposed stays; a row of before origins were kept has none.
            others = tuple(
                s for s in photo.suggestions if s.origin and not s.origin.startswith(_ORIGIN)
            )
            yield judge_watermark(
                replace(photo, suggestions=proposed + others), round(float(marked), 3), config
            )


def judge_watermark(photo: Photo, chance: float, config: EmbedConfig) -> Photo:
    """The photo with the watermark's verdict, if it is a gate; without it, if it is none any more.

    A photo that this gate alone had set aside is kept again when it no longer does.
    """
    verdicts = tuple(v for v in photo.verdicts if v.gate != "watermark")
    reasons = tuple(r for r in photo.reasons if r != "watermark")
    if config.watermark_gate:
        keep = chance <= config.most_watermark
        why = "" if keep else f"looks watermarked: {chance:.0%} sure"
        verdicts += (
            Verdict(
                gate="watermark",
                value=chance,
                threshold=config.most_watermark,
                keep=keep,
                reason=why,
            ),
        )
        reasons += () if keep else ("watermark",)
    alone = photo.reasons == ("watermark",)
    state = "set_aside" if reasons else "kept" if alone else photo.state
    return replace(photo, verdicts=verdicts, reasons=reasons, state=state)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Softmax over the last axis."""
    shifted = np.asarray(logits, dtype=np.float64)
    powers = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _score(chance: float) -> float:
    """Three digits: a batch's rounding must not make a row look changed."""
    return round(float(chance), 3)
