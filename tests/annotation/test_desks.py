from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from annotation.config import AnnotateConfig
from annotation.desks import desk_key, desk_tasks, desks_of
from data_manifests.config import parse_section
from data_manifests.errors import ConfigError
from data_manifests.records import Photo, Task

DESKS = ("north", "south", "east", "west")


def photos(count: int, start: int = 0) -> list[Photo]:
    return [photo(n) for n in range(start, start + count)]


def photo(number: int, **values: Any) -> Photo:
    defaults: dict[str, Any] = {
        "photo_id": hashlib.sha256(str(number).encode()).hexdigest(),
        "path": f"/p/{number}.jpg",
        "state": "kept",
        "size_bytes": 1,
        "width": 10,
        "height": 10,
        "proxy_path": "proxies/x.jpg",
        "proxy_width": 5,
        "proxy_height": 5,
    }
    return Photo(**(defaults | values))


def by_key(*tasks: Task) -> dict[str, Task]:
    return {t.task_key: t for t in tasks}


def test_each_photo_is_shown_at_so_many_desks_and_the_work_is_even() -> None:
    tasks = list(desk_tasks(photos(2000), {}, DESKS, 2))
    assert set(Counter(t.photo_id for t in tasks).values()) == {2}
    assert len({t.task_key for t in tasks}) == 4000
    work = Counter(t.desk for t in tasks)
    assert all(900 < work[desk] < 1100 for desk in DESKS)
    pairs = Counter(frozenset(desks_of(p.photo_id, DESKS, 2)) for p in photos(2000))
    assert len(pairs) == 6  # everybody shares photos with everybody
    assert min(pairs.values()) > 250


def test_a_row_names_its_desk_in_its_key() -> None:
    (task,) = desk_tasks(photos(1), {}, ("north",), 1)
    assert task.task_key == f"{task.photo_id}:triage:1:north"
    assert (task.desk, task.state, task.round, task.image_path) == (
        "north",
        "waiting",
        1,
        "proxies/x.jpg",
    )
    assert desk_key("p", "") == "p:triage:1"


def test_new_photos_and_the_order_of_desks_change_nothing_that_was_asked() -> None:
    first = by_key(*desk_tasks(photos(50), {}, DESKS, 2))
    again = list(desk_tasks(photos(60), first, DESKS[::-1], 2))
    assert {t.photo_id for t in again} == {p.photo_id for p in photos(10, start=50)}
    whole = by_key(*desk_tasks(photos(60), {}, DESKS, 2))
    assert whole == first | by_key(*again)


def test_a_new_desk_gets_new_photos_only() -> None:
    first = by_key(*desk_tasks(photos(50), {}, DESKS, 2))
    assert list(desk_tasks(photos(50), first, (*DESKS, "centre"), 2)) == []
    new = list(desk_tasks(photos(200), first, (*DESKS, "centre"), 2))
    assert "centre" in {t.desk for t in new}


def test_a_larger_overlap_adds_a_desk_to_photos_asked_about_before() -> None:
    first = by_key(*desk_tasks(photos(50), {}, DESKS, 1))
    more = list(desk_tasks(photos(50), first, DESKS, 2))
    assert len(more) == 50
    seen = Counter((t.photo_id, t.desk) for t in (*first.values(), *more))
    assert set(seen.values()) == {1}


def test_a_photo_of_the_shared_project_counts_as_seen_once() -> None:
    (one,) = photos(1)
    (task,) = desk_tasks([one], {}, ("north",), 1)
    shared = replace(task, task_key=f"{one.photo_id}:triage:1", desk="")
    assert list(desk_tasks([one], by_key(shared), DESKS, 1)) == []
    assert len(list(desk_tasks([one], by_key(shared), DESKS, 2))) == 1


def test_only_kept_photos_with_a_picture_are_asked_about() -> None:
    unfit = [photo(1, state="rejected"), photo(2, proxy_path=None)]
    assert list(desk_tasks(unfit, {}, DESKS, 2)) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"desks": ("north",), "overlap": 2}, "as many desks"),
        ({"desks": ("north", "north")}, "one name"),
        ({"desks": ("anna@x.org",)}, "desks.0"),
    ],
)
def test_settings_that_cant_work_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_section(AnnotateConfig, values, "authface.toml")
