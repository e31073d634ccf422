"""Where a local OpenSearch lives on disk, and which user runs it."""

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
    """The user a node runs as where we are root: OpenSearch refuses to run as root."""

    name: str
    uid: int
    gid: int


def service_user() -> ServiceUser | None:
    """Return `nobody` where we are root, None where we may run a node as ourselves."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ClusterError(
            "OpenSearch does not run as root and there is no user 'nobody' to run it as. "
            "Run ksparse as another user, or set OPENSEARCH_URL."
        ) from None
    return ServiceUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def cache_folder() -> Path:
    """Create the cache folder, for distributions, data and state, and make sure that a node can use it.

    Raises:
        ClusterError: The system is Windows, the folder cannot be created, or the node's user cannot enter it.
    """
    if os.name != "posix":
        raise ClusterError("A local OpenSearch is started on Linux and macOS only. Set OPENSEARCH_URL.")
    folder = files.cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterError(
            f"Cannot create the cache folder {folder}: {error.strerror}. "
            "Set KSPARSE_CACHE to a folder that you may write to."
        ) from error
    if any(character.isspace() for character in str(folder)):
        raise ClusterError(
            f"The cache folder is {str(folder)!r}, and OpenSearch's scripts take no spaces. "
            "Set KSPARSE_CACHE to a folder without."
        )
    user = service_user()
    if user is not None and not open_to_others(folder):
        raise ClusterError(
            f"OpenSearch runs as {user.name!r} here, who cannot enter {folder}. "
            "Set KSPARSE_CACHE to a folder whose parents all users may enter, such as /var/cache/ksparse."
        )
    return folder


def open_to_others(path: Path) -> bool:
    """Tell whether any user may enter `path` and every folder above it."""
    path = path.resolve()
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


@contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold an exclusive lock on a file, so that two processes do not set up or start the same thing.

    Args:
        path: The lock file; it is created, and stays.
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
                        f"Another process has held {path} for {timeout_s:g} s. Wait for it, or end it, and try again."
                    ) from None
                sleep(0.2)
        yield
