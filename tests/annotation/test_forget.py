"""An erased person's tasks on a real Label Studio: deleted, seen to be gone, or owed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from annotation.forget import compact, forget_tasks
from annotation.studio import Studio
from data_manifests.erase import Outcome, carry_out, finish, pending, plan_erasure
from data_manifests.errors import RemoteError
from data_manifests.media import Workspace
from data_manifests.records import Annotation, Photo, Task

pytestmark = pytest.mark.studio


def sent(desk: Any) -> tuple[tuple[str, int, int], ...]:
    rows = desk.store.read(Task)
    return tuple((str(t.server), int(t.project_id), int(t.task_id)) for t in rows)


def test_tasks_are_deleted_and_answer_that_they_are_unknown(
    desk: Any, add_photos: Callable[..., list[Photo]]
) -> None:
    add_photos(desk.store, desk.media, 3)
    desk.push()
    owed = sent(desk)
    assert all(desk.studio.has_task(task) for _, _, task in owed)
    assert forget_tasks(desk.studio, owed[:2]) == ()
    assert [desk.studio.has_task(task) for _, _, task in owed] == [False, False, True]
    assert forget_tasks(desk.studio, owed[:2]) == ()  # gone already is gone


def test_tasks_of_another_server_are_still_owed(desk: Any) -> None:
    owed = (("some other server", 1, 1),)
    assert forget_tasks(desk.studio, owed) == owed


def test_a_server_that_breaks_off_leaves_the_rest(
    desk: Any, add_photos: Callable[..., list[Photo]], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_photos(desk.store, desk.media, 3)
    desk.push()
    owed, dropped = sent(desk), Studio.drop_task

    def drop(studio: Studio, task_id: int) -> None:
        if task_id == owed[1][2]:
            raise RemoteError("it broke off")
        dropped(studio, task_id)

    monkeypatch.setattr(Studio, "drop_task", drop)
    assert forget_tasks(desk.studio, owed) == owed[1:]


def test_a_refused_look_is_no_proof_that_a_task_is_gone(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = httpx.Response(403, text="no", request=httpx.Request("GET", desk.studio.url))
    monkeypatch.setattr(desk.studio._http, "request", lambda *_, **__: answer)
    with pytest.raises(RemoteError, match="token"):
        desk.studio.has_task(1)


def test_an_erased_person_is_gone_from_the_server_and_from_its_database(
    desk: Any,
    add_photos: Callable[..., list[Photo]],
    answer: Callable[..., Any],
    tmp_path: Path,
) -> None:
    # Ids of their own: other tests leave tasks about the usual photos on the shared server.
    mine = [_own_photo(desk, add_photos, n, "s-1") for n in range(2)]
    other = _own_photo(desk, add_photos, 2, "s-2")
    desk.push()
    for photo in (*mine, other):
        desk.studio.submit(desk.sent(photo), answer())
    desk.pull()
    place = Workspace(tmp_path)
    (tmp_path / "media").symlink_to(desk.media)
    plan = plan_erasure(desk.store, place, "s-1")
    away = carry_out(desk.store, place, plan, lambda owed: owed)
    assert away.open_tasks == 2
    assert "2 tasks" in pending(place)
    assert list(finish(desk.store, place, lambda owed: forget_tasks(desk.studio, owed))) == [0]
    assert sum(desk.keys_on_server().values()) == 1
    assert compact(desk.server.workspace)
    database = desk.server.workspace.label_studio / "data" / "label_studio.sqlite3"
    held = b"".join(p.read_bytes() for p in database.parent.glob("label_studio.sqlite3*"))
    assert not [p.photo_id for p in mine if p.photo_id.encode() in held]
    assert other.photo_id.encode() in held
    desk.pull()
    assert {a.photo_id for a in desk.store.read(Annotation)} == {other.photo_id}
    assert isinstance(away, Outcome)


def test_a_workspace_without_a_server_has_nothing_to_compact(tmp_path: Path) -> None:
    assert not compact(Workspace(tmp_path))


def _own_photo(desk: Any, add_photos: Callable[..., list[Photo]], n: int, subject: str) -> Photo:
    photo_id = hashlib.sha256(f"photo {n} of this test alone".encode()).hexdigest()
    (photo,) = add_photos(desk.store, desk.media, photo_id=photo_id, subject_id=subject)
    return photo
