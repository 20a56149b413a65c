"""Prompts: how they are understood."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from textseg.errors import DataError, PromptError


def read(options: argparse.Namespace) -> None:
    """Say how prompts are understood: one from the command line, or one per line of a file."""
    prompts = _lines(options.file) if options.file else [options.prompt]
    readings = [_told(prompt, options.laterality) for prompt in prompts]
    for reading in readings:
        if options.json:
            print(json.dumps(reading, ensure_ascii=False))
        elif reading["understood"]:
            print(reading["canonical"], *reading["warnings"], sep="\n  ")
        else:
            print(f"textseg: {reading['warnings'][0]}", file=sys.stderr)
    if not options.file and not readings[0]["understood"]:
        raise SystemExit(PromptError.exit_code)


def _told(prompt: str, laterality: str) -> dict[str, Any]:
    """One prompt's Finding (patient sides), whether it was understood, warnings or refusal, canonical sentence."""
    from textseg.text.finding import Finding
    from textseg.text.prompt import read_prompt
    from textseg.text.sentence import canonical

    try:
        reading = read_prompt(prompt, laterality)
    except PromptError as error:
        return {"prompt": prompt, "understood": False, "warnings": [str(error)], "canonical": "", **Finding().to_json()}
    told = {"understood": True, "warnings": list(reading.warnings), "canonical": canonical(reading.finding)}
    return {"prompt": prompt, **told, **reading.finding.to_json()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no text in UTF-8 ({error}). Give a file with one prompt per line.") from error
