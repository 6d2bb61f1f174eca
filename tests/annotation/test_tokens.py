"""The token of a person stands in no table, file, log, message or traceback."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from annotation.pull import pull
from annotation.push import push
from annotation.studio import Studio
from data_manifests.errors import RemoteError
from data_manifests.records import Photo

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk

pytestmark = pytest.mark.studio

AddPhotos = Callable[..., list[Photo]]
Answer = Callable[..., list[dict[str, Any]]]


def test_no_trace_of_a_token_is_left(
    desk: Desk, add_photos: AddPhotos, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = desk.server.token
    told: list[str] = [repr(desk.studio), str(desk.studio)]
    (photo,) = add_photos(desk.store, desk.media)
    desk.push()
    desk.studio.submit(desk.sent(photo), answer(), lead_time=9.0)
    desk.pull()
    wrong = "".join(reversed(token))
    for studio in (
        Studio("http://127.0.0.1:9", token),  # nobody there
        Studio(desk.studio.url, wrong),  # refused
        Studio(f"{desk.studio.url}/user/login", token),  # a web page
    ):
        for act in (
            lambda s: push(desk.store, s, media=desk.media, config=desk.config),
            lambda s: pull(desk.store, s, config=desk.config),
            lambda s: s.drop_task(10**9),
            lambda s: s.submit(10**9, [], token=token),
        ):
            with pytest.raises(RemoteError) as caught:
                act(studio)
            told += traceback.format_exception(caught.value)
    with pytest.raises(RemoteError) as caught:
        desk.studio.change_task(10**9, {}, None)
    told += [*traceback.format_exception(caught.value), caplog.text]
    assert caplog.text
    for secret in (token, wrong):
        assert not [line for line in told if secret in line]
        files = [p for p in desk.store.folder.parent.rglob("*") if p.is_file()]
        assert [p.name for p in files if "_delta_log" in p.parts]
        assert not [p for p in files if secret.encode() in p.read_bytes()]
