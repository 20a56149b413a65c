"""Pictures that a client sent for its session alone: MONAI Label's sessions, on a disk that may hold anything.

A session is a folder named like a uuid, with one picture (a file, or a folder of files) and `meta.info` beside it.
What is damaged or no session at all is never served and stops nobody.
"""

import json
import logging
import re
import shutil
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from monailabel.utils.sessions import SessionInfo, Sessions

from textseg.data.store.durable import write_whole
from textseg.errors import OptionError, StoreError
from textseg.text.hints import shown

SESSION_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
META = "meta.info"
MAX_META = 1 << 16  # bytes
MAX_EXPIRY = 30 * 24 * 3600  # seconds
logger = logging.getLogger(__name__)


def is_session_id(session_id: object) -> bool:
    """True for a plain uuid in small letters, the only name that a session ever has."""
    return isinstance(session_id, str) and SESSION_ID.fullmatch(session_id) is not None


class SafeSessions(Sessions):
    """Sessions whose ids are never paths and whose damaged folders are unknown sessions. Safe in several threads."""

    def __init__(self, store_path: str = "", expiry: int = 3600) -> None:
        super().__init__(store_path, min(expiry, MAX_EXPIRY))
        self._lock = threading.RLock()
        self._told: set[str] = set()

    def __bool__(self) -> bool:
        """True also when no session is in memory: MONAI Label clears nothing away of sessions that are false."""
        return True

    def get_session(self, session_id: object, update_ts: bool = True, fetch_cache: bool = True) -> SessionInfo | None:
        """The session of that id; None for an unknown or damaged one and for anything that is no id."""
        if not is_session_id(session_id):
            return None
        with self._lock:
            session = (self.get(session_id) if fetch_cache else None) or self._read(session_id)
            if session is None or not Path(session.image).exists():
                self.pop(session_id, None)
                return None
            self[session_id] = session
            if update_ts:
                session.last_access_ts = int(time.time())
                self._write_meta_info(session_id, session)
            return session

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> tuple[str, SessionInfo]:
        """Move a file, or a folder of files, into a new session. expiry: seconds, at most the server's own.

        Raises OptionError for an archive that should be unpacked or an id that cannot be had, StoreError when the disk
        does not take it; then nothing of it stays there.
        """
        if uncompress:
            raise OptionError("Archives are not unpacked here: send the picture's own files, without `uncompress`.")
        name = session_id or str(uuid.uuid4())  # a uuid1, as in MONAI Label, could be guessed from its neighbours
        if not is_session_id(name):
            raise OptionError(f"{shown(session_id)} cannot be a session's id: give a uuid, or none.")
        folder = self._folder(name)
        try:
            folder.mkdir(parents=True, mode=0o700)
        except FileExistsError as error:
            raise OptionError(f"There is a session {name} already. Give another id, or none.") from error
        except OSError as error:
            logger.error("No session can be made: %s", error)
            raise StoreError("The server cannot keep sessions: its folder for them cannot be written.") from error
        return name, self._fill(name, folder, Path(data_file), expiry)

    def remove_session(self, session_id: object) -> None:
        """Take a session and its files away; nothing happens for an unknown one."""
        if is_session_id(session_id):
            with self._lock:
                self.pop(session_id, None)
                self._told.discard(session_id)
                shutil.rmtree(self._folder(session_id), ignore_errors=True)

    def remove_expired(self) -> int:
        """Take away what is older than its expiry, damaged sessions as well; returns how many. Never raises.

        What has another name than a session is not the server's and stays.
        """
        try:
            names = [path.name for path in Path(self.store_path).iterdir() if is_session_id(path.name)]
        except OSError:
            return 0
        expired = 0
        for name in names:
            with self._lock:
                if self._is_expired(name):
                    logger.info("Session %s is older than its expiry and is removed", name)
                    self.remove_session(name)
                    expired += 1
        return expired

    def _folder(self, session_id: str) -> Path:
        return Path(self.store_path) / session_id

    def _fill(self, name: str, folder: Path, sent: Path, expiry: int) -> SessionInfo:
        """Move the picture into the session's folder and write what is known of it; all or nothing."""
        image = folder / (f"picture-{sent.name}" if sent.name.startswith(META) else sent.name)
        now = int(time.time())
        seconds = min(expiry, self.expiry) if expiry > 0 else self.expiry
        facts = {"create_ts": now, "last_access_ts": now, "expiry": seconds, "meta": {}}
        session = SessionInfo({"name": name, "path": str(folder), "image": str(image), **facts})
        try:
            shutil.move(sent, image)
            write_whole(folder / META, session.to_str().encode(), folder, power_cuts=False)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            logger.error("Session %s cannot be kept: %s", name, error)
            raise StoreError("The server cannot keep this picture: its disk does not take it. Try later.") from error
        self[name] = session
        return session

    def _is_expired(self, name: str) -> bool:
        session = self.get_session(name, update_ts=False, fetch_cache=False)
        if session is not None:
            return session.last_access_ts + session.expiry < time.time()
        folder = self._folder(name)
        try:
            return _is_own(folder) and folder.stat().st_mtime + self.expiry < time.time()
        except OSError:
            return False

    def _read(self, name: str) -> SessionInfo | None:
        """The session as its folder tells it; None, and one line in the log, when that cannot be used."""
        folder = self._folder(name)
        if not _is_own(folder):
            return None
        try:
            if not (folder / META).is_file():
                raise ValueError(f"no {META}")
            with (folder / META).open("rb") as file:
                return _checked(json.loads(file.read(MAX_META + 1)), name, folder, self.expiry)
        except (OSError, ValueError, RecursionError) as error:
            if name not in self._told:
                logger.warning("Session %s cannot be used (%s: %s)", name, type(error).__name__, error)
                self._told.add(name)
            return None

    def _write_meta_info(self, session_id: str, session_info: SessionInfo) -> None:
        """Keep when the session was used last; a disk that does not take it costs only that."""
        try:
            folder = self._folder(session_id)
            write_whole(folder / META, session_info.to_str().encode(), folder, power_cuts=False)
        except OSError as error:
            logger.warning("Session %s: its last use cannot be written (%s)", session_id, error)


def _is_own(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink()


def _checked(content: Any, name: str, folder: Path, longest: int) -> SessionInfo:
    """What `meta.info` says, made safe. Raises ValueError when it is not this session's."""
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    image, meta = content.get("image"), content.get("meta")
    if content.get("name") != name or not isinstance(image, str):
        raise ValueError("it names another session or no picture")
    inside = Path(image).resolve().relative_to(folder.resolve())  # ValueError: outside
    if inside.parts in ((), (META,)) or not Path(image).exists():
        raise ValueError("its picture is gone")
    stamps = [content.get(key) for key in ("create_ts", "last_access_ts", "expiry")]
    if any(type(stamp) is not int or stamp < 0 for stamp in stamps):
        raise ValueError("its times are no times")
    now = int(time.time())
    created, used, expiry = min(stamps[0], now), min(stamps[1], now), min(stamps[2] or longest, longest)
    facts = {"create_ts": created, "last_access_ts": used, "expiry": expiry}
    meta = meta if isinstance(meta, dict) else {}
    return SessionInfo({"name": name, "path": str(folder), "image": image, "meta": meta, **facts})
