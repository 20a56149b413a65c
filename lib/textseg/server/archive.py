"""All labelled pictures with their labels in one zip file, as MONAI Label offers it for download."""

import json
import zipfile
from pathlib import Path
from typing import Any

from textseg.errors import DataError
from textseg.server.temporary import temporary_file


def write_archive(pairs: list[dict[str, Any]], metadata: dict[str, Any]) -> Path:
    """image/, label/ and metadata.json in a new temporary file, which the caller removes.

    Raises DataError when nothing is labelled.
    """
    if not pairs:
        raise DataError("Nothing has a final label yet: there is nothing to download. Submit a label first.")
    path = temporary_file(".zip")
    try:
        with zipfile.ZipFile(path, "w") as archive:
            for pair in pairs:
                for kind, name in pair.items():
                    archive.write(name, f"{kind}/{Path(name).name}")
            archive.writestr("metadata.json", json.dumps(metadata, indent=1))
    except BaseException:
        path.unlink()
        raise
    return path
