"""Pictures and studies: segment one, draw samples, forget one, time the reading."""

import argparse
import sys
from pathlib import Path

from textseg.commands.shared import predictor_of, print_json, sides_of_words
from textseg.errors import DataError


def predict(options: argparse.Namespace) -> None:
    """Segment one picture and write the mask."""
    from textseg.engine.segment import segment
    from textseg.imaging.read import read_picture
    from textseg.imaging.write import write_mask, write_overlay
    from textseg.text.prompt import read_prompt

    spoken = sides_of_words(options)
    reading = read_prompt(options.prompt, options.laterality, spoken) if options.prompt.strip() else None
    picture = read_picture(options.image, options.modality)
    output = options.output or Path(f"{_stem(options.image)}_mask.nii.gz")
    _check_outputs(options.image, output, options.overlay)
    done = segment(predictor_of(options), picture, reading)
    write_mask(picture, done.masks, output)
    if options.overlay:
        write_overlay(picture, done.masks, options.overlay)
    report = {"mask": str(output), **done.report()}
    if options.json:
        print_json(report)
        return
    for warning in report["warnings"]:
        print(f"textseg: {warning}", file=sys.stderr)
    print(f"{output}: {report['pixels']} pixels; read as: {done.read_as}")


def _check_outputs(image: Path, output: Path, overlay: Path | None) -> None:
    """Before the work is done: a mask's suffix, folders that are there, and never the picture itself."""
    from textseg.imaging.write import check_mask_name

    check_mask_name(output)
    for path in (output, overlay):
        if path and path.exists() and path.samefile(image):
            raise DataError(f"{path} is the picture itself: it would be overwritten. Give another name.")
        if path and not path.parent.is_dir():
            raise DataError(f"There is no folder {path.parent}. Make it, or give another name.")


def _stem(image: Path) -> str:
    """A file's name without its suffix; a folder's whole name."""
    from textseg.imaging.kinds import stem_of

    return image.resolve().name if image.is_dir() else stem_of(image)


def samples(options: argparse.Namespace) -> None:
    """Draw the sample studies."""
    from textseg.data.sample_studies import write_sample_studies

    for path in write_sample_studies(options.folder):
        print(path)


def forget(options: argparse.Namespace) -> None:
    """Erase everything that is kept of a picture."""
    from textseg.data.store.forget import forget

    erased = forget(options.studies, options.image)
    for path in erased:
        print(f"erased {path}")
    if not erased:
        print(f"Nothing was kept of {options.image}.")
    print("The picture itself and its row in prompts.csv, if it has one, are as they were.")


def bench(options: argparse.Namespace) -> None:
    """Print how long reading takes, and how many times a plain ITK read that is; and how long a prompt takes.

    Or, where that is asked for, how long a click on Next Sample takes.
    """
    if options.next_sample:
        from textseg.server.clicks import time_clicks

        print(time_clicks(options.pictures, options.clicks).told())
        return
    from textseg.engine.bench import time_prompts, time_reading

    for name, seconds in time_prompts(options.repeats).items():
        print(f"{name:44} {1000 * seconds:>8.2f} ms")
    print(f"{'picture':26} {'to network input':>17} {'plain ITK read':>15} {'ratio':>6}   (seconds, medians)")
    for timing in time_reading(options.repeats):
        ratio = timing.ours / timing.plain
        print(f"{timing.name:26} {timing.ours:>17.3f} {timing.plain:>15.3f} {ratio:>6.2f}")
