"""The page at /textseg/ as a browser gets it: empty, with pictures, during a training, after a rejected candidate."""

import io
import os
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import requests
from fastapi import FastAPI
from monailabel.config import settings as stock
from PIL import Image

import serving
from harness import Server
from textseg.data.phantoms import draw_radiograph
from textseg.data.store.durable import iso_time
from textseg.learning.progress import DONE, TRAINING, Progress, ProgressFile
from textseg.learning.versions import Versions
from textseg.registry import DEFAULT_MODEL, model_spec
from textseg.server.guard import secure
from textseg.server.guard_rules import GuardRules
from textseg.server.routes.status import status_router

NASTY = 'infection, left lung <script>alert("x")</script> <img src=http://evil.example/a.png> & </blockquote>'
ODD = "b & <b>ravo's"
VOID = {"meta", "img", "br", "link", "input", "hr"}
PATIENCE = 60  # seconds


class Page(HTMLParser):
    """A page read strictly: every element that is opened is closed, in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        for tag in self.open:
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def cell(self, name: str) -> str:
        """What stands beside a name in a table."""
        return self.texts["td"][self.texts["th"].index(name)]


@pytest.fixture(scope="module")
def running(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on an empty folder, which the tests fill one after the other."""
    yield start_server(tmp_path_factory.mktemp("studies"))


def page_of(server: Server) -> Page:
    answer = requests.get(f"{server.url}/textseg/", timeout=30)
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    page = Page(answer.text)
    assert not {"script", "link", "iframe", "form", "object"} & {name for name, _ in page.elements}
    assert all(urlsplit(image["src"] or "").path == "thumbnail" and image["alt"] for image in page.all("img"))
    assert all(not urlsplit(link["href"] or "").netloc for link in page.all("a"))
    assert page.all("html") == [{"lang": "en"}] and any(
        "width" in (each.get("content") or "") for each in page.all("meta")
    )
    return page


def next_of(page: Page) -> str:
    return next(text for text in page.texts["p"] if text.startswith("Next:"))


def png_of(server: Server, image: str, **headers: str) -> requests.Response:
    return requests.get(f"{server.url}/textseg/thumbnail", params={"image": image}, headers=headers, timeout=30)


def pixels_of(server: Server, image: str) -> np.ndarray:
    answer = png_of(server, image)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text
    return np.array(Image.open(io.BytesIO(answer.content)))


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_an_empty_server_says_how_to_begin(running: Server) -> None:
    page = page_of(running)
    assert "There are no pictures yet. Copy X-rays" in next_of(page) and "prompts.csv" in next_of(page)
    assert (page.cell("Version"), page.cell("Training"), page.cell("Pictures")) == ("v0000 serves", "none yet", "0")
    assert page.texts["h2"] == [DEFAULT_MODEL, "Pictures"] and page.all("img") == []
    assert requests.get(f"{running.url}/", timeout=30).text.count('<a href="textseg/">') == 1


