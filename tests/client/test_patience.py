"""What is asked again, and after how long, by a clock held in the hand."""

from __future__ import annotations

import pytest

from checkrein.client import errors, messages
from checkrein.client.patience import Patience

STEP = messages.act([1], "token")
START = messages.act([1])
END = messages.end("token", "terminated")
OUTCOME = messages.outcome(episode="token", reward=1)

REFUSED = errors.UnreachableError("refused", decided=False)
LOST = errors.UnreachableError("lost", decided=True)
NOT_READY = errors.NotReadyError("not ready")
LIMITED = errors.LimitedError("limited", retry_after=3)


def patience(request: messages.Request, wait: float = 10) -> Patience:
    return Patience(request, wait, clock=lambda: 0.0, draw=lambda least, most: most)


@pytest.mark.parametrize(
    ("request_", "error", "pause"),
    [
        pytest.param(STEP, LOST, 0.1, id="a step has one decision, however often it is asked for"),
        pytest.param(START, LOST, 0.1, id="an episode that nobody goes on with harms nobody"),
        pytest.param(END, LOST, 0.1, id="an end told twice is one end"),
        pytest.param(OUTCOME, LOST, None, id="an outcome told twice would count twice"),
        pytest.param(OUTCOME, REFUSED, 0.1, id="an outcome that did not arrive"),
        pytest.param(OUTCOME, NOT_READY, 0.1, id="an outcome that was not taken"),
        pytest.param(STEP, LIMITED, 3, id="over the limit: as long as it says"),
        pytest.param(STEP, errors.LimitedError("", retry_after=11), None, id="longer than anybody waits"),
        pytest.param(STEP, errors.AgentFailedError("failed"), None, id="a failure may fail again"),
        pytest.param(STEP, errors.InvalidRequestError("wrong"), None, id="a fault stays one"),
    ],
)
def test_what_is_asked_again(request_: messages.Request, error: errors.AgentError, pause: float | None) -> None:
    if pause is None:
        with pytest.raises(type(error)) as caught:
            patience(request_).pause(error)
        assert caught.value is error
    else:
        assert patience(request_).pause(error) == pause


def test_pauses_grow_to_a_bound() -> None:
    tries = patience(STEP, wait=1000)
    assert [tries.pause(NOT_READY) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_no_pause_reaches_beyond_the_wait() -> None:
    now = 0.0
    tries = Patience(STEP, 1, clock=lambda: now, draw=lambda least, most: least)
    assert tries.pause(NOT_READY) == 0.05
    now = 0.95
    with pytest.raises(errors.NotReadyError):
        tries.pause(NOT_READY)
