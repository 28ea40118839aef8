"""The page in a real browser, from disk, with no network."""

from typing import Any

import pytest
from support.real_browser import NEEDS_BROWSER, requests, set_scheme, set_width, until

from koe.pipeline.declaration import PipelineFolder
from koe.report.page import build_page
from koe.training.pictures import LABEL_ROWS

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def opened(browser: Any, folder: PipelineFolder) -> Any:
    path = folder.path / "index.html"
    path.write_text(build_page(folder, "0123abc"), encoding="utf-8")
    browser.get(path.as_uri())
    return browser


def test_it_opens_without_errors_or_requests(opened: Any) -> None:
    assert "Koe" in opened.title
    messages = [entry["message"] for entry in opened.get_log("browser")]
    assert messages == []
    assert requests(opened) == []


def test_every_player_knows_its_length_and_every_picture_is_there(opened: Any) -> None:
    players = "[...document.querySelectorAll('audio')]"
    until(lambda: opened.execute_script(f"return {players}.every(audio => audio.readyState >= 1)"))
    durations = opened.execute_script(f"return {players}.map(audio => audio.duration)")
    assert len(durations) == 2 * 6 + 3 + 4 * 2 + 6 * 3
    assert min(durations) > 0.2
    sizes = opened.execute_script("return [...document.images].map(image => [image.naturalWidth, image.naturalHeight])")
    assert [height for _, height in sizes] == [80] * 2 * 6 + [2 * (LABEL_ROWS + 80)] * 4 + [80] * (3 + 4 * 2)
    assert min(width for width, _ in sizes) > 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits_the_window(opened: Any, width: int, scheme: str) -> None:
    set_width(opened, width)
    set_scheme(opened, scheme)
    opened.execute_script("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    luminance = opened.execute_script(
        "return getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)")
    assert (sum(luminance) > 384) == (scheme == "light")


def test_conditions_stand_side_by_side(opened: Any) -> None:
    set_width(opened, 1280)
    tops = opened.execute_script("return [...document.querySelector('.renderings').children]"
                                 ".map(figure => figure.getBoundingClientRect().top)")
    assert len(tops) == 6
    assert len(set(tops)) == 1


def test_one_plays_at_a_time(opened: Any) -> None:
    playing = ("return [...document.querySelectorAll('audio')]"
               ".map((audio, i) => audio.paused ? -1 : i).filter(i => i >= 0)")
    for position in (0, 3):
        opened.execute_script(
            "const audio = document.querySelectorAll('audio')[arguments[0]]; audio.loop = true; audio.play()",
            position)
        until(lambda: opened.execute_script(playing))
        until(lambda position=position: opened.execute_script(playing) == [position])
    opened.execute_script("document.querySelectorAll('audio').forEach(audio => { audio.loop = false; audio.pause(); })")


def test_a_click_into_a_mel_plays_from_there(opened: Any) -> None:
    opened.execute_script("const box = document.querySelector('.mel').getBoundingClientRect();"
                          "document.querySelector('.mel').dispatchEvent(new MouseEvent('click', "
                          "{clientX: box.left + box.width / 2, bubbles: true}));")
    position = "const audio = document.querySelector('audio'); return audio.currentTime / audio.duration"
    until(lambda: opened.execute_script(position) >= 0.49)


@pytest.mark.parametrize("playing_before", [0, 3])
def test_a_row_plays_in_turn(opened: Any, playing_before: int) -> None:
    opened.execute_script(
        "window.heard = []; const players = [...document.querySelectorAll('.renderings audio')];"
        "players.forEach((audio, i) => { audio.playbackRate = 4;"
        "  audio.addEventListener('play', () => { if (window.heard.at(-1) !== i) window.heard.push(i); }); });"
        "return players[arguments[0]].play()", playing_before)
    opened.execute_script("window.heard = []; document.querySelector('article.sentence button').click()")
    until(lambda: opened.execute_script("return window.heard.at(-1) === 5"))
    first = [] if playing_before == 0 else [0]  # what plays already does not start again
    assert opened.execute_script("return window.heard") == [*first, 1, 2, 3, 4, 5]
