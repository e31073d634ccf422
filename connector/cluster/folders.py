"""Folders of a local OpenSearch, and the user that runs it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from connector import files
from connector.errors import ClusterError


@dataclass(frozen=True)
class ServiceUser:
    """The user that runs nodes if this process is root, because OpenSearch refuses to run as root."""

    name: str
    uid: int
    gid: int


def service_user() -> ServiceUser | None:
    """Return `nobody` if this process is root, else None."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ClusterError(
            "OpenSearch does not run as root, and there is no user 'nobody'. Run ksparse as another user, or set "
            "OPENSEARCH_URL."
        ) from None
    return ServiceUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def cache_folder() -> Path:
    """Create the cache folder for distributions, data and state, and check that a node can use it.

    Raises:
        ClusterError: The system is Windows, the folder cannot be created, or the node's user cannot enter it.
    """
    if os.name != "posix":
        raise ClusterError("A local OpenSearch needs Linux or macOS. Set OPENSEARCH_URL.")
    folder = files.cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterError(
            f"Cannot create the cache folder {folder}: {error.strerror}. Set KSPARSE_CACHE to a writable folder."
        ) from error
    if any(character.isspace() for character in str(folder)):
        raise ClusterError(
            f"The cache folder is {str(folder)!r}, but OpenSearch's scripts do not support spaces. "
            "Set KSPARSE_CACHE to a folder without spaces."
        )
    user = service_user()
    if user is not None and not open_to_others(folder):
        raise ClusterError(
            f"OpenSearch runs as user {user.name!r}, who cannot access {folder}. "
            "Set KSPARSE_CACHE to a folder that all users can access, such as /var/cache/ksparse."
        )
    return folder


def open_to_others(path: Path) -> bool:
    """Return whether all users can access `path` and its parents."""
    path = path.resolve()
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


@contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold an exclusive lock on a file.

    Args:
        path: The lock file, created if missing and not deleted.
        timeout_s: Seconds to wait for another process.

    Raises:
        ClusterError: Another process held the lock for `timeout_s`.
    """
    import fcntl

    deadline = monotonic() + timeout_s
    with path.open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if monotonic() > deadline:
                    raise ClusterError(
                        f"Another process has locked {path} for {timeout_s:g} s. Wait for it or stop it, and try again."
                    ) from None
                sleep(0.2)
        yield
