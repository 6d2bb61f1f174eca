"""Captions and tags drafted by a vision-language model, for people to confirm.

The one place that knows such a model: reads proxies under `media` and the model's files, chooses
the device. Off unless a model is named. Source of the idea: AuthFace (Liang et al., 2024), whose
captions are tags written by Qwen2.5-VL.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from data_manifests.errors import ConfigError, MissingExtra
from data_manifests.records import Photo, Suggestion

__all__ = ["CAPTION", "Draft", "Drafter", "draft_photos", "open_drafter", "prompt_of", "read_draft"]

Questions = Mapping[str, Sequence[str]]  # question -> values that it may have

CAPTION = "caption"
_SIDE = 1024  # px; a face's detail still shows, and the picture is some 1,300 tokens
_LONGEST = 400  # characters of a caption

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a model wrote, and the mean probability of its tokens, 0 to 1."""

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Drafter:
    """A model that answers a question about a picture; `origin` is its name and revision."""

    origin: str
    write: Callable[[Image.Image, str], Draft]


def prompt_of(questions: Questions) -> str:
    """What the model is asked: a caption in phrases, and a tag for each question."""
    lines = [f"- {name}: {', '.join(values)}" for name, values in questions.items()]
    return (
        "Describe this portrait photograph for a data set. Answer with one JSON object and nothing"
        ' else: {"caption": "...", "tags": {"question": "value"}}. The caption is a list of short'
        " phrases with commas between: first what is in the picture, then how it was photographed."
        " Don't guess who the person is. For tags choose from these values, and leave out what you"
        " can't see:\n" + "\n".join(lines)
    )


def read_draft(draft: Draft, questions: Questions, origin: str) -> tuple[Suggestion, ...]:
    """The suggestions in what a model wrote; values that the questions lack are dropped.

    Without a JSON object in it there are none: a caption is never made of stray words.
    """
    said = _object_in(draft.text)
    caption, tags = said.get("caption"), said.get("tags")
    score = round(min(max(draft.score, 0.0), 1.0), 3)
    found = []
    if isinstance(caption, str) and (text := " ".join(caption.split())[:_LONGEST]):
        found.append(Suggestion(question=CAPTION, value=text, score=score, origin=origin))
    for name, given in tags.items() if isinstance(tags, dict) else ():
        values = given if isinstance(given, list) else [given]
        known = [v for v in dict.fromkeys(map(str, values)) if v in questions.get(name, ())]
        found += [Suggestion(question=name, value=v, score=score, origin=origin) for v in known]
    return tuple(found)


def draft_photos(
    photos: Iterable[Photo], *, media: Path, drafter: Drafter, questions: Questions
) -> Iterator[Photo]:
    """Yield the kept photos that this model has not drafted yet, with its suggestions.

    Those of other models and measurements stay. A proxy that can't be read is passed over.
    """
    prompt = prompt_of(questions)
    for photo in photos:
        told = any(s.origin == drafter.origin for s in photo.suggestions)
        if photo.state != "kept" or not photo.proxy_path or told:
            continue
        try:
            with Image.open(media / photo.proxy_path) as opened:
                picture = opened.convert("RGB")
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's words for a damaged file
            log.warning("%s could not be read: %s", photo.proxy_path, error)
            continue
        picture.thumbnail((_SIDE, _SIDE))
        said = read_draft(drafter.write(picture, prompt), questions, drafter.origin)
        if said:
            yield replace(photo, suggestions=photo.suggestions + said)


def open_drafter(model: str, *, revision: str | None = None, most_tokens: int = 512) -> Drafter:
    """The model of a local folder or a hub id such as Qwen/Qwen2.5-VL-7B-Instruct, loaded.

    Raises MissingExtra without torch or a transformers that has such models, and ConfigError if
    the model can't be loaded.
    """
    try:
        from transformers import AutoModelForImageTextToText, AutoProcessor
    except ImportError as error:
        raise MissingExtra("transformers", "torch", "Drafting captions") from error
    folder = Path(model).expanduser()
    source = str(folder) if folder.is_dir() else model
    try:
        processor = AutoProcessor.from_pretrained(source, revision=revision)
        net = AutoModelForImageTextToText.from_pretrained(
            source, revision=revision, dtype="auto"
        ).eval()
    except (OSError, ValueError, KeyError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise ConfigError(
            f"The model {model} could not be loaded: {why}.",
            "Name a folder or hub id of an image-text-to-text model, such as Qwen2.5-VL.",
        ) from error
    at = _folder_hash(folder) if folder.is_dir() else str(getattr(net.config, "_commit_hash", ""))
    name = folder.name if folder.is_dir() else model
    return Drafter(f"{name} {at[:12] or revision or 'main'}", _writer(net, processor, most_tokens))


def _writer(net: Any, processor: Any, most_tokens: int) -> Callable[[Image.Image, str], Draft]:
    import torch

    net.to("cuda" if torch.cuda.is_available() else "cpu")

    def write(picture: Image.Image, prompt: str) -> Draft:
        asked = [{"type": "image"}, {"type": "text", "text": prompt}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": asked}], add_generation_prompt=True
        )
        inputs = processor(text=[text], images=[picture], return_tensors="pt").to(net.device)
        with torch.inference_mode():  # greedy: the same picture gives the same draft
            made = net.generate(
                **inputs,
                max_new_tokens=most_tokens,
                do_sample=False,
                return_dict_in_generate=True,
                output_logits=True,
            )
        tokens = made.sequences[0, inputs["input_ids"].shape[1] :]
        chances = [
            torch.log_softmax(logits[0].float(), -1)[token]
            for logits, token in zip(made.logits, tokens, strict=True)
        ]
        score = float(torch.stack(chances).mean().exp()) if chances else 0.0
        return Draft(processor.tokenizer.decode(tokens, skip_special_tokens=True), score)

    return write


def _object_in(text: str) -> dict[str, Any]:
    """The JSON object between the first and the last brace, empty if there is none."""
    try:
        said = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _folder_hash(folder: Path) -> str:
    """Tells two folders apart without reading gigabytes: settings whole, weights by size."""
    found = hashlib.sha256()
    for file in sorted(folder.glob("*.json")):
        found.update(file.name.encode() + file.read_bytes())
    for file in sorted(folder.glob("*.safetensors")):
        found.update(f"{file.name} {file.stat().st_size}".encode())
    return found.hexdigest()
