"""The one place that knows open_clip: pictures and sentences to vectors of one space.

Reads proxies under `media` and, the first time, the model's weights; chooses the device. Off unless
a model is named in [ingest.embed]: suggestions count for nothing until a person confirms them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.config import EmbedConfig
from curation.zeroshot import Prompts, Questions, Vectors, unit
from data_manifests.errors import ConfigError, MissingExtra
from data_manifests.records import Photo
from data_manifests.store import Store

__all__ = ["Embedder", "embed_photos", "embed_table", "open_embedder"]

Pictures = Sequence[NDArray[np.uint8]]  # each sRGB HWC, any size

_NOTE = "could not be embedded"
_READ_SIDE = 512  # px; models look at 224 to 448
_TEXTS_AT_ONCE = 64

log = logging.getLogger(__name__)


class Embedder:
    """Pictures and sentences to unit vectors; `name` says which model with which weights.

    The model is loaded at the first call.
    """

    def __init__(self, name: str, load: Callable[[], _Loaded]) -> None:
        self.name = name
        self._load = load

    def images(self, pictures: Pictures) -> Vectors:
        """Unit rows BD of sRGB pictures HWC uint8."""
        model = self._loaded
        inputs = [model.preprocess(Image.fromarray(p)) for p in pictures]
        return model.encode("encode_image", inputs)

    def texts(self, sentences: Sequence[str]) -> Vectors:
        """Unit rows BD of sentences."""
        model = self._loaded
        tokens = model.tokenize(list(sentences))
        some = range(0, len(tokens), _TEXTS_AT_ONCE)
        parts = [model.encode("encode_text", tokens[i : i + _TEXTS_AT_ONCE]) for i in some]
        return np.concatenate(parts)

    @property
    def logit_scale(self) -> float:
        """What the model multiplies cosines with before a softmax; learned with it."""
        return self._loaded.logit_scale

    @cached_property
    def _loaded(self) -> _Loaded:
        return self._load()


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any = field(repr=False)
    preprocess: Any
    tokenize: Any
    device: str
    logit_scale: float

    def encode(self, method: str, inputs: Any) -> Vectors:
        import torch

        stacked = torch.stack(list(inputs)).to(self.device)
        with torch.inference_mode():
            found = getattr(self.model, method)(stacked).float().cpu().numpy()
        return unit(found)


def open_embedder(config: EmbedConfig, *, random_weights: bool = False) -> Embedder:
    """The model that the settings name; nothing is loaded yet.

    Raises ConfigError where none is named, it or its weights are unknown, or it has no weights:
    `random_weights` is for tests, whose vectors mean nothing.
    """
    if config.model is None:
        raise ConfigError(
            "No embedding model is named, so photos are not embedded.",
            'Set [ingest.embed] model = "ViT-B-32" and pretrained = a tag of open_clip or a '
            "weights file in authface.toml.",
        )
    open_clip = _open_clip()
    if config.model not in open_clip.list_models():
        raise ConfigError(
            f"open_clip knows no model {config.model!r}.",
            "See open_clip.list_models() for the names.",
        )
    weights = _weights(config.model, config.pretrained, random_weights=random_weights)
    name = f"{config.model}/{weights}"
    return Embedder(name, lambda: _load(str(config.model), config.pretrained))


def embed_photos(
    photos: Iterable[Photo],
    *,
    media: Path,
    embedder: Embedder,
    prompts: Prompts,
    config: EmbedConfig,
) -> Iterator[Photo]:
    """Yield the photos whose row changes: with a vector, suggestions and the watermark's verdict.

    Only what lacks this embedder's vector is read and embedded; the rest is asked again, which
    costs next to nothing. A proxy that can't be read is noted in its row, and the next is taken.
    Quarantined photos and those without a proxy are passed over.
    """
    questions = None
    rest = (p for p in photos if p.state != "quarantined" and p.proxy_path)
    while batch := list(islice(rest, config.batch)):
        if questions is None:
            questions = Questions.of(prompts, embedder.texts, embedder.logit_scale)
        embedded = list(_with_vectors(batch, media, embedder))
        answered = questions.answer([p for p in embedded if p.embedder == embedder.name], config)
        told = {p.photo_id: p for p in answered}
        for before, photo in zip(batch, embedded, strict=True):
            after = told.get(photo.photo_id, photo)
            if after != before:
                yield after


def embed_table(
    store: Store, *, media: Path, embedder: Embedder, prompts: Prompts, config: EmbedConfig
) -> Iterator[Photo]:
    """Embed the Photo table; each batch is committed before its photos are yielded."""
    photos = sorted(store.read(Photo), key=lambda p: p.photo_id)
    changed = embed_photos(photos, media=media, embedder=embedder, prompts=prompts, config=config)
    while some := list(islice(changed, max(config.batch, 32))):
        store.upsert(Photo, some, why=f"embed {len(some)} photos with {embedder.name}")
        yield from some


def _with_vectors(photos: Sequence[Photo], media: Path, embedder: Embedder) -> Iterator[Photo]:
    """The photos in order; those without this embedder's vector are embedded, or noted."""
    lacking = [p for p in photos if p.embedder != embedder.name or not p.embedding]
    pictures, troubles = {}, {}
    for photo in lacking:
        try:
            pictures[photo.photo_id] = _read(media / str(photo.proxy_path))
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's words for a damaged file
            log.warning("%s %s: %s", photo.proxy_path, _NOTE, error)
            troubles[photo.photo_id] = f"{_NOTE}: {type(error).__name__}"
    rows_BD = embedder.images(list(pictures.values())) if pictures else np.zeros((0, 0))
    vectors = dict(zip(pictures, rows_BD, strict=True))
    for photo in photos:
        notes = tuple(n for n in photo.notes if not n.startswith(_NOTE))
        if photo.photo_id in vectors:
            vector = tuple(float(v) for v in vectors[photo.photo_id])
            yield replace(photo, embedding=vector, embedder=embedder.name, notes=notes)
        elif photo.photo_id in troubles:
            yield replace(photo, notes=(*notes, troubles[photo.photo_id]))
        else:
            yield photo


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        picture.draft("RGB", (_READ_SIDE * 2, _READ_SIDE * 2))
        small = picture.convert("RGB")
    small.thumbnail((_READ_SIDE, _READ_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(small)


def _weights(model: str, pretrained: str | None, *, random_weights: bool) -> str:
    """What names the weights: open_clip's tag, or a file's name and the start of its SHA-256."""
    tags = _open_clip().list_pretrained_tags_by_model(model)
    if pretrained is None:
        if random_weights:
            return "random"
        raise ConfigError(
            f"No weights are named for {model}; with random ones every suggestion is noise.",
            f"Set [ingest.embed] pretrained to a file, or to one of: {_listed(tags)}.",
        )
    if pretrained in tags:
        return pretrained
    path = Path(pretrained).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"{pretrained!r} is neither a file nor one of open_clip's weights for {model}.",
            f"It has: {_listed(tags)}.",
        )
    with path.open("rb") as handle:
        return f"{path.name}-{hashlib.file_digest(handle, 'sha256').hexdigest()[:12]}"


def _listed(tags: Sequence[str]) -> str:
    return ", ".join(tags[:6]) + (", ..." if len(tags) > 6 else "") if tags else "none"


def _load(model: str, pretrained: str | None) -> _Loaded:
    import torch

    open_clip = _open_clip()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = Path(pretrained or "").expanduser()
    source = str(path) if pretrained and path.is_file() else pretrained
    try:
        made, _, preprocess = open_clip.create_model_and_transforms(
            model, pretrained=source, device=device
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"{model} could not be loaded with the weights {pretrained}: {_first_line(error)}.",
            "Check that the file belongs to this model, or that it could be fetched.",
        ) from error
    made.eval().requires_grad_(requires_grad=False)
    scale = float(made.logit_scale.exp())
    return _Loaded(made, preprocess, open_clip.get_tokenizer(model), device, scale)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".:")


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtra("open_clip_torch", "clip", "Embedding photos") from error
    return open_clip
