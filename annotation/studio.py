"""The Label Studio client: the only place where questions and answers cross the network.

A POST is never sent twice by itself: what a lost reply leaves open is settled by listing our keys.
Every failure becomes a RemoteError of one line that never holds the token.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import weakref
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Any

import httpx

from annotation.queries import PROJECT_FIELDS, TASK_FIELDS, filtered, moment, words_of
from annotation.wire import connected
from data_manifests.errors import MissingExtra, RemoteError

__all__ = ["START", "Studio"]

log = logging.getLogger(__name__)

ONCE = {"max_retries": 0}
PAGE_OF_PROJECTS = 100
TRIES = 3
AGAIN = "Run the command again: what came through is not sent twice."
START = "Start it with `authface annotate serve`, or set LABEL_STUDIO_URL."


class Studio:
    """One Label Studio server, seen by one person's token."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        media_root: str | None = None,
        timeout_s: float = 120,
        page: int = 500,
    ) -> None:
        self.url = url.rstrip("/")
        self.media_root = (
            media_root  # where the server sees media/, none if it serves them in another way
        )
        self._token = token
        self._timeout_s = timeout_s
        self._page = page
        self._http = connected(self.url, timeout_s=timeout_s)
        weakref.finalize(self, self._http.close)

    def __repr__(self) -> str:
        return f"Studio({self.url!r})"

    def __enter__(self) -> Studio:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    @cached_property
    def identity(self) -> str:
        """Names this server wherever it is reached: a hash of its organisation's id and birth."""
        with self._remote("telling who it is"):
            first = self._sdk.organizations.list()[0].dict()
        born = first["created_at"]
        text = born if isinstance(born, str) else born.isoformat().replace("+00:00", "Z")
        return hashlib.sha256(f"{first['id']}:{text}".encode()).hexdigest()[:16]

    def version(self) -> str:
        """The server's version, such as 1.23.2."""
        with self._remote("telling its version"):
            return str(self._sdk.versions.get().dict().get("release", ""))

    def projects(self) -> dict[int, dict[str, Any]]:
        """Title, description and form of every project, by id."""
        found: dict[int, dict[str, Any]] = {}
        query: dict[str, Any] = {"page_size": PAGE_OF_PROJECTS, "include": PROJECT_FIELDS}
        more, number = True, 1
        while more:  # the SDK's pager asks for a page more than there is
            doing = "listing projects"
            answer = self._ask("GET", "/api/projects/", doing, params=query | {"page": number})
            with self._remote(doing):
                page = answer.json()
                found |= {int(p["id"]): p for p in page["results"]}
                more, number = bool(page["next"]), number + 1
        return found

    def make_project(
        self, title: str, description: str, form_xml: str, *, answers_wanted: int, suggests: str
    ) -> int:
        """The id of a new project that wants this many answers per task, the unsure ones first.

        It shows, and goes by, suggestions of one model version: `suggests`.
        """
        with self._remote("making a project"):
            made = self._sdk.projects.create(
                title=title,
                description=description,
                label_config=form_xml,
                maximum_annotations=answers_wanted,
                show_collab_predictions=True,
                show_skip_button=True,
                enable_empty_annotation=False,
                sampling="Uncertainty sampling",
                model_version=suggests,
                request_options=ONCE,
            )
            return int(made.dict()["id"])

    def change_project(self, project_id: int, **values: Any) -> None:
        """Set some of a project's values."""
        with self._remote("changing a project"):
            self._sdk.projects.update(project_id, **values, request_options=ONCE)

    def serve_media(self, project_id: int) -> None:
        """Let the project's people see media/; never synced: that would make a task per file."""
        if self.media_root is None:
            return
        with self._remote("setting up its storage"):
            standing = [
                s.dict()["path"] for s in self._sdk.import_storage.local.list(project=project_id)
            ]
            if self.media_root not in standing:
                self._sdk.import_storage.local.create(
                    project=project_id,
                    path=self.media_root,
                    title="AuthFace media",
                    use_blob_urls=True,
                    request_options=ONCE,
                )

    def shows(self, address: str) -> bool:
        """Whether a person of this server would see the picture at this address."""
        if not address.startswith("/"):
            return True  # it lies elsewhere: the browser will tell
        with self._remote("showing a picture"):
            headers = self._sdk._client_wrapper.get_headers()  # resolves either kind of token
            with self._http.stream("GET", self.url + address, headers=headers) as answer:
                return answer.status_code == httpx.codes.OK

    def tasks(
        self, project_id: int, *, answers: bool = True, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Tasks of a project in the order of their ids, with answers and drafts or without.

        All of them, or those changed since a time of the server. A task that was deleted since is
        not among them.
        """
        query = {"ordering": ["tasks:id"]} | filtered("updated_at", "greater", moment(since))
        for _ in range(TRIES):
            found, total = self._read_tasks(project_id, answers, query)
            if len(found) == total:
                return [found[key] for key in sorted(found)]
        raise RemoteError(
            f"The tasks of project {project_id} kept changing while they were read.",
            "Try again when it is quiet.",
        )

    def count_tasks(self, project_id: int, key: str, having: str) -> int:
        """How many tasks have a text in this key of their data; costs the same for any number."""
        query = filtered(f"data.{key}", "contains", having, kind="String")
        with self._remote("counting tasks"):
            page = self._sdk.tasks.list(
                project=project_id,
                fields="task_only",
                include="id",
                page=1,
                page_size=1,
                query=json.dumps(query),
            )
            return int(page.response.dict()["total"])

    def change_task(
        self,
        task_id: int,
        data: Mapping[str, Any],
        predictions: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        """Give a task other data, and other suggestions in place of its own unless none are given.

        May be done twice: what a killed one left of the suggestions is cleared first.
        """
        with self._remote("changing a task"):
            self._sdk.tasks.update(id=str(task_id), data=dict(data), request_options=ONCE)
            if predictions is None:
                return
            for old in self._sdk.predictions.list(task=task_id):
                self._sdk.predictions.delete(id=int(old.dict()["id"]), request_options=ONCE)
            for new in predictions:
                self._sdk.predictions.create(task=task_id, **new, request_options=ONCE)

    @contextlib.contextmanager
    def calling(
        self,
        projects: Sequence[int],
        url: str,
        headers: Mapping[str, str],
        actions: Sequence[str],
    ) -> Iterator[None]:
        """The server calls this address when one of these things happens, as long as this lasts.

        What an earlier, killed one left is taken away. Raises RemoteError if the server refuses.
        """
        doing, path = "setting up its calls", "/api/webhooks/"
        made: list[int] = []
        hook = {"url": url, "headers": dict(headers), "actions": list(actions)}
        wanted = hook | {"send_for_all_actions": False, "is_active": True}
        try:
            for project in projects:
                for old in self._ask("GET", path, doing, params={"project": project}).json():
                    if set(headers) & set(old["headers"]):
                        self._ask("DELETE", f"{path}{old['id']}/", doing)
                answer = self._ask("POST", path, doing, json=wanted | {"project": project})
                made.append(int(answer.json()["id"]))
            yield
        finally:
            for hook_id in made:
                with contextlib.suppress(RemoteError):
                    self._ask("DELETE", f"{path}{hook_id}/", doing)

    def add_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """The ids of the new tasks, in order. Sent once: after an error, list what came through."""
        with self._remote("taking tasks"):
            made = self._sdk.projects.import_tasks(
                id=project_id, request=list(tasks), return_task_ids=True, request_options=ONCE
            ).dict()
        ids = [int(i) for i in made.get("task_ids") or ()]
        if len(ids) != len(tasks):
            raise RemoteError(
                f"Label Studio took {len(ids)} of {len(tasks)} tasks.", "Run the command again."
            )
        return ids

    def drop_task(self, task_id: int) -> None:
        """Delete a task; used only for what nobody has answered."""
        with self._remote("deleting a task"):
            self._sdk.tasks.delete(id=str(task_id), request_options=ONCE)

    def has_task(self, task_id: int) -> bool:
        """Whether the server still knows a task: false only where it says that there is none."""
        answer = self._ask("GET", f"/api/tasks/{task_id}/", "looking for a task", missing=True)
        return answer.status_code != httpx.codes.NOT_FOUND

    def drafts(self, project_id: int) -> list[dict[str, Any]]:
        """Answers that anybody has begun and not submitted; a list of tasks holds one's own."""
        query = filtered("draft_exists", "equal", "true", kind="Boolean")
        begun, _ = self._read_tasks(project_id, False, query)
        return [draft for task_id in begun for draft in self._about(task_id, "drafts")]

    def emails(self) -> dict[int, str]:
        """The e-mail of every user by their number: only to tell who is who."""
        users = self._ask("GET", "/api/users/", "listing its people").json()
        return {int(u["id"]): str(u.get("email") or "") for u in users}

    def is_untouched(self, task_id: int) -> bool:
        """Whether nobody has answered a task, nor begun to."""
        return not self._about(task_id, "annotations/") and not self._about(task_id, "drafts")

    def submit(
        self,
        task_id: int,
        result: Sequence[Mapping[str, Any]],
        *,
        token: str | None = None,
        cancelled: bool = False,
        lead_time: float | None = None,
    ) -> int:
        """The id of a new answer, given as the person whose token it is; cancelled is a skip."""
        if token is not None and token != self._token:
            with Studio(self.url, token, timeout_s=self._timeout_s) as other:
                return other.submit(task_id, result, cancelled=cancelled, lead_time=lead_time)
        with self._remote("taking an answer"):
            made = self._sdk.annotations.create(
                id=task_id,
                result=[dict(r) for r in result],
                was_cancelled=cancelled,
                lead_time=lead_time,
                request_options=ONCE,
            )
            return int(made.dict()["id"])

    @cached_property
    def _sdk(self) -> Any:
        try:
            from label_studio_sdk import LabelStudio  # takes seconds to import
        except ImportError as error:
            raise MissingExtra(
                "label-studio-sdk", "annotation", "Talking to Label Studio"
            ) from error
        return LabelStudio(
            base_url=self.url, api_key=self._token, httpx_client=self._http, max_retries=1
        )

    def _about(self, task_id: int, what: str) -> list[dict[str, Any]]:
        return list(self._ask("GET", f"/api/tasks/{task_id}/{what}", "looking at a task").json())

    def _ask(
        self, method: str, path: str, doing: str, *, missing: bool = False, **more: Any
    ) -> httpx.Response:
        """What the SDK has no whole words for; `missing` lets a 404 be an answer."""
        with self._remote(doing):
            headers = self._sdk._client_wrapper.get_headers()
            answer = self._http.request(method, self.url + path, headers=headers, **more)
        if answer.is_success or (missing and answer.status_code == httpx.codes.NOT_FOUND):
            return answer
        raise self._refusal(answer.status_code, answer.text, doing)

    def _read_tasks(
        self, project_id: int, answers: bool, query: Mapping[str, Any]
    ) -> tuple[dict[int, dict[str, Any]], int]:
        found: dict[int, dict[str, Any]] = {}
        total, number = 1, 1
        while (number - 1) * self._page < total:
            with self._remote("listing tasks"):
                page = self._sdk.tasks.list(
                    project=project_id,
                    fields="all" if answers else "task_only",
                    # Never with answers: it would cut these down to the fields of the same names.
                    include=None if answers else TASK_FIELDS,
                    resolve_uri=False,  # our pictures have addresses, not places in a cloud
                    page=number,
                    page_size=self._page,
                    query=json.dumps(query),
                )
            found |= {int(t["id"]): t for t in (item.dict() for item in page.items or ())}
            total, number = int(page.response.dict()["total"]), number + 1
        return found, total

    @contextlib.contextmanager
    def _remote(self, doing: str) -> Iterator[None]:
        from label_studio_sdk.core.api_error import ApiError
        from label_studio_sdk.core.parse_error import ParsingError

        try:
            yield
        except ApiError as error:
            raise self._refusal(error.status_code or 0, error.body, doing) from None
        except (ParsingError, json.JSONDecodeError, KeyError, IndexError, TypeError) as error:
            raise RemoteError(
                f"Label Studio at {self.url} gave an answer that can't be read while {doing}.",
                "Is it version 1.23 or newer?",
            ) from error
        except httpx.TimeoutException as error:
            raise RemoteError(
                f"Label Studio at {self.url} took over {self._timeout_s:.0f} s for {doing}.",
                AGAIN,
            ) from error
        except httpx.ConnectError as error:
            raise RemoteError(f"Label Studio at {self.url} can't be reached.", START) from error
        except httpx.HTTPError as error:
            raise RemoteError(
                f"Label Studio at {self.url} broke off while {doing}.",
                f"See that it runs. {AGAIN}",
            ) from error

    def _refusal(self, status: int, body: Any, doing: str) -> RemoteError:
        where = f"Label Studio at {self.url}"
        if "reserved network" in str(body):
            return RemoteError(
                f"{where} may not call this machine.",
                "Set webhooks = true under [annotate] and start it anew.",
            )
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return RemoteError(f"{where} refused the token.", "Check LABEL_STUDIO_API_KEY.")
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return RemoteError(
                f"{where} failed inside ({status}) while {doing}.",
                "See its log, then run the command again.",
            )
        said = words_of(body).replace(self._token, "...")
        return RemoteError(
            f"{where} refused ({status}) while {doing}: {said}.", "Check the project on the server."
        )
