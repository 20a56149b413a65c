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
        place = Path(event.src_path).relative_to(self._studies).parts
        in_a_folder = len(place) == 2 or (len(place) == 1 and event.is_directory)
        if event.event_type not in CHANGES or not in_a_folder or place[0] in self._own:
            return
        self._timer.cancel()
        self._timer = Timer(QUIET_SECONDS, self._refresh)
        self._timer.daemon = True
        self._timer.start()
