"""The status as a page: plain HTML that needs no script, no colours and nothing from elsewhere; prompts are escaped."""

from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from textseg import __version__
from textseg.learning.progress import TRAINING
from textseg.server.status import BestPicture, ModelFacts, Status

POLICY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>textseg: what is left to do</title><style>
body {{ max-width: 64em; margin: 1em auto; padding: 0 1em; font: 1em/1.45 sans-serif; color: #000; background: #fff }}
h2 {{ margin: 1.6em 0 .4em; border-bottom: 1px solid #000; font-size: 1.15em }}
p, li, td, summary, dd {{ overflow-wrap: anywhere }}
.next {{ border: 3px solid #000; padding: .6em .8em }}
table {{ border-collapse: collapse }} th, td {{ text-align: left; vertical-align: top; padding: .15em 1em .15em 0 }}
th {{ font-weight: normal }} td {{ font-weight: bold }}
ol {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(15em, 1fr)); gap: 1em; padding: 0 }}
ol {{ list-style: none }}
ol li {{ border: 1px solid #000; padding: .6em }}
img {{ display: block; width: 100%; max-width: 15em; height: auto; background: #000; color: #fff }}
summary {{ cursor: pointer; padding: .3em 0; text-decoration: underline }}
blockquote {{ margin: .3em 0 .3em 1em; white-space: pre-wrap }}
</style></head><body>
<h1>textseg {version}: what is left to do</h1>
<p class="next"><strong>Next:</strong> {next}</p>
{faults}
{models}
{pictures}
{best}
<p><a href="../">This server</a>. It is not a medical device.</p>
</body></html>
"""
BEST = "<h2>Worth most to label</h2>\n{told}\n<ol>\n{items}\n</ol>"
SINCE = "of them since the last training began"
WITH_MASK = "The line drawn on a picture (white in black) is the edge of its mask so far."


def status_page(status: Status) -> str:
    """The whole page."""
    return PAGE.format(
        version=escape(__version__),
        next=escape(status.next_step),
        faults=_paragraphs(status.faults),
        models="\n".join(_model(model) for model in status.models),
        pictures=_pictures(status),
        best=_best(status.best),
    )


def _model(model: ModelFacts) -> str:
    serves = f"{model.version or 'nothing'} serves" + (f", {model.why} {_day(model.since)}" if model.why else "")
    rows = [("Version", serves)]
    if model.verdict:
        became = "published" if model.verdict.accepted else "kept back"
        rows.append(("Last candidate", f"{model.verdict.version}, {became} {_day(model.verdict.time)}"))
        rows.append(("Last verdict", model.verdict.sentence))
    training = model.training
    if training is None:
        rows.append(("Training", "none yet"))
    elif training.state == TRAINING:
        rows.append(("Training", f"running: epoch {training.epoch} of {training.epochs}, {training.time or '0:00:00'}"))
    else:
        rows.append(("Training", f"{training.state}, began {_day(training.started)}"))
        if not model.verdict or training.sentence != model.verdict.sentence:
            rows.append(("Outcome", training.sentence))
    if training and training.labels:
        rows.append(("Learnt from", training.labels))
    left_out = [f"Not trained on: {sentence}" for sentence in training.left_out] if training else []
    return f"<h2>{escape(model.name)}</h2>\n{_table(rows)}\n{_paragraphs((*model.told, *left_out))}"


def _pictures(status: Status) -> str:
    counts = status.pictures
    if counts is None:
        return "<h2>Pictures</h2>\n<p>They lie in a DICOMweb archive, and are not counted here.</p>"
    trained = any(model.training for model in status.models)
    rows = [
        ("Pictures", str(counts.total)),
        ("With a final label", _counted(counts.labelled, counts.labelled_since if trained else 0, SINCE)),
        ("Without a label", _counted(counts.unlabelled, counts.original, "of them with a mask made before")),
        ("With a prompt", str(counts.with_prompt)),
        ("Without a prompt", _counted(counts.without_prompt, counts.to_prompt, "of them without a label")),
        ("Held out, to judge", str(counts.held_out)),
    ]
    return f"<h2>Pictures</h2>\n{_table(rows)}"


def _counted(count: int, part: int, what: str) -> str:
    return f"{count}, {part} {what}" if part else str(count)


def _best(best: tuple[BestPicture, ...]) -> str:
    if not best:
        return ""
    told = f"<p>{WITH_MASK}</p>" if any(each.mask for each in best) else ""
    return BEST.format(told=told, items="\n".join(_item(*each) for each in enumerate(best, start=1)))


def _item(place: int, best: BestPicture) -> str:
    name = escape(best.picture)
    mask = "with the edge of its mask" if best.mask else "without a mask"
    image = f'<img src="thumbnail?image={quote(best.picture, safe="")}" alt="{name}, {mask}" loading="lazy">'
    drawn = "" if best.mask else "<br>No mask yet: Run in the viewer makes one."
    return f"<li>{image}{place}. <strong>{name}</strong><br>{escape(best.reason)}{drawn}{_prompt(best)}</li>"


def _prompt(best: BestPicture) -> str:
    if not best.prompt:
        return "<p>It has no prompt.</p>"
    where = "from prompts.csv" if best.source == "csv" else "as it was asked last"
    read = f"<p>Read as: {escape(best.read_as)}</p>" if best.read_as else ""
    return (
        f"<details><summary>Prompt</summary><blockquote>{escape(best.prompt)}</blockquote>"
        f"<p>{where}</p>{read}</details>"
    )


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _paragraphs(sentences: Iterable[str]) -> str:
    return "\n".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)


def _day(time: str) -> str:
    """2026-01-31T10:20:30.456+00:00 -> 2026-01-31 10:20 UTC"""
    return f"{time[:16].replace('T', ' ')} UTC" if len(time) >= 16 else time
