"""Sees pictures, series and labels that are copied into the studies, or taken away, while the server runs."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Timer

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

QUIET_SECONDS = 0.5  # the studies are listed when nothing has been copied into them for so long
CHANGES = ("created", "closed", "deleted", "moved")
logger = logging.getLogger(__name__)


class StudiesWatch(FileSystemEventHandler):
    """Calls `refresh`, in a thread of its own, once for all that changes at one time.

    Each folder is watched by itself: what the server keeps in its own folder below the studies costs nothing.
    ignored: says of a changed path that it is the server's own doing.
    """

    def __init__(self, studies: Path, refresh: Callable[[], None], ignored: Callable[[Path], bool]) -> None:
        self._studies, self._refresh, self._ignored = studies, refresh, ignored
        self._timer = Timer(0, refresh)
        self._folders: dict[Path, object] = {}
        self._observer: BaseObserver = PollingObserver() if _is_mounted(studies) else Observer()

    def start(self, folders: Iterable[Path]) -> None:
        """Begin to watch. Where the machine does not allow it, changes are seen at the next start: it is logged."""
        self.follow(folders)
        try:
            self._observer.start()
        except OSError as error:
            logger.error("The studies cannot be watched (%s): restart the server after copying pictures there", error)

    def follow(self, folders: Iterable[Path]) -> None:
        """Watch these folders and no others."""
        wanted = set(folders)
        for folder in set(self._folders) - wanted:
            watch = self._folders.pop(folder)
            self._quietly(lambda watch=watch: self._observer.unschedule(watch))
        for folder in wanted - set(self._folders):
            self._quietly(lambda folder=folder: self._schedule(folder))

    def stop(self) -> None:
        """End the watch."""
        self._timer.cancel()
        if self._observer.is_alive():
            self._observer.stop()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by the watcher's thread for every change."""
        ends = [event.src_path, event.dest_path] if event.event_type == "moved" else [event.src_path]
        polled = isinstance(self._observer, PollingObserver)  # it sees no closing
        changes = (*CHANGES, "modified") if polled else CHANGES
        if event.event_type not in changes or not any(self._counts(Path(str(path))) for path in ends if path):
            return
        self._timer.cancel()
        self._timer = Timer(QUIET_SECONDS, self._refresh)
        self._timer.daemon = True
        self._timer.start()

    def _counts(self, path: Path) -> bool:
        if not path.is_relative_to(self._studies) or path == self._studies:
            return False
        return not path.name.startswith(".") and not self._ignored(path)

    def _schedule(self, folder: Path) -> None:
        self._folders[folder] = self._observer.schedule(self, str(folder), recursive=False)

    def _quietly(self, change: Callable[[], object]) -> None:
        try:
            change()
        except (OSError, KeyError) as error:
            logger.warning("A folder of the studies cannot be watched: %s", error)


def _is_mounted(folder: Path) -> bool:
    """True below a mount, a network disk perhaps, where the system may not tell of changes."""
    return any(path.is_mount() for path in (folder, *folder.parents) if path != path.parent)
