"""The settings of `monailabel start_server ... --conf KEY VALUE`."""

import logging
from collections.abc import Mapping

SETTINGS = ("models", "weights", "pretrained", "allow_remote", "server_mode")
ON, OFF = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")
logger = logging.getLogger(__name__)


def is_on(conf: Mapping[str, str], key: str) -> bool:
    """A setting that is true or false; anything else is told and counts as false."""
    value = str(conf.get(key, "")).strip().lower()
    if value not in (*ON, *OFF):
        logger.warning("--conf %s takes true or false, not %s: it counts as false", key, value)
    return value in ON
