"""Many pictures with a prompt each -> a folder of masks and overlays. Called again it goes on, and redoes what changed.

made.jsonl      what was made from what
masks/          PICTURE.nii.gz, on the picture's own grid
overlays/       PICTURE.png, the picture with the mask on it
"""

import hashlib
import json
import os
from pathlib import Path

from textseg.data.prompts_table import PromptLine
from textseg.data.store.durable import clear_unfinished, make_folder, told_of_failure
from textseg.engine.batch_journal import Journal, Made
from textseg.engine.predictor import Predictor
from textseg.engine.ready import sha256_of
from textseg.engine.segment import Segmented, segment
from textseg.errors import DataError, OptionError
from textseg.imaging.extent import extent_of
from textseg.imaging.read import AUTO, read_picture
from textseg.imaging.write import write_mask, write_overlay
from textseg.text.prompt import Reading, read_prompt

MASKS, OVERLAYS, UNFINISHED = "masks", "overlays", ".unfinished"
SUFFIX = ".nii.gz"
CHANGED = "masks/{}" + SUFFIX + " was changed by somebody since it was made"


class Batch:
    """One model on many pictures. output: the folder, which is made.

    laterality: whose sides prompts speak of whose line does not say it. modality: see `read_picture`. Raises
    OptionError for a folder with masks that no batch made.
    """

    def __init__(self, predictor: Predictor, output: Path, laterality: str = "patient", modality: str = AUTO) -> None:
        self._predictor, self.output = predictor, output
        self._laterality, self._modality = laterality, modality
        self._journal = Journal(output)
        if not self._journal.exists and any((output / name).exists() for name in (MASKS, OVERLAYS)):
            raise OptionError(
                f"{output} has a folder {MASKS}/ or {OVERLAYS}/ that textseg batch did not make. Name another --output."
            )
        with told_of_failure("any mask"):
            self._journal.begin()
            for name in (MASKS, OVERLAYS, UNFINISHED):
                make_folder(output / name)
            clear_unfinished(output / UNFINISHED, fresh=True)

    def mask(self, picture: str) -> Path:
        """Where the mask of a picture (its id) lies."""
        return self.output / MASKS / f"{picture}{SUFFIX}"

    def overlay(self, picture: str) -> Path:
        """Where its overlay lies."""
        return self.output / OVERLAYS / f"{picture}.png"

    def make(self, line: PromptLine, path: Path) -> tuple[Made, bool]:
        """The mask of one line's picture, which lies at `path`; True: made now, False: it was there.

        A mask that somebody changed is never replaced. Raises TextSegError.
        """
        row, picture = line.row, line.id
        sides = row.laterality or self._laterality
        reading = read_prompt(row.prompt, sides, self._predictor.spoken) if row.prompt else None
        key = self._key(line, path, reading)
        there = sha256_of(self.mask(picture)) if self.mask(picture).is_file() else ""
        last = self._journal.last(picture)
        ours = self._journal.is_ours(picture, there)
        whole = there and last and there == last.sha256 and self.overlay(picture).is_file()
        if last and last.key == key and (whole or (there and not ours)):
            return last, False
        if there and not ours:
            raise DataError(f"{CHANGED.format(picture)}: it is left as it is. Move it away to have it made anew.")
        done = segment(self._predictor, read_picture(path, self._modality, row.modality), reading)
        return self._kept(line, path, key, done), True

    def _kept(self, line: PromptLine, path: Path, key: str, done: Segmented) -> Made:
        """Noted first, then put in its place: a batch that is broken off between the two makes it again."""
        report, extent = done.report(), extent_of(path, done.picture, done.masks)
        mask, overlay = (self.output / UNFINISHED / f"{os.getpid()}-{name}" for name in (f"mask{SUFFIX}", "look.png"))
        with told_of_failure("the mask"):
            _write(done, mask, overlay)
            made = Made(
                line.id,
                key,
                sha256_of(mask),
                line.row.prompt,
                done.read_as,
                report["model_name"],
                report["model_version"],
                extent.pixels,
                extent.cm2,
                extent.ml,
                tuple(report["warnings"]),
            )
            self._journal.note(made)
            overlay.replace(self.overlay(line.id))
            mask.replace(self.mask(line.id))
        return made

    def _key(self, line: PromptLine, path: Path, reading: Reading | None) -> str:
        """A hash of everything that a mask is made from."""
        finding = reading.finding.to_json() if reading and reading.finding else None
        said = (finding, reading.bilateral, reading.words, reading.warnings) if reading else None
        model = (self._predictor.spec.name, self._predictor.weights_sha256, self._predictor.threshold)
        asked = (line.row.prompt, said, self._modality, line.row.modality)
        return hashlib.sha256(json.dumps([_state(path), model, asked]).encode()).hexdigest()


def _write(done: Segmented, mask: Path, overlay: Path) -> None:
    """Raises OSError also where ITK calls it otherwise."""
    try:
        write_mask(done.picture, done.masks, mask)
    except RuntimeError as error:
        raise OSError("the mask's file could not be written") from error
    write_overlay(done.picture, done.masks, overlay)


def _state(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of a picture's files."""
    files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
