"""What came of a contest of ways to choose: a table for people, its figures in JSON, a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from textseg.learning.contest import UNIFORM
from textseg.learning.curve_report import COLOURS, HEIGHT, INK, SHARPER, WIDTH, Frame, font, limits_of

DICE = "dice_image"
HEAD = f"{'way':>9}{'round':>6}{'labels':>7}{'Dice':>7}{'spread':>8}{'least':>7}{'most':>7}{'beside uniform':>26}"
Results = Sequence[dict[str, Any]]


def summary_of(results: Results) -> list[dict[str, Any]]:
    """For each way and round: mean Dice of what serves over the seeds, its spread, and the difference from uniform.

    spread: standard deviation over the seeds. gain: of the same seeds, mean, least and most; None without uniform.
    """
    ways, rounds = dict.fromkeys(each["way"] for each in results), sorted({each["round"] for each in results})
    return [_summed(results, way, number) for way in ways for number in rounds]


def table_of(results: Results, corrections: int) -> list[str]:
    """Lines for people. corrections: labels of a round."""
    rows = summary_of(results)
    return [HEAD, *(_line(row, corrections) for row in rows), *_reached(rows, corrections)]


def draw_contest(results: Results, title: str, path: Path) -> None:
    """A line for each way, the mean over the seeds, with a bar from the least to the most at each round."""
    whole = Image.new("RGB", (SHARPER * WIDTH, SHARPER * (HEIGHT + 30)), "white")
    panel = Image.new("RGB", (SHARPER * WIDTH, SHARPER * HEIGHT), "white")
    draw, rows = ImageDraw.Draw(panel), summary_of(results)
    rounds = sorted({row["round"] for row in rows})
    frame = Frame(len(rounds), *limits_of([row[key] for row in rows for key in ("least", "most")]))
    frame.draw_axes(draw, rounds, "Dice per image on pictures kept apart, mean and range of the seeds")
    for number, way in enumerate(dict.fromkeys(row["way"] for row in rows)):
        _draw_way(draw, frame, [row for row in rows if row["way"] == way], number)
    whole.paste(panel, (0, SHARPER * 30))
    ImageDraw.Draw(whole).text((SHARPER * 12, SHARPER * 9), title, INK, font(11))
    whole.save(path, format="PNG")


def _draw_way(draw: ImageDraw.ImageDraw, frame: Frame, rows: Results, number: int) -> None:
    colour, aside = COLOURS[number % len(COLOURS)], 3 * SHARPER * number
    places = [frame.place(row["round"], row["dice"]) for row in rows]
    draw.line([(x + aside, y) for x, y in places], colour, 2 * SHARPER)
    for row, (x, _) in zip(rows, places, strict=True):
        ends = [frame.place(row["round"], row[key])[1] for key in ("least", "most")]
        draw.line((x + aside, ends[0], x + aside, ends[1]), colour, SHARPER)
    x, y = places[-1]
    draw.text((x + aside + 8 * SHARPER, y), rows[-1]["way"], colour, font(11), anchor="lm")


def _summed(results: Results, way: str, number: int) -> dict[str, Any]:
    own, uniform = (_by_seed(results, each, number) for each in (way, UNIFORM))
    values = list(own.values())
    gains = [own[seed] - uniform[seed] for seed in own if seed in uniform] if way != UNIFORM else []
    return {
        "way": way,
        "round": number,
        "seeds": len(values),
        "dice": float(np.mean(values)),
        "spread": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
        "least": min(values),
        "most": max(values),
        "gain": {"mean": float(np.mean(gains)), "least": min(gains), "most": max(gains)} if gains else None,
    }


def _by_seed(results: Results, way: str, number: int) -> dict[int, float]:
    chosen = [each for each in results if each["way"] == way and each["round"] == number]
    return {each["seed"]: each["served"][DICE] for each in chosen}


def _line(row: dict[str, Any], corrections: int) -> str:
    gain = row["gain"]
    beside = f"{gain['mean']:+.3f} ({gain['least']:+.3f} to {gain['most']:+.3f})" if gain else ""
    figures = f"{row['dice']:7.3f}{row['spread']:8.3f}{row['least']:7.3f}{row['most']:7.3f}"
    return f"{row['way']:>9}{row['round']:>6}{corrections * row['round']:>7}{figures}{beside:>26}"


def _reached(rows: Results, corrections: int) -> list[str]:
    """After how many labels each other way has what uniform has at its end, on average."""
    goal = [row["dice"] for row in rows if row["way"] == UNIFORM][-1:]
    sentences = []
    for way in dict.fromkeys(row["way"] for row in rows if row["way"] != UNIFORM and goal):
        there = [row["round"] for row in rows if row["way"] == way and row["dice"] >= goal[0]]
        said = f"after {corrections * there[0]} labels" if there else "not at all"
        sentences.append(f"{way} reaches uniform's final Dice ({goal[0]:.3f}) {said}.")
    return sentences
