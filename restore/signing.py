"""C2PA: outputs signed with the user's own key, so that what was done to a photo can be proved.

Needs the extra c2pa. Nothing goes out to the network unless a timestamp server is named. A key is
read once, stays in memory, and stands in no message. Source: C2PA specification 2.2.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from curation.decode import kind_of
from data_manifests.errors import ConfigError, InputError, MissingExtra
from restore.provenance import COMPOSITE, SOURCE_TYPES, Mark, creator_tool

if TYPE_CHECKING:
    from restore.config import C2paConfig

__all__ = ["KEY_VARIABLE", "Signer", "open_signer"]

KEY_VARIABLE = "AUTHFACE_C2PA_KEY"
_MEDIA = {
    "AVIF": "image/avif",
    "HEIF": "image/heic",
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "PSD": "image/vnd.adobe.photoshop",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
}
# No thumbnails: one of the input would show the face from before the edit.
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {
        "verify_after_sign": True,
        "verify_trust": False,
        "ocsp_fetch": False,
        "remote_manifest_fetch": False,
    },
}
_CHAIN = "Give the chain as PEM, the signer's certificate first, and the key that belongs to it."


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate chain and its key, ready to sign. `holder` is whom the certificate names."""

    holder: str
    valid_until: datetime
    algorithm: str
    timestamp: str | None
    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)

    def sign(self, data: bytes, name: str, *, source: Path, mark: Mark) -> bytes:
        """The bytes of a JPEG, PNG, TIFF or WebP with a signed manifest in it; pixels stay.

        It says that `source` was opened (its hash, and the manifests that it brings) and edited by
        a model. Two signatures of the same bytes differ. Raises InputError.
        """
        try:
            with source.open("rb") as parent:
                return _sign(self, data, _MEDIA[name], (parent, source.name, _media(source)), mark)
        except _c2pa().C2paError as error:
            raise InputError(
                f"The output of {source.name} can't be signed: {_words(error)}.",
                "Check the certificate and the timestamp server, or take [restore.c2pa] away.",
            ) from error


def open_signer(config: C2paConfig) -> Signer | None:
    """The signer of the settings, none if they name no certificate.

    A key that does not fit, or a certificate that is expired or unfit for signing, is found here,
    before the first photo: ConfigError. Raises MissingExtra without the package.
    """
    if config.certificate is None:
        if config.key is not None:
            raise ConfigError("[restore.c2pa] names a key and no certificate.", _CHAIN)
        return None
    _c2pa()
    from cryptography.hazmat.primitives import serialization as forms

    certificates = _certificates(config.certificate)
    key = _key(config)
    first = certificates[0]
    if first.public_key() != key.public_key():
        raise ConfigError(
            f"The key does not belong to the first one of {config.certificate}.", _CHAIN
        )
    _check_dates(first, config.certificate)
    signer = Signer(
        holder=first.subject.rfc4514_string(),
        valid_until=first.not_valid_after_utc,
        algorithm=_algorithm(key),
        timestamp=config.timestamp,
        chain=b"".join(c.public_bytes(forms.Encoding.PEM) for c in certificates),
        key=key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()),
    )
    _try(signer, config.certificate)
    return signer


def _c2pa() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise MissingExtra("c2pa-python", "c2pa", "Signing outputs") from error
    return c2pa


def _read(path: str, what: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The {what} {path} can't be read: {error.strerror}.", "Check [restore.c2pa]."
        ) from error


def _certificates(path: str) -> Sequence[Any]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(_read(path, "certificate"))
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate in PEM.", _CHAIN) from error


