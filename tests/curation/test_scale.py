"""Shards, Ray and object stores: the same rows whoever works through the files."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from curation.config import FacesConfig, GatesConfig, IngestConfig
from curation.pipeline import Ingested, ingest_found
from curation.remote import fetch_media, find_remote, upload
from curation.scale import RayEngine, found_in, in_shard
from curation.scan import Found
from data_manifests.errors import ConfigError, InputError, RemoteError
from data_manifests.media import Workspace
from data_manifests.records import Photo

Srgb = NDArray[np.uint8]
WritePhoto = Callable[..., Path]
CONFIG = IngestConfig(
    faces=FacesConfig(finder="haar"), gates=GatesConfig(least_long_side=1000, least_eye_distance=40)
)
MOTO = Path(__file__).parents[2] / ".venv-s3/bin/moto_server"


@pytest.fixture
def shoot(write_photo: WritePhoto, portrait: Srgb, tmp_path: Path) -> Path:
    """A portrait, a smaller one, a cut one and something else."""
    write_photo(portrait, "shoot/a.jpg")
    write_photo(portrait[::2, ::2], "shoot/b.jpg")
    cut = write_photo(portrait[:, ::-1], "shoot/c.jpg")
    cut.write_bytes(cut.read_bytes()[:-9000])
    (tmp_path / "shoot/d.gif").write_bytes(b"GIF89a")
    return tmp_path / "shoot"


@pytest.fixture(scope="module")
def bucket(free_port: Callable[[], int]) -> Iterator[str]:
    """The address of an empty bucket on a local S3 server."""
    if not MOTO.exists():
        if os.environ.get("CI"):
            pytest.fail("There is no S3 server. tools/setup.sh s3", pytrace=False)
        pytest.skip("There is no S3 server: tools/setup.sh s3")
    port = free_port()
    told = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", str(port)], **silent)
    before = dict(os.environ)
    os.environ.update(told)
    try:
        _make_bucket(f"{told['AWS_ENDPOINT_URL']}/photos")
        yield "s3://photos"
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.terminate()
        server.wait(30)


def _make_bucket(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.put(url).raise_for_status()
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def run(workspace: Workspace, found: list[Found], config: IngestConfig = CONFIG) -> list[Ingested]:
    return list(ingest_found(found, workspace=workspace, config=config, known={}))


def photo_of(item: Ingested) -> Photo:
    assert item.photo is not None
    return item.photo


def test_shards_are_a_partition_that_new_files_do_not_move(tmp_path: Path) -> None:
    files = [Found(tmp_path / f"{i}.jpg") for i in range(300)]
    parts = [[f for f in files if in_shard(f, i, 3)] for i in (1, 2, 3)]
    assert sorted(f.path for part in parts for f in part) == sorted(f.path for f in files)
    assert all(60 < len(part) < 140 for part in parts)
    more = [*files, Found(tmp_path / "new.jpg")]
    assert [f for f in more if in_shard(f, 1, 3)][: len(parts[0])] == parts[0]


@pytest.mark.parametrize("text", ["0/3", "4/3", "a/b", "1-3", ""])
def test_a_shard_that_is_none_is_told(text: str, tmp_path: Path) -> None:
    if not text:
        assert list(found_in([str(tmp_path)], shard=text)) == []  # no shard asked for
        return
    with pytest.raises(ConfigError, match="i/n"):
        list(found_in([str(tmp_path)], shard=text))


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # Ray's own
def test_ray_makes_the_rows_that_this_machine_makes(shoot: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    found = list(found_in([str(shoot)]))
    here = run(Workspace(tmp_path / "here"), found)
    there_at = Workspace(tmp_path / "there")
    there = list(
        ingest_found(found, workspace=there_at, config=CONFIG, known={}, make_engine=RayEngine)
    )
    assert [(i.status, i.photo, i.faces) for i in there] == [
        (i.status, i.photo, i.faces) for i in here
    ]
    assert (there_at.media / str(photo_of(there[0]).proxy_path)).is_file()
    known = {photo_of(i).photo_id: photo_of(i) for i in there}
    again = list(
        ingest_found(found, workspace=there_at, config=CONFIG, known=known, make_engine=RayEngine)
    )
    assert {i.status for i in again} == {"known"}


def test_a_bucket_gives_the_rows_of_the_folder(bucket: str, shoot: Path, tmp_path: Path) -> None:
    rating = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
        b' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        b' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    )
    (shoot / "a.xmp").write_bytes(rating)
    for file in sorted(shoot.iterdir()):
        upload(f"{bucket}/shoot/{file.name}", file.read_bytes())
    local = run(Workspace(tmp_path / "here"), list(found_in([str(shoot)])))
    workspace = Workspace(tmp_path / "there")
    config = CONFIG.model_copy(update={"media_url": f"{bucket}/media"})
    found = list(found_in([f"{bucket}/shoot"]))
    remote = run(workspace, found, config)
    assert photo_of(remote[0]).path == f"{bucket}/shoot/a.jpg"
    assert photo_of(remote[0]).xmp_rating == 4
    for one, other in zip(local, remote, strict=True):
        same = {"path": "", "modified_ns": 0, "ingest_key": ""}
        assert replace(photo_of(one), **same) == replace(photo_of(other), **same)
    known = {photo_of(i).photo_id: photo_of(i) for i in remote}
    again = ingest_found(found, workspace=workspace, config=config, known=known)
    assert {i.status for i in again} == {"known"}


def test_the_sidecar_of_a_pair_in_a_bucket_speaks_about_the_raw(bucket: str) -> None:
    for name in ("IMG.NEF", "IMG.JPG", "IMG.xmp", "IMG.JPG.xmp", "solo.jpg", "solo.xmp"):
        upload(f"{bucket}/pair/{name}", name.encode())
    beside = {
        f.path.name: [s.rsplit("/", 1)[1] for s in f.sidecars]
        for f in find_remote(f"{bucket}/pair")
    }
    assert beside == {"IMG.JPG": ["IMG.JPG.xmp"], "IMG.NEF": ["IMG.xmp"], "solo.jpg": ["solo.xmp"]}


def test_media_come_back_from_the_bucket(bucket: str, shoot: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "there")
    config = CONFIG.model_copy(update={"media_url": f"{bucket}/media2"})
    [item] = run(workspace, [Found(shoot / "a.jpg")], config)
    name = str(photo_of(item).proxy_path)
    data = (workspace.media / name).read_bytes()
    (workspace.media / name).unlink()
    assert list(fetch_media(f"{bucket}/media2", workspace.media, [name])) == [name]
    assert (workspace.media / name).read_bytes() == data


def test_what_is_not_there_is_told(bucket: str) -> None:
    with pytest.raises(InputError, match="holds nothing"):
        list(find_remote(f"{bucket}/nowhere"))
    with pytest.raises(RemoteError, match="can't be listed"):
        list(find_remote("s3://no-such-bucket/shoot"))
