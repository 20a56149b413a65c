"""What came of a learning curve: a table for people, a report in JSON, a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from textseg.learning.curve import scores_of
from textseg.learning.gate import Margin, margin

WIDTH, HEIGHT, EDGE, SHARPER = 460, 380, 64, 2  # of a panel, in points; drawn so many times larger
COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14))
INK, PALE = (40, 40, 40), (222, 222, 222)
SHOWN = {"dice_image": "Dice per image", "sensitivity": "sensitivity: Dice lost when left and right are changed"}
COLUMNS = ("dice_image", "sensitivity", "share", "worst_decile")
HEAD = (
    f"{'seed':>6}{'round':>6} {'serves':7}{'Dice':>7}{'since round 0 (95 %)':>26}{'sensitivity':>12}"
    f"{'one side':>9}{'worst 1/10':>11}{'denied':>7}  verdict"
)
Results = Sequence[dict[str, Any]]


def report_of(results: Results) -> dict[str, Any]:
    """JSON-ready: every round of every seed without the scores of single pictures, and the means over the seeds."""
    plain = [{**_plain(result), "since_round_0": vars(_gain(result, results))} for result in results]
    return {"rounds": plain, "means": [_mean(results, number) for number in sorted({r["round"] for r in results})]}


def table_of(results: Results) -> list[str]:
    """Lines for people."""
    lines = [HEAD, *(_line(result, results) for result in results)]
    for mean in report_of(results)["means"]:
        dice, sensitivity, share, worst = (mean[key] for key in COLUMNS)
        gain = f"{mean['gain']:+.3f} ({mean['least_gain']:+.3f} to {mean['most_gain']:+.3f})"
        lines.append(
            f"{'mean':>6}{mean['round']:>6} {'':7}{_told(dice):>7}{gain:>26}{_told(sensitivity):>12}"
            f"{_told(share):>9}{_told(worst):>11}{'':>7}  of {mean['seeds']} seeds, and their range"
        )
    return lines


def _line(result: dict[str, Any], results: Results) -> str:
    served, gain = result["served"], _gain(result, results)
    since = f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})" if result["round"] else ""
    dice, sensitivity, share, worst = (served[key] for key in COLUMNS)
    return (
        f"{result['seed']:>6}{result['round']:>6} {result.get('version', 'v0000'):7}{_told(dice):>7}{since:>26}"
        f"{_told(sensitivity):>12}{_told(share):>9}{_told(worst):>11}{served['denied']:>7}"
        f"  {result.get('verdict', 'the base')}"
    )


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _gain(result: dict[str, Any], results: Results) -> Margin:
    """Of what served after a round over the base of its seed, on the same pictures."""
    (first,) = [each for each in results if (each["seed"], each["round"]) == (result["seed"], 0)]
    return margin(scores_of(first), scores_of(result))


def _plain(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "served": {key: value for key, value in result["served"].items() if key != "scores"}}


def _mean(results: Results, number: int) -> dict[str, Any]:
    chosen = [result for result in results if result["round"] == number]
    gains = [_gain(result, results).mean for result in chosen]
    means = {key: _mean_of([result["served"][key] for result in chosen]) for key in COLUMNS}
    spread = {"gain": float(np.mean(gains)), "least_gain": min(gains), "most_gain": max(gains)}
    return {"round": number, "seeds": len(chosen), **means, **spread}


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def draw_curve(results: Results, title: str, path: Path) -> None:
    """Two panels, a line for each seed and a thick one for their mean; rounds that published nothing have a ring."""
    panels = [_panel(results, key, told) for key, told in SHOWN.items()]
    whole = Image.new("RGB", (SHARPER * WIDTH * len(panels), SHARPER * (HEIGHT + 30)), "white")
    for number, panel in enumerate(panels):
        whole.paste(panel, (SHARPER * WIDTH * number, SHARPER * 30))
    ImageDraw.Draw(whole).text((SHARPER * 12, SHARPER * 9), title, INK, font(13))
    whole.save(path, format="PNG")


def _panel(results: Results, key: str, told: str) -> Image.Image:
    panel = Image.new("RGB", (SHARPER * WIDTH, SHARPER * HEIGHT), "white")
    draw = ImageDraw.Draw(panel)
    rounds = sorted({result["round"] for result in results})
    values = [result["served"][key] for result in results if result["served"][key] is not None]
    frame = Frame(len(rounds), *(limits_of(values) if values else (0.0, 1.0)))
    frame.draw_axes(draw, rounds, told)
    for number, seed in enumerate(sorted({result["seed"] for result in results})):
        own = [result for result in results if result["seed"] == seed and result["served"][key] is not None]
        _draw_seed(draw, frame, own, key, COLOURS[number % len(COLOURS)])
    means = [_mean_of([r["served"][key] for r in results if r["round"] == number]) for number in rounds]
    if None not in means and len({result["seed"] for result in results}) > 1:
        draw.line([frame.place(n, mean) for n, mean in enumerate(means)], INK, 4 * SHARPER)
    return panel


def _draw_seed(draw: ImageDraw.ImageDraw, frame: "Frame", own: Results, key: str, colour: tuple[int, ...]) -> None:
    places = [frame.place(result["round"], result["served"][key]) for result in own]
    draw.line(places, colour, SHARPER * 3 // 2)
    for result, (x, y) in zip(own, places, strict=True):
        inside = colour if result.get("published", True) else "white"
        r = 4 * SHARPER
        draw.ellipse((x - r, y - r, x + r, y + r), inside, colour, SHARPER * 3 // 2)
    if places:
        x, y = places[-1]
        draw.text((x + 8 * SHARPER, y), f"seed {own[-1]['seed']}", colour, font(11), anchor="lm")


def limits_of(values: Sequence[float]) -> tuple[float, float]:
    """Whole twentieths around the values."""
    low, high = np.floor(min(values) * 20) / 20, np.ceil(max(values) * 20) / 20
    return float(low), float(high if high > low else low + 0.05)


class Frame:
    """Where a panel's values lie. rounds: how many places across."""

    def __init__(self, rounds: int, low: float, high: float) -> None:
        self.rounds, self.low, self.high = rounds, low, high

    def place(self, number: int, value: float) -> tuple[float, float]:
        """In dots, from the panel's left upper corner."""
        across = (WIDTH - 2 * EDGE) * number / max(1, self.rounds - 1)
        up = (HEIGHT - 2 * EDGE) * (value - self.low) / (self.high - self.low)
        return SHARPER * (EDGE + across), SHARPER * (HEIGHT - EDGE - up)

    def draw_axes(self, draw: ImageDraw.ImageDraw, rounds: Sequence[int], told: str) -> None:
        """The panel's heading, values and rounds."""
        draw.text((SHARPER * 12, SHARPER * 20), told, INK, font(13))
        ticks = np.linspace(self.low, self.high, round((self.high - self.low) * 20) + 1)
        for value in ticks[:: max(1, len(ticks) // 6)]:
            x, y = self.place(0, value)
            draw.line((x, y, self.place(self.rounds - 1, value)[0], y), PALE, SHARPER)
            draw.text((x - 10 * SHARPER, y), f"{value:.2f}", INK, font(11), anchor="rm")
        for number, name in enumerate(rounds):
            x, y = self.place(number, self.low)
            draw.text((x, y + 12 * SHARPER), f"round {name}" if name else "base", INK, font(11), anchor="mt")


def font(points: int) -> ImageFont.FreeTypeFont:
    """In points of the picture before it is drawn larger."""
    return ImageFont.load_default(points * SHARPER)
