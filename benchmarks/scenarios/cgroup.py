"""Control groups that limit the memory of processes, including page cache. Needs Linux and root."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from connector.errors import ConnectorError

_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_PATIENCE_S = 30.0
_PREFIX = "ksparse-bench-"


class NoGroupsError(ConnectorError):
    """A memory group cannot be created; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory of a group, in bytes.

    Attributes:
        total: Memory that counts towards the limit.
        cached: File pages, which the system can evict.
        mapped: File pages that are mapped by a process.
        major_faults: Total number of page faults that read from disk.
    """

    total: int
    cached: int
    mapped: int
    major_faults: int


@dataclass(frozen=True, slots=True)
class _Names:
    """File names of a version of control groups."""

    limit: str
    usage: str
    no_limit: str
    cached: str
    mapped: str
    major_faults: str


_V1 = _Names(
    "memory.limit_in_bytes", "memory.usage_in_bytes", "-1", "total_cache", "total_mapped_file", "total_pgmajfault"
)
_V2 = _Names("memory.max", "memory.current", "max", "file", "file_mapped", "pgmajfault")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Location of new groups: below or beside the group of this process, so that its limits also apply.

    Attributes:
        parent: Folder of the parent group.
        home: Folder of this process's group.
        names: File names of the version.
    """

    parent: Path
    home: Path
    names: _Names

    @contextmanager
    def group(self, limit: int | None) -> Iterator[MemoryGroup]:
        """Create a group with a limit in bytes (None for none), and remove it; it must be empty at the end.

        Raises:
            NoGroupsError: The system refuses to create it.
        """
        folder = self.parent / f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        try:
            folder.mkdir()
            made = MemoryGroup(folder, self)
            made.limit(limit)
        except OSError as error:
            _remove(folder)
            raise NoGroupsError(f"{folder} cannot be created with a limit ({error.strerror}).") from error
        try:
            yield made
        finally:
            _remove(folder)


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """An existing group.

    Attributes:
        folder: Its folder.
        hierarchy: Its hierarchy.
    """

    folder: Path
    hierarchy: Hierarchy

    def limit(self, limit: int | None) -> None:
        """Set the limit in bytes; None removes it."""
        names = self.hierarchy.names
        (self.folder / names.limit).write_text(names.no_limit if limit is None else str(limit))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move this process into the group for a moment; child processes started meanwhile stay in it."""
        own = str(os.getpid())
        (self.folder / "cgroup.procs").write_text(own)
        try:
            yield
        finally:
            (self.hierarchy.home / "cgroup.procs").write_text(own)

    def usage(self) -> Usage:
        """Read the memory usage."""
        names = self.hierarchy.names
        lines = (line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        facts = {line[0]: int(line[1]) for line in lines if len(line) == 2}
        total = int((self.folder / names.usage).read_text())
        return Usage(total, facts[names.cached], facts[names.mapped], facts[names.major_faults])

    @property
    def processes(self) -> list[int]:
        """Ids of the processes in the group."""
        return [int(line) for line in (self.folder / "cgroup.procs").read_text().split()]


def find_hierarchy(*, proc: Path = Path("/proc")) -> Hierarchy:
    """Find a location for groups.

    Args:
        proc: The system's folder of processes.

    Raises:
        NoGroupsError: This is not Linux, the user is not root, or there is no memory controller.
    """
    try:
        own = dict(_own_groups((proc / "self" / "cgroup").read_text()))
        mounts = [line.split() for line in (proc / "self" / "mounts").read_text().splitlines()]
    except OSError:
        raise NoGroupsError("This system has no control groups; use Linux.") from None
    if os.geteuid() != 0:
        raise NoGroupsError("Only root can create control groups; run the suite as root.")
    for _, mount, kind, options, *_ in mounts:
        if kind == "cgroup" and "memory" in options.split(","):
            home = _existing(Path(mount), own.get("memory", "/"))
            return _checked(Hierarchy(home, home, _V1))
        if kind == "cgroup2" and "memory" in _words(Path(mount) / "cgroup.controllers"):
            home = _existing(Path(mount), own.get("", "/"))
            # In version 2, a group with processes cannot have limited groups below it, except the root.
            parent = home if home == Path(mount) else home.parent
            return _checked(Hierarchy(parent, home, _V2))
    raise NoGroupsError("No control group of this machine can limit memory: the memory controller is missing.")


def drop_caches() -> None:
    """Drop the page cache, so that files are read from disk again."""
    os.sync()
    _DROP_CACHES.write_text("3\n")


def _own_groups(text: str) -> Iterator[tuple[str, str]]:
    """Yield controllers and paths of this process's groups; version 2 has no controller names."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _existing(mount: Path, path: str) -> Path:
    """Folder of a group; in a container, its own group is at the mount point."""
    folder = mount / path.lstrip("/")
    return folder if folder.is_dir() else mount


def _checked(hierarchy: Hierarchy) -> Hierarchy:
    if hierarchy.names is _V2 and "memory" not in _words(hierarchy.parent / "cgroup.subtree_control"):
        try:
            (hierarchy.parent / "cgroup.subtree_control").write_text("+memory")
        except OSError as error:
            raise NoGroupsError(f"{hierarchy.parent} does not allow limiting memory ({error.strerror}).") from error
    _remove_old(hierarchy.parent)
    with hierarchy.group(None):
        return hierarchy


def _remove_old(parent: Path) -> None:
    """Remove groups of killed runs, except those that still have processes."""
    for folder in parent.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not psutil.pid_exists(int(pid)):
            with suppress(OSError):
                folder.rmdir()


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _remove(folder: Path) -> None:
    """Remove a group; a killed process takes a moment to leave it."""
    deadline = time.monotonic() + _PATIENCE_S
    while folder.is_dir():
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
