"""The page: what it says, and that nobody's text becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from checkrein.api.recording import Agreement, Episode, InputSaliency, Recording, Saliency
from checkrein.report.page import Before, Subject, page

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)>$\\frac"
GIF = b"GIF89a" + bytes(20)
DIGEST = f"sha256:{'a' * 64}"


def episode(**more: Any) -> Episode:
    known: dict[str, Any] = {
        "choice": "median",
        "name": "3",
        "seed": 7,
        "total": 3.0,
        "observations": [[0.1, 0.2], [0.3, 0.1], [0.2, 0.4]],
        "actions": [[0.0], [1.0], [1.0]],
        "rewards": [1.0, 1.0, 1.0],
        "values": [2.5, 1.8, 0.9],
        "ending": "terminated",
    }
    return Episode(**known | more)


def recording(**more: Any) -> Recording:
    inputs = [InputSaliency(labels=["left", "right"], gradients=[0.5, 0.1], spreads=[0.1, 0.2])]
    known: dict[str, Any] = {
        "returns": [3.0, 2.0, 4.0, 3.0],
        "bounds": (0.0, 5.0),
        "features": ["left", "right"],
        "episodes": [episode()],
        "saliency": [Saliency(of="value", steps=3, inputs=inputs)],
        "parent": Agreement(name="cartpole-1", digest=DIGEST, steps=3, agreed=2 / 3),
        "frames": GIF,
        "frames_of": "3",
    }
    return Recording(**known | more)


def subject(told: Recording | None = None, **more: Any) -> Subject:
    known: dict[str, Any] = {
        "title": "cartpole-2",
        "what": "PolicyVersion in namespace games",
        "facts": [("policy", "cartpole, version 2")],
        "recording": told or recording(),
        "bound": 2.0,
        "before": Before("cartpole-1", [1.0, 2.0, 1.0]),
    }
    return Subject(**known | more)


class Elements(HTMLParser):
    """Every element with its attributes, and the text outside of styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_tells_what_was_recorded() -> None:
    told = Elements(page(subject())).text
    for sentence in (
        "cartpole, version 2",
        "4 episodes: mean 3, least 2, most 4.",
        "Mean return against cartpole-1, the version before: +1.667, with probability 95 % between",
        "Of the 3 observations of the episodes below, cartpole-1 has the same best action on 66.7 %.",
        "value: mean over 3 steps",
        "The median episode (number 3, seed 7): return 3 in 3 steps; it terminated",
    ):
        assert sentence in told


def test_the_same_subject_gives_the_same_page() -> None:
    assert page(subject()) == page(subject())


def test_a_page_takes_nothing_from_elsewhere_and_runs_nothing() -> None:
    html = page(subject())
    for tag, attributes in Elements(html).found:
        assert tag not in ("script", "link", "iframe", "object", "embed", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href"):
                assert re.match(r"#|data:image/(gif|png);base64,", value or "")
    assert "default-src 'none'" in html


def test_hostile_texts_stay_texts() -> None:
    told = recording(
        features=[HOSTILE[:80], "right"],
        episodes=[episode(name=HOSTILE, remark=HOSTILE)],
        parent=Agreement(name="cartpole-1", digest=DIGEST, steps=3, agreed=1.0),
        frames_of=HOSTILE,
        remarks=[HOSTILE],
        saliency=[
            Saliency(
                of=HOSTILE,
                steps=1,
                inputs=[InputSaliency(name=HOSTILE[:80], labels=[HOSTILE[:80]], gradients=[1.0], spreads=[1.0])],
            )
        ],
    )
    before = Before(HOSTILE, [1.0, 2.0], HOSTILE)
    html = page(subject(told, title=HOSTILE, what=HOSTILE, facts=[(HOSTILE, HOSTILE)], before=before))
    elements = Elements(html)
    assert "script" not in {tag for tag, _ in elements.found}
    assert [a for tag, a in elements.found if tag == "img" and not (a["src"] or "").startswith("data:")] == []
    assert elements.text.count(HOSTILE) > 5


def test_what_is_no_gif_is_not_shown() -> None:
    assert "data:image/gif" in page(subject())
    assert "data:image/gif" not in page(subject(recording(frames=b"<svg onload=alert(1)>")))


@pytest.mark.parametrize(
    ("told", "before", "said"),
    [
        pytest.param(recording(), Before("cartpole-1", why="it has no recording"), "it has no recording", id="none"),
        pytest.param(
            recording(bounds=None), Before("cartpole-1", [1.0, 2.0, 1.0]), "by a normal approximation", id="no bounds"
        ),
        pytest.param(recording(), Before("cartpole-1", [1.0]), "the version before: +2.", id="too few for an interval"),
    ],
)
def test_a_comparison_says_what_it_rests_on(told: Recording, before: Before, said: str) -> None:
    assert said in Elements(page(subject(told, before=before))).text


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(Recording(), id="nothing at all"),
        pytest.param(recording(episodes=[episode(observations=[], actions=[], values=[])]), id="rewards only"),
        pytest.param(recording(episodes=[episode(actions=[[0.0], [1.0, 2.0], []])]), id="actions of changing form"),
        pytest.param(recording(episodes=[episode(rewards=[None] * 3, values=[None] * 3)]), id="nobody told rewards"),
        pytest.param(recording(episodes=[episode(actions=[], observations=[], rewards=[], values=[])]), id="no steps"),
        pytest.param(recording(continuous=True), id="measured actions"),
        pytest.param(recording(returns=[3.0] * 200), id="all returns alike"),
        pytest.param(recording(returns=[1e300, -1e300]), id="returns beyond measure"),
        pytest.param(
            recording(
                saliency=[
                    Saliency(
                        of="value",
                        steps=1,
                        inputs=[InputSaliency(columns=2, labels=list("abcd"), gradients=[1.0] * 4, spreads=[0.0] * 4)],
                    )
                ]
            ),
            id="patches",
        ),
    ],
)
def test_whatever_lacks_the_rest_is_shown(told: Recording) -> None:
    assert "cartpole-2" in Elements(page(subject(told))).text
