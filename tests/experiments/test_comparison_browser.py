"""The page of a comparison in a real browser, from disk: it sorts, plays, takes blind votes and tests them."""

import json
from math import comb
from pathlib import Path
from typing import Any

import pytest
from support.compared_runs import Voice, write_two_runs
from support.real_browser import NEEDS_BROWSER, requests, set_scheme, set_width, until

from koe.experiments.comparison import compare
from koe.experiments.comparison_page import build_comparison_page

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, voice: Voice) -> str:
    folder = tmp_path_factory.mktemp("runs")
    path = folder / "index.html"
    path.write_text(build_comparison_page(compare(write_two_runs(folder, voice))), encoding="utf-8")
    return path.as_uri()


@pytest.fixture()
def opened(browser: Any, address: str) -> Any:
    """The page, without votes."""
    browser.get(address)
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    return browser


def choose(opened: Any, name: str, value: str) -> None:
    opened.execute_script("const select = document.getElementById(arguments[0]); select.value = arguments[1];"
                          "select.dispatchEvent(new Event('change', {bubbles: true}))", name, value)


def press(opened: Any, key: str) -> None:
    opened.switch_to.active_element.send_keys(key)


def text(opened: Any, name: str) -> str:
    return opened.execute_script("return document.getElementById(arguments[0]).innerText", name)


def listen_and_answer(opened: Any, mode: str, right: bool) -> None:
    """One trial by the keyboard: hears everything, and answers what is right (in ABX) or B (in a preference)."""
    for key in "12x" if mode == "abx" else "12":
        press(opened, key)
    until(lambda: not opened.find_elements("css selector", "[data-answer]:disabled"))
    wanted = opened.execute_script(
        "const same = (a, b) => document.getElementById(a).src === b;"
        "const sound = arguments[0] === 'abx' ? document.getElementById('blind-x').src"
        "  : [...document.querySelectorAll('figure[data-run=\"1\"] audio')].map(a => a.src)"
        "      .find(src => same('blind-first', src) || same('blind-second', src));"
        "return same('blind-first', sound)", mode)
    press(opened, "f" if wanted == right else "s")


def run_test(opened: Any, mode: str, answers: list[bool]) -> str:
    choose(opened, "blind-mode", mode)
    choose(opened, "blind-trials", "10")
    opened.find_element("css selector", "#blind-form button").click()
    for place, right in enumerate(answers):
        assert text(opened, "blind-count") == f"Trial {place + 1} of 10"
        assert text(opened, "blind-result") == ""  # nothing is told before the end
        listen_and_answer(opened, mode, right)
    return text(opened, "blind-result")


def test_it_opens_without_errors_or_requests_and_fits_the_window(opened: Any) -> None:
    assert "one and two" in opened.title
    assert [entry["message"] for entry in opened.get_log("browser")] == []
    assert requests(opened) == []
    for width, scheme in ((1280, "light"), (400, "dark")):
        set_width(opened, width)
        set_scheme(opened, scheme)
        opened.execute_script("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    set_width(opened, 1280)


def test_sentences_are_sorted_by_what_is_chosen(opened: Any) -> None:
    order = "return [...document.querySelectorAll('article.sentence')].map(article => article.dataset.pair)"
    differences = ("return [...document.querySelectorAll('article.sentence')]"
                   ".map(article => JSON.parse(article.dataset.differences)[arguments[0]])")
    assert opened.execute_script(differences, "mcd_db") == pytest.approx([3.5, 2.5])
    assert opened.execute_script(order) == ["demo/s5/ann-bob", "demo/s4/ann-bob"]
    choose(opened, "sort", "")
    assert opened.execute_script(order) == ["demo/s4/ann-bob", "demo/s5/ann-bob"]
    choose(opened, "sort", "mcd_db")
    assert opened.execute_script(order) == ["demo/s5/ann-bob", "demo/s4/ann-bob"]


def test_runs_and_target_play_beside_each_other(opened: Any) -> None:
    labels = opened.execute_script("return [...document.querySelector('.renderings').children]"
                                   ".map(figure => figure.querySelector('figcaption').innerText)")
    assert labels == ["source", "target", "A one", "B two"]
    player = opened.find_element("css selector", 'figure[data-run="1"] audio')
    opened.execute_script("arguments[0].play()", player)
    until(lambda: opened.execute_script("return arguments[0].currentTime", player) > 0)


def test_every_answer_right_is_significant_and_votes_outlive_the_page(opened: Any) -> None:
    result = run_test(opened, "abx", [True] * 10)
    assert "A and B: 10 of 10 (100 %) right, p = 0.002" in result
    assert "You can tell them apart." in result
    opened.refresh()
    assert "10 of 10" in text(opened, "blind-result")
    votes = opened.execute_script("return Object.values(localStorage)[0]")
    assert [vote["x"] == vote["answer"] for vote in json.loads(votes)] == [True] * 10
    opened.execute_script("window.confirm = () => true; document.getElementById('blind-reset').click()")
    assert text(opened, "blind-result") == ""


def test_a_preference_that_may_be_chance_says_how_many_trials_are_missing(opened: Any) -> None:
    result = run_test(opened, "preference", [True] * 7 + [False] * 3)
    assert "B was preferred to A in 7 of 10 (70 %), p = 0.344" in result
    assert "This does not show that you prefer one of them." in result
    assert "at least 5 more trials, all of them the same way, or about 15 at this share" in result
    assert len(opened.find_elements("css selector", "#blind-details tbody tr")) == 10


def test_no_vote_counts_before_everything_was_heard(opened: Any) -> None:
    opened.execute_script("document.querySelector('#blind-form button').click()")
    press(opened, "1")
    press(opened, "f")
    assert text(opened, "blind-count").startswith("Trial 1 of")
    assert "Not played yet: Second, X." in text(opened, "blind-hint")


def test_the_binomial_test_is_exact(opened: Any) -> None:
    for count, trials in ((0, 5), (5, 10), (9, 10), (15, 20), (60, 100), (300, 1100)):
        tail = sum(comb(trials, k) for k in range(min(count, trials - count) + 1))
        expected = min(1, 2 * tail / 2**trials)
        found = opened.execute_script("return binomialP(arguments[0], arguments[1])", count, trials)
        assert found == pytest.approx(expected, rel=1e-9)


def test_votes_are_exported_as_json(opened: Any, tmp_path: Path) -> None:
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    opened.find_element("css selector", "#blind-form button").click()
    listen_and_answer(opened, "abx", False)
    opened.find_element("css selector", "#blind-end").click()
    opened.find_element("css selector", "#blind-export").click()
    until(lambda: list(tmp_path.glob("votes-*.json")))
    exported = json.loads(next(tmp_path.glob("votes-*.json")).read_text())
    assert [run["name"] for run in exported["runs"]] == ["one", "two"]
    assert [vote["x"] == vote["answer"] for vote in exported["votes"]] == [False]


def test_runs_that_sound_the_same_are_not_to_be_told_apart(opened: Any) -> None:
    opened.execute_script("for (const article of document.querySelectorAll('article.sentence'))"
                          "  article.querySelector('figure[data-run=\"1\"] audio').src ="
                          "    article.querySelector('figure[data-run=\"0\"] audio').src")
    opened.find_element("css selector", "#blind-form button").click()
    assert "the same, sample for sample" in text(opened, "blind-result")
