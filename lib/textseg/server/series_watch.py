"""Sees series that are copied into the studies, or taken away, while the server runs."""

from collections.abc import Callable
from pathlib import Path
from threading import Timer

from watchdog.events import FileSystemEvent, FileSystemEventHandler

QUIET_SECONDS = 1.0  # a series is listed when nothing has been copied into its folder for so long
CHANGES = ("created", "closed", "deleted", "moved")


class SeriesWatch(FileSystemEventHandler):
    """Calls `refresh` when something in a sub-folder has changed, and only once for a whole series.

    own: sub-folders that are the server's own. `refresh` runs in a thread of its own.
    """

    def __init__(self, studies: Path, own: tuple[str, ...], refresh: Callable[[], None]) -> None:
        self._studies, self._own, self._refresh = studies, own, refresh
        self._timer = Timer(0, refresh)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by the watcher's thread for every change below the studies."""
        ends = [event.src_path, event.dest_path] if event.event_type == "moved" else [event.src_path]
        if event.event_type not in CHANGES or not any(self._counts(path, event) for path in ends if path):
            return
        self._timer.cancel()
        self._timer = Timer(QUIET_SECONDS, self._refresh)
        self._timer.daemon = True
        self._timer.start()

    def _counts(self, path: str, event: FileSystemEvent) -> bool:
        """A change in a sub-folder, or of one; a picture that was renamed, as many copies are at their end."""
        if not Path(path).is_relative_to(self._studies):
            return False
        place = Path(path).relative_to(self._studies).parts
        whole = event.is_directory or event.event_type == "moved" or Path(path).is_dir()
        return (len(place) == 2 or (len(place) == 1 and whole)) and place[0] not in self._own
