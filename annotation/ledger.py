"""What push and pull share: one of them at a time, people's pseudonyms, the server's tasks read."""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from annotation.answers import ServerTask, pseudonym
from annotation.private import write_private
from data_manifests.errors import RemoteError
from data_manifests.store import Store

__all__ = ["naming", "one_at_a_time", "person", "secret_of", "server_tasks"]


def naming(
    store: Store, server: str, names: Mapping[int, str] | None = None
) -> Callable[[int | None], str]:
    """Gives the pseudonym of a user of a server: that of their name, where it is known."""
    secret = secret_of(store)
    known = {number: person(store, name) for number, name in (names or {}).items()}

    def name(user: int | None) -> str:
        return known.get(user or 0) or pseudonym(secret, server, user)

    return name


def person(store: Store, name: str) -> str:
    """The pseudonym of a named person; the name itself goes into no table."""
    folded = " ".join(name.split()).casefold()
    return pseudonym(secret_of(store), f"name:{folded}", 0)


def secret_of(store: Store) -> bytes:
    """The key of people's pseudonyms: beside the tables, never in them, for its owner only."""
    file = store.folder.parent / ".annotator-key"
    if not file.exists():
        write_private(file, secrets.token_hex(32))
    return file.read_bytes()


def server_tasks(raw: Sequence[Mapping[str, Any]]) -> list[ServerTask]:
    """What the server listed, read; raises RemoteError for what no server of ours would send."""
    try:
        return [ServerTask.model_validate(t) for t in raw]
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(p) for p in fault["loc"])
        raise RemoteError(
            f"Label Studio listed a task whose {where} can't be read: {fault['msg']}.",
            "Is it version 1.23 or newer?",
        ) from error


@contextlib.contextmanager
def one_at_a_time(store: Store) -> Iterator[None]:
    """No other push or pull of the workspace runs meanwhile."""
    # The kernel frees the lock when its holder dies, so a killed push never blocks the next.
    store.folder.mkdir(parents=True, exist_ok=True)
    with (store.folder / ".sync.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
