"""Signed outputs read back by C2PA's own reader; certificates are made on the spot."""

from __future__ import annotations

import datetime
import io
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation.decode import read_photo
from data_manifests.errors import ConfigError, InputError, MissingExtra
from restore.batch import plan_jobs, restore_jobs
from restore.config import C2paConfig
from restore.containers import Labels, encode
from restore.outcome import Outcome
from restore.provenance import Carried, Mark, describe_output, read_carried, xmp_packet
from restore.signing import KEY_VARIABLE, Signer, open_signer

c2pa = pytest.importorskip("c2pa", reason="C2PA is not installed: pip install -e '.[c2pa]'")
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives import serialization as forms  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: E402

MARK = Mark(model="mine", model_sha256="a" * 64, seed=7, settings_sha256="b" * 64)
TODAY = datetime.datetime.now(datetime.UTC)


def named(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Studio"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )


def certificate(key: Any, issuer: str, issuer_key: Any, **options: Any) -> x509.Certificate:
    """A certificate for signing, or of an authority; valid from yesterday on unless said."""
    authority, (start, end) = options.get("authority", False), options.get("days", (-1, 30))
    usage = x509.KeyUsage(
        not authority, False, False, False, False, authority, authority, False, False
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(named("Authority" if authority else "Signer"))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(TODAY + datetime.timedelta(start))
        .not_valid_after(TODAY + datetime.timedelta(end))
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(usage, True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    if not authority:
        purpose = options.get("purpose", ExtendedKeyUsageOID.EMAIL_PROTECTION)
        made = made.add_extension(x509.ExtendedKeyUsage([purpose]), False)
    return made.sign(issuer_key, hashes.SHA256())


def pem_of(key: Any, password: bytes | None = None) -> bytes:
    lock = forms.BestAvailableEncryption(password) if password else forms.NoEncryption()
    return key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, lock)


@pytest.fixture(scope="module")
def authority() -> tuple[Any, bytes]:
    """An authority's key and certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = certificate(key, "Authority", key, authority=True)
    return key, made.public_bytes(forms.Encoding.PEM)


@pytest.fixture
def issue(tmp_path: Path, authority: tuple[Any, bytes]) -> Callable[..., C2paConfig]:
    """A function that issues a certificate and gives the settings that name it."""

    def make(key: Any = None, **options: Any) -> C2paConfig:
        key = key or ec.generate_private_key(ec.SECP256R1())
        leaf = certificate(key, "Authority", authority[0], **options)
        (tmp_path / "chain.pem").write_bytes(leaf.public_bytes(forms.Encoding.PEM) + authority[1])
        (tmp_path / "key.pem").write_bytes(pem_of(key))
        return C2paConfig(certificate=str(tmp_path / "chain.pem"), key=str(tmp_path / "key.pem"))

    return make


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The photo that was restored."""
    path = tmp_path / "in.jpg"
    Image.fromarray(noise(np.uint8)).save(path)
    return path


def noise(kind: type) -> np.ndarray:
    return np.random.default_rng(1).integers(0, np.iinfo(kind).max, (64, 80, 3)).astype(kind)


def labels() -> Labels:
    carried = Carried(main={0x010F: "Maker"}, details={0x9003: "2024:05:06 07:08:09"})
    return Labels(exif=describe_output(carried, 80, 64, MARK), xmp=xmp_packet(carried, MARK))


def opened(config: C2paConfig) -> Signer:
    signer = open_signer(config)
    assert signer is not None
    return signer


def manifest(data: bytes, media: str) -> tuple[dict[str, Any], str, list[str]]:
    """(active manifest, state, codes of what is wrong)."""
    with c2pa.Reader(media, io.BytesIO(data)) as reader:
        said = json.loads(reader.json())
        state = str(reader.get_validation_state())
    codes = [s["code"] for s in said.get("validation_status", [])]
    return said["manifests"][said["active_manifest"]], state, codes


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_signed_file_is_valid_and_has_the_same_pixels_and_metadata(
    name: str, kind: type, issue: Callable[..., C2paConfig], source: Path, tmp_path: Path
) -> None:
    plain = encode(noise(kind), labels(), name)
    signed = opened(issue()).sign(plain, name, source=source, mark=MARK)
    _, state, codes = manifest(signed, f"image/{name.lower()}")
    # The authority is nobody's but ours: no reader can trust it.
    assert (state, codes) == ("Valid", ["signingCredential.untrusted"])
    for file, data in (("a", plain), ("b", signed)):
        (tmp_path / file).with_suffix(f".{name.lower()}").write_bytes(data)
    before, after = (tmp_path / f"{f}.{name.lower()}" for f in "ab")
    assert np.array_equal(read_photo(before).pixels_HWC, read_photo(after).pixels_HWC)
    one, two = (read_carried(p, keep_private=True) for p in (before, after))
    assert (one.main, one.details, one.source_type) == (two.main, two.details, two.source_type)
    assert set(one.xmp.properties) == set(two.xmp.properties)
    assert len(signed) - len(plain) < 20_000


def test_the_manifest_says_what_was_done_by_what_to_what(
    issue: Callable[..., C2paConfig], source: Path
) -> None:
    data = opened(issue()).sign(
        encode(noise(np.uint8), labels(), "JPEG"), "JPEG", source=source, mark=MARK
    )
    said, _, _ = manifest(data, "image/jpeg")
    (parent,) = said["ingredients"]
    assert (parent["relationship"], parent["title"]) == ("parentOf", "in.jpg")
    assert "thumbnail" not in said
    assert "thumbnail" not in parent
    (actions,) = (a for a in said["assertions"] if a["label"] == "c2pa.actions.v2")
    first, second = actions["data"]["actions"]
    assert (first["action"], second["action"]) == ("c2pa.opened", "c2pa.edited")
    assert second["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert second["softwareAgent"]["name"] == "AuthFace"
    assert second["parameters"]["authface.model_sha256"] == "a" * 64
    assert second["parameters"]["authface.seed"] == 7


def test_a_changed_pixel_is_found(issue: Callable[..., C2paConfig], source: Path) -> None:
    signed = bytearray(
        opened(issue()).sign(
            encode(noise(np.uint8), labels(), "JPEG"), "JPEG", source=source, mark=MARK
        )
    )
    signed[-100] ^= 1
    _, state, codes = manifest(bytes(signed), "image/jpeg")
    assert state == "Invalid"
    assert "assertion.dataHash.mismatch" in codes


def test_an_input_s_own_manifest_goes_on_in_the_chain(
    issue: Callable[..., C2paConfig], source: Path
) -> None:
    signer = opened(issue())
    data = encode(noise(np.uint8), labels(), "JPEG")
    source.write_bytes(signer.sign(data, "JPEG", source=source, mark=MARK))
    said, state, _ = manifest(signer.sign(data, "JPEG", source=source, mark=MARK), "image/jpeg")
    assert state == "Valid"
    assert said["ingredients"][0]["active_manifest"]


def test_an_input_of_a_kind_that_c2pa_does_not_know_is_named_all_the_same(
    issue: Callable[..., C2paConfig], tmp_path: Path
) -> None:
    raw = tmp_path / "in.nef"
    raw.write_bytes(b"II*\0" + bytes(500))
    data = encode(noise(np.uint8), labels(), "TIFF")
    said, state, _ = manifest(
        opened(issue()).sign(data, "TIFF", source=raw, mark=MARK), "image/tiff"
    )
    assert (state, said["ingredients"][0]["title"]) == ("Valid", "in.nef")


@pytest.mark.parametrize("kind", ["p384", "p521", "rsa", "ed25519"])
def test_other_kinds_of_keys_sign_too(
    kind: str, issue: Callable[..., C2paConfig], source: Path
) -> None:
    made: dict[str, Callable[[], Any]] = {
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    signer = opened(issue(made[kind]()))
    data = signer.sign(encode(noise(np.uint8), labels(), "PNG"), "PNG", source=source, mark=MARK)
    assert manifest(data, "image/png")[1] == "Valid"


def test_the_key_may_come_from_the_environment_and_shows_nowhere(
    issue: Callable[..., C2paConfig],
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    config = issue()
    assert config.key is not None
    key = Path(config.key).read_text()
    for value in (key, config.key):
        monkeypatch.setenv(KEY_VARIABLE, value)
        signer = opened(C2paConfig(certificate=config.certificate))
        signer.sign(encode(noise(np.uint8), labels(), "PNG"), "PNG", source=source, mark=MARK)
        secret = key.splitlines()[1]
        assert secret not in repr(signer)
        assert secret not in caplog.text


def test_without_a_certificate_nothing_is_signed() -> None:
    assert open_signer(C2paConfig()) is None
    with pytest.raises(ConfigError, match="no certificate"):
        open_signer(C2paConfig(key="key.pem"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"days": (-10, -2)}, "valid from .* not today"),
        ({"days": (2, 10)}, "valid from .* not today"),
        ({"purpose": ExtendedKeyUsageOID.SERVER_AUTH}, "can't be used to sign by C2PA"),
    ],
)
def test_an_unfit_certificate_is_refused_before_the_first_photo(
    options: dict[str, Any], said: str, issue: Callable[..., C2paConfig]
) -> None:
    with pytest.raises(ConfigError, match=said):
        open_signer(issue(**options))


def test_a_key_that_does_not_fit_is_missing_or_locked_is_refused(
    issue: Callable[..., C2paConfig], tmp_path: Path, authority: tuple[Any, bytes]
) -> None:
    config = issue()
    file = Path(config.key or "")
    good = file.read_bytes()
    locked = pem_of(forms.load_pem_private_key(good, None), b"word")
    cases = {
        "does not belong": pem_of(ec.generate_private_key(ec.SECP256R1())),
        "no private key": good[:90] + b"\n",
        "locked with a password": locked,
    }
    for said, data in cases.items():
        file.write_bytes(data)
        with pytest.raises(ConfigError, match=said) as caught:
            open_signer(config)
        assert good.splitlines()[1].decode()[:20] not in str(caught.value)
    file.unlink()
    with pytest.raises(ConfigError, match="can't be read"):
        open_signer(config)
    with pytest.raises(ConfigError, match="and no key"):
        open_signer(C2paConfig(certificate=config.certificate))
    with pytest.raises(ConfigError, match="no signature of this kind"):
        open_signer(issue(ec.generate_private_key(ec.SECP256K1())))
    Path(config.certificate or "").write_text("junk")
    with pytest.raises(ConfigError, match="no certificate in PEM"):
        open_signer(config)


def test_what_can_t_be_signed_is_an_error_for_people(
    issue: Callable[..., C2paConfig], source: Path
) -> None:
    with pytest.raises(InputError, match=r"in\.jpg can't be signed"):
        opened(issue()).sign(b"no picture", "JPEG", source=source, mark=MARK)


def test_without_the_package_it_is_said_how_to_get_it(
    issue: Callable[..., C2paConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(MissingExtra, match=r"c2pa-python.*\[c2pa\]"):
        open_signer(issue())


def test_what_was_signed_is_found_done_and_signed_anew_it_differs_in_bytes_alone(
    issue: Callable[..., C2paConfig], make_restorer, finder_of, marked, photo: Path, tmp_path: Path
) -> None:
    config = issue()
    target = tmp_path / "out.png"

    def run(*, again: bool = False) -> Outcome:
        jobs = plan_jobs(photo, target, again=again)
        restorer = make_restorer(c2pa=config.model_dump())
        (outcome,) = restore_jobs(jobs, restorer=restorer, finder=finder_of(marked))
        return outcome

    assert not run().resumed
    first, pixels = target.read_bytes(), read_photo(target).pixels_HWC
    assert manifest(first, "image/png")[1] == "Valid"
    assert run().resumed
    assert target.read_bytes() == first
    assert not run(again=True).resumed
    assert target.read_bytes() != first
    assert np.array_equal(read_photo(target).pixels_HWC, pixels)