def _key(config: C2paConfig) -> Any:
    """The private key, from the environment (the key itself, or its file) or from the settings."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    said = os.environ.get(KEY_VARIABLE, "")
    if said.lstrip().startswith("-----BEGIN"):
        data, where = said.encode(), KEY_VARIABLE
    elif said or config.key is not None:
        where = said or config.key or ""
        data = _read(where, "key")
    else:
        raise ConfigError(
            "There is a certificate to sign with and no key.",
            f"Set [restore.c2pa] key, or {KEY_VARIABLE} in the environment.",
        )
    try:
        return load_pem_private_key(data, password=None)
    except TypeError as error:
        raise ConfigError(
            f"The key of {where} is locked with a password.",
            "Unlock it into a file that only you can read.",
        ) from error
    except (ValueError, UnsupportedAlgorithm):
        # Not "from error": what the parser says may quote the key.
        raise ConfigError(f"{where} holds no private key in PEM.", _CHAIN) from None


def _algorithm(key: Any) -> str:
    """The one that fits the key. Source: C2PA specification 2.2, 13.2."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey):
        known = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        found = known.get(key.curve.name)
        if found:
            return found
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise ConfigError(
        "C2PA knows no signature of this kind of key.",
        "Take ECDSA (P-256, P-384, P-521), RSA of at least 2048 bits, or Ed25519.",
    )


def _check_dates(certificate: Any, path: str) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if start <= datetime.now(UTC) <= end:
        return
    raise ConfigError(
        f"The certificate {path} is valid from {start:%Y-%m-%d} to {end:%Y-%m-%d}, not today.",
        "Renew it, or take [restore.c2pa] away.",
    )


def _try(signer: Signer, path: str) -> None:
    """Sign one pixel, without a timestamp: what C2PA asks of a certificate is found out so."""
    pixel = io.BytesIO()
    Image.new("L", (1, 1)).save(pixel, "PNG")
    trial = Signer(
        signer.holder, signer.valid_until, signer.algorithm, None, signer.chain, signer.key
    )
    try:
        _sign(trial, pixel.getvalue(), "image/png", (pixel, "trial", "image/png"), Mark())
    except _c2pa().C2paError as error:
        raise ConfigError(
            f"{path} can't be used to sign by C2PA: {_words(error)}.",
            "It needs a certificate for signing (digitalSignature, and emailProtection or "
            "documentSigning) that is not self-signed.",
        ) from error


def _sign(
    signer: Signer, data: bytes, media: str, parent: tuple[Any, str, str], mark: Mark
) -> bytes:
    """`parent`: the open input, its name and its media type."""
    c2pa = _c2pa()
    stream, title, kind = parent
    info = c2pa.C2paSignerInfo(
        signer.algorithm.encode(),
        signer.chain,
        signer.key,
        (signer.timestamp or "").encode() or None,
    )
    out = io.BytesIO()
    with (
        c2pa.Context(c2pa.Settings.from_dict(_SETTINGS)) as context,
        c2pa.Builder(_manifest(mark), context) as builder,
        c2pa.Signer.from_info(info) as key,
    ):
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)  # adds c2pa.opened of the parent
        builder.add_ingredient({"title": title, "relationship": "parentOf"}, kind, stream)
        builder.sign(key, media, io.BytesIO(data), out)
    return out.getvalue()


def _manifest(mark: Mark) -> dict[str, Any]:
    name, _, version = creator_tool().partition(" ")
    agent = {"name": name, **({"version": version} if version else {})}
    made_by = {
        "authface.model": mark.model,
        "authface.model_sha256": mark.model_sha256,
        "authface.seed": mark.seed,
        "authface.settings_sha256": mark.settings_sha256,
    }
    edited = {
        "action": "c2pa.edited",
        "description": "Faces in it were made by a model.",
        "digitalSourceType": SOURCE_TYPES + COMPOSITE,
        "softwareAgent": agent,
        "parameters": {k: v for k, v in made_by.items() if v not in ("", None)},
    }
    if not edited["parameters"]:
        del edited["parameters"]
    actions = {"label": "c2pa.actions.v2", "data": {"actions": [edited]}}
    return {"claim_generator_info": [agent], "assertions": [actions]}


def _media(source: Path) -> str:
    """The input's media type; C2PA only hashes what it does not know."""
    if source.suffix.lower() == ".dng":
        return "image/x-adobe-dng"
    return _MEDIA.get(kind_of(source), "application/octet-stream")


def _words(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300]
