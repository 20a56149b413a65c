"""Data sets on disk: images/ and masks/ of the same stem, sentences in prompts.csv or labels.csv; a folder or a zip."""

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from textseg.data.prompts_table import TABLE, PromptRow, read_prompts
from textseg.errors import DataError
from textseg.imaging.kinds import SUFFIXES, is_picture_name, stem_of
from textseg.imaging.labels import read_mask
from textseg.imaging.picture import Picture
from textseg.imaging.read import read_picture
from textseg.text.finding import Finding
from textseg.text.prompt import read_prompt


@dataclass(frozen=True)
class Record:
    """One picture with its mask and what was said of it.

    finding: patient sides; None without a prompt. bilateral: as the sentence says, see `prompt.Reading`. modality:
    xray, ct, or "" where the tables do not say it. words: instead of the finding, see `prompt.Reading`. values: those
    of the mask that count, all above 0 when empty. slices: those of a volume that are meant, all when empty. complete:
    what is said is all that there is to see, as in a data set; of a person's label that is not known by itself.
    """

    name: str
    image: Path
    mask: Path
    prompt: str
    finding: Finding | None
    bilateral: bool | None
    patient: str
    modality: str = ""
    words: str = ""
    values: tuple[int, ...] = ()
    slices: tuple[int, ...] = ()
    complete: bool = True

    def load(self) -> tuple[Picture, np.ndarray]:
        """The picture, and its mask as N x H x W booleans on the displayed slices. Raises PictureError, DataError.

        Of a volume of which some slices are meant, a picture of these alone, which has no way back to the file's grid.
        """
        picture = read_picture(self.image, hint=self.modality)
        masks = read_mask(self.mask, picture, self.values)
        if not self.slices:
            return picture, masks
        meant = list(self.slices)
        return replace(picture, pixels=picture.pixels[meant]), masks[meant]


@contextmanager
def data_folder(path: Path) -> Iterator[Path]:
    """The folder itself, or a zip unpacked for the time of the `with`. Raises DataError when it is neither."""
    if path.is_dir():
        yield path
    elif zipfile.is_zipfile(path):
        with tempfile.TemporaryDirectory(prefix="textseg-") as unpacked:
            _unpack(path, unpacked)
            yield _inner_folder(Path(unpacked))
    else:
        raise DataError(f"{path} is neither a folder nor a zip. Give a folder with images/ and masks/.")


def read_records(
    folder: Path,
    split: str | None = None,
    split_column: str = "split",
    laterality: str = "patient",
    spoken: str | None = None,
) -> list[Record]:
    """All records of a folder, in the order of their names.

    split: keep the rows whose `split_column` says so. laterality: whose sides the sentences speak of, unless a row
    says it itself. spoken: for a model that reads the words themselves, see `read_prompt`. Raises DataError when
    folders, masks or columns are missing, PromptError for an unreadable sentence, OptionError for one in other sides.
    """
    images, masks = _by_stem(folder / "images"), _by_stem(folder / "masks")
    rows = _rows(folder, need=split_column if split else None)
    if split:
        images = {stem: path for stem, path in images.items() if _in_split(rows.get(stem), split, split_column)}
        if not images:
            raise DataError(f"{folder.name} has no picture whose `{split_column}` is {split!r}.")
    if not images:
        raise DataError(f"{folder.name}/images/ holds no picture. Supported: {', '.join(SUFFIXES)}.")
    without = sorted(set(images) - set(masks))
    if without:
        raise DataError(f"{folder.name} has no mask for {', '.join(without[:5])} ({len(without)} in all).")
    return [_record(images[stem], masks[stem], rows.get(stem), laterality, spoken) for stem in sorted(images)]


def _record(image: Path, mask: Path, row: PromptRow | None, laterality: str, spoken: str | None) -> Record:
    prompt = row.prompt if row else ""
    reading = read_prompt(prompt, row.laterality or laterality, spoken) if row and prompt else None
    return Record(
        name=stem_of(image),
        image=image,
        mask=mask,
        prompt=prompt,
        finding=reading.finding if reading else None,
        bilateral=reading.bilateral if reading else None,
        patient=row.patient if row else "",
        modality=row.modality if row else "",
        words=reading.words if reading else "",
    )


def _rows(folder: Path, need: str | None) -> dict[str, PromptRow]:
    """prompts.csv speaks first; the columns that it lacks come from labels.csv."""
    prompts = read_prompts(folder / TABLE) if (folder / TABLE).is_file() else {}
    labels = read_prompts(folder / "labels.csv") if (folder / "labels.csv").is_file() else {}
    merged = {}
    for stem in {**labels, **prompts}:
        columns = {
            key: value for table in (labels, prompts) if stem in table for key, value in table[stem].columns.items()
        }
        merged[stem] = PromptRow.of(columns)
    if need and not any(need in row.columns for row in merged.values()):
        raise DataError(f"{folder.name} has no column `{need}` in its tables; name another by --split-column.")
    return merged


def _in_split(row: PromptRow | None, split: str, column: str) -> bool:
    return row is not None and row.columns.get(column) == split


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder.parent.name} has no folder {folder.name}/. It needs images/ and masks/.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not is_picture_name(path):
            continue
        if stem_of(path) in found:
            raise DataError(f"{folder.name}/ holds {found[stem_of(path)].name} and {path.name}: rename one of them.")
        found[stem_of(path)] = path
    return found


def _unpack(path: Path, folder: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path.name} is a damaged zip ({error}). Copy it again.") from error


def _inner_folder(unpacked: Path) -> Path:
    """The folder that holds images/: the zip's root or its only folder."""
    inside = [path for path in unpacked.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))]
    return inside[0] if len(inside) == 1 and not (unpacked / "images").is_dir() else unpacked