def test_pictures_are_shown_with_their_prompts_and_no_prompt_is_markup(running: Server) -> None:
    pictures = {"alpha": 400, ODD: 128, "charlie": 128}
    for number, (name, size) in enumerate(pictures.items()):
        drawn = draw_radiograph({"left": ("lower",)}, number, size).image
        Image.fromarray(drawn[: size // 2]).save(running.studies / f"{name}.png")
    quoted = NASTY.replace('"', '""')
    (running.studies / "prompts.csv").write_text(f'Image;Description\nalpha.png;"{quoted}"\n"{ODD}";left lung\n')
    eventually(lambda: page_of(running).cell("Pictures") == "3")
    page = page_of(running)
    assert NASTY in page.texts["blockquote"] and len(page.all("details")) == len(page.all("summary")) == 2
    assert all("open" not in attributes for attributes in page.all("details"))
    assert [page.cell(name) for name in ("With a prompt", "Without a label")] == ["2", "3"]
    assert page.cell("Without a prompt") == "1, 1 of them without a label"
    assert "Next Sample" in next_of(page) and "Without a label and a prompt: 1." in next_of(page)
    asked = {parse_qs(urlsplit(image["src"] or "").query)["image"][0] for image in page.all("img")}
    assert asked == set(pictures) and {*page.texts["strong"]} >= set(pictures)
    assert pixels_of(running, "alpha").shape == (120, 240) and pixels_of(running, ODD).shape == (64, 128)
    assert not (running.studies / ".textseg" / "pictures" / "alpha").exists()  # no run, nothing kept


def test_a_thumbnail_is_sent_again_only_when_it_has_changed(running: Server) -> None:
    first = png_of(running, "alpha")
    assert len(first.content) < 60_000 and "private" in first.headers["cache-control"]
    assert png_of(running, "alpha", **{"If-None-Match": first.headers["etag"]}).status_code == 304
    path = running.studies / "alpha.png"
    os.utime(path, ns=(1, 1))
    assert png_of(running, "alpha", **{"If-None-Match": first.headers["etag"]}).content == first.content


@pytest.mark.parametrize("image", ["gone", "../alpha", "", ".textseg", "a" * 999])
def test_no_other_file_is_shown(running: Server, image: str) -> None:
    answer = png_of(running, image)
    assert answer.status_code == 404 and answer.json()["detail"]
    assert requests.get(f"{running.url}/textseg/thumbnail", timeout=30).status_code == 422


def test_a_picture_that_cannot_be_read_is_told_and_costs_the_page_nothing(running: Server) -> None:
    (running.studies / "damaged.png").write_bytes(b"no picture")
    eventually(lambda: page_of(running).cell("Pictures") == "4")
    assert png_of(running, "damaged").status_code == 415
    (running.studies / "damaged.png").unlink()
    eventually(lambda: page_of(running).cell("Pictures") == "3")


def test_the_edge_of_the_mask_is_seen_without_colour(running: Server, tmp_path: Path) -> None:
    before = pixels_of(running, "charlie")
    mask, _ = running.infer(tmp_path, "charlie", prompt="infection, left lung", threshold=0.05)
    assert mask.GetSize() == (128, 64, 1)
    page = page_of(running)
    assert "white in black" in page.text and any("edge of its mask" in (each["alt"] or "") for each in page.all("img"))
    after = pixels_of(running, "charlie")
    assert after.ndim == 2 and ((before != after) & (after == 255)).sum() > 8 < ((before != after) & (after == 0)).sum()
    running.infer(tmp_path, "charlie", prompt="No pulmonary infection", save_label=True)  # an empty `original`
    assert (pixels_of(running, "charlie") == before).all()
    assert "1 of them with a mask made before" in page_of(running).cell("Without a label")
    assert page_of(running).cell("With a prompt") == "3"


def test_during_a_training_the_page_says_how_far_it_is(running: Server) -> None:
    folder = running.app / "model" / DEFAULT_MODEL
    told = Progress(2, 5, "0:01:40", state=TRAINING, told="7 corrections", started=iso_time(), process=os.getpid())
    ProgressFile(folder).write(told)
    page = page_of(running)
    assert page.cell("Training") == "running: epoch 2 of 5, 0:01:40" and page.cell("Learnt from") == "7 corrections"
    assert "is being trained, and v0000 goes on serving. Go on labelling" in next_of(page)


def test_after_a_rejected_candidate_the_page_says_why_and_what_to_do(running: Server) -> None:
    folder, spec = running.app / "model" / DEFAULT_MODEL, model_spec(DEFAULT_MODEL)
    sentence = "kept v0000: prompts no longer matter, sensitivity 0.41 -> 0.08"
    Versions(folder, spec).reject({"verdict": sentence})
    left_out = ("charlie: It lies <left>, and its prompt says right.",)
    done = Progress(5, 5, "0:03:00", state=DONE, verdict=sentence, left_out=left_out, started=iso_time())
    ProgressFile(folder).write(done)
    page = page_of(running)
    assert page.cell("Last verdict") == sentence and "Outcome" not in page.texts["th"]
    assert page.cell("Last candidate").startswith("v0001, kept back 20")
    assert page.cell("Training").startswith("done, began 20") and page.cell("Version") == "v0000 serves"
    assert "kept back, and v0000 goes on serving. Label more pictures" in next_of(page)
    assert "Not trained on: charlie: It lies <left>" in page.text


def test_a_damaged_table_of_prompts_is_told(running: Server) -> None:
    (running.studies / "prompts.csv").write_text('image,prompt\nalpha,"left')
    page = page_of(running)
    assert "prompts.csv cannot be read at line 2" in page.text and page.cell("With a prompt") == "1"


@pytest.mark.parametrize("path", ["/textseg/", "/textseg/thumbnail?image=alpha"])
def test_pages_of_other_sites_and_people_without_a_token_see_nothing(
    running: Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    for headers in (embedded, {"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert requests.get(f"{running.url}{path}", headers=headers, timeout=30).status_code == 403
    monkeypatch.setattr(stock, "MONAI_LABEL_AUTH_ENABLE", True)
    app = FastAPI()
    app.include_router(status_router())
    secure(app, GuardRules(login=True))
    name, _, query = path.partition("?")
    serving.assert_refused(serving.ask(app, name, query=query.encode()), 401, "log in")
    secure(app, GuardRules())
    serving.assert_refused(serving.ask(app, name, client=("10.0.0.5", 9), query=query.encode()), 403, "allow_remote")
