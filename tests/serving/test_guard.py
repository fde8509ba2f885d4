"""Requests are refused by host and size before they are read, and let through as they are otherwise."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from trimood.config.parameters import ServingParams
from trimood.serving import guard
from trimood.serving.guard import RequestGuard, is_allowed, read_limits
from trimood.serving.requests import BadRequest

LIMITS = ServingParams(time_limit_seconds=5)


class Echo:
    """An app that returns the bodies that reach it, and notes how many bytes it holds at once."""

    def __init__(self, seconds: float = 0) -> None:
        self.bodies: list[bytes] = []
        self.held = self.most_held = 0
        self._seconds = seconds

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        body, more = b"", scope["method"] != "GET"
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.held += len(body)
        self.most_held = max(self.most_held, self.held)
        await asyncio.sleep(self._seconds)
        self.held -= len(body)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


def refuse_bad(body: bytes, content_type: str) -> None:
    if body == b"bad":
        raise BadRequest(f"bad {content_type}")


def guarded(app: Echo, limits: ServingParams = LIMITS) -> RequestGuard:
    return RequestGuard(app, limits, 0.001, refuse_bad, {"/upload": 0.01})


def ask(app: Any, *requests: dict[str, Any]) -> list[httpx.Response]:
    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:5000") as client:
            return await asyncio.gather(
                *(client.request(**{"method": "POST", "url": "/invocations", **one}) for one in requests)
            )

    return asyncio.run(send())


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["message"]


async def in_pieces(size: int) -> AsyncIterator[bytes]:
    """A body whose length is not announced."""
    for _ in range(size // 100):
        yield b"x" * 100


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:5000", "127.0.0.1:7860", "[::1]:80", "[::1]", "192.168.1.7", "", "box.lan:1", "a.b"],
)
def test_this_machine_addresses_and_chosen_names_are_allowed(host: str) -> None:
    assert is_allowed(host, "a.b, Box.lan")


@pytest.mark.parametrize("host", ["evil.com", "evil.com:7860", "localhost.evil.com", "127.0.0.1.nip.io", "a.b", ":80x"])
def test_any_other_name_may_be_that_of_a_foreign_page(host: str) -> None:
    assert not is_allowed(host, "")
    assert is_allowed(host, "*")


@pytest.mark.parametrize("host", ["my-host:5000", "My-Host.:5000", "my-host"])
def test_the_name_that_a_refusal_says_can_be_added_as_it_is_said(host: str) -> None:
    (answer,) = ask(guarded(Echo()), {"headers": {"Host": host}})
    assert said(answer)[1].startswith("the host 'my-host' is not allowed.")
    for added in ("my-host", "my-host:5000", "a.b, My-Host.:80"):
        assert is_allowed(host, added)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_host_is_refused_by_name(method: str) -> None:
    app = Echo()
    (answer,) = ask(guarded(app), {"method": method, "headers": {"Host": "evil.com"}})
    assert said(answer) == (
        403,
        "the host 'evil.com' is not allowed. Use localhost, or add it to TRIMOOD_ALLOWED_HOSTS.",
    )
    assert app.bodies == []


def test_a_body_within_the_limit_arrives_as_it_was_sent() -> None:
    app = Echo()
    whole, pieces, none = ask(
        guarded(app), {"content": b"a" * 1000}, {"content": in_pieces(900)}, {"method": "GET", "url": "/ping"}
    )
    assert whole.content == b"a" * 1000
    assert pieces.content == b"x" * 900
    assert none.status_code == 200


def test_a_body_above_the_limit_is_refused_and_never_reaches_the_app() -> None:
    app = Echo()
    for content in (b"a" * 1001, in_pieces(5000)):
        (answer,) = ask(guarded(app), {"content": content})
        assert said(answer) == (413, "the body is larger than the maximum of 0.001 MB.")
    assert app.bodies == []


def test_what_the_check_refuses_is_a_bad_request() -> None:
    app = Echo()
    (answer,) = ask(guarded(app), {"content": b"bad", "headers": {"Content-Type": "text/csv"}})
    assert said(answer) == (400, "bad text/csv")
    assert app.bodies == []


def test_uploads_are_passed_on_unread_if_their_length_is_known_and_within_their_own_limit() -> None:
    app = Echo()
    fits, too_large, unknown = ask(
        guarded(app),
        {"url": "/upload", "content": b"bad" * 1000},
        {"url": "/upload", "content": b"a" * 10_001},
        {"url": "/upload", "content": in_pieces(100)},
    )
    assert fits.content == b"bad" * 1000
    assert said(too_large) == (413, "the body is larger than the maximum of 0.01 MB.")
    assert said(unknown)[0] == 411


def test_bodies_that_are_together_too_large_wait_for_each_other() -> None:
    app = Echo(seconds=0.05)
    answers = ask(guarded(app), *[{"content": b"a" * 400} for _ in range(7)])
    assert [answer.status_code for answer in answers] == [200] * 7
    assert app.most_held == 800


@pytest.mark.slow
def test_a_request_whose_turn_does_not_come_is_told_to_return() -> None:
    limits = LIMITS.model_copy(update={"time_limit_seconds": 0.1})
    first, second = ask(guarded(Echo(seconds=0.5), limits), *[{"content": b"a" * 800} for _ in range(2)])
    assert first.status_code == 200
    assert said(second) == (503, "the server was busy for 0.1 s. Send the request again later.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pieces", "seconds", "answered"),
    [
        (5, 0.1, (200, "")),  # longer than the time limit
        (2, 0.8, (408, "nothing more of the body for 0.4 s.")),
        (40, 0.05, (408, "no whole body after 1 s.")),
        (
            40,
            0.2,
            (
                408,
                "the body arrives at less than 8 bytes a second. Send a smaller one, or raise "
                "TRIMOOD_TIME_LIMIT_SECONDS.",
            ),
        ),
    ],
)
def test_a_body_may_be_slow_but_neither_stop_nor_go_on_for_ever(
    monkeypatch: pytest.MonkeyPatch, pieces: int, seconds: float, answered: tuple[int, str]
) -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield b"a"
            await asyncio.sleep(seconds)

    monkeypatch.setattr(guard, "IDLE_SECONDS", 0.4)
    monkeypatch.setattr(guard, "SLOWEST_BYTES_PER_SECOND", 8)
    app = guarded(Echo(), LIMITS.model_copy(update={"time_limit_seconds": 0.1}))
    (answer,) = ask(app, {"content": slow()})
    assert (said(answer) if answer.status_code != 200 else (200, "")) == answered
    assert app._held == 0


def test_the_room_of_a_request_is_free_again_after_an_error_of_the_app() -> None:
    class Broken(Echo):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if (await receive())["body"] == b"a" * 900:
                raise RuntimeError("broken")
            await super().__call__(scope, receive, send)

    app = guarded(Broken())
    with pytest.raises(RuntimeError, match="broken"):
        ask(app, {"content": b"a" * 900})
    assert app._held == 0


def test_connections_that_are_no_requests_are_passed_on_but_not_from_a_foreign_host() -> None:
    reached, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def send(message: Any) -> None:
        sent.append(message)

    async def connect() -> None:
        guard = RequestGuard(app, LIMITS, 1, refuse_bad, {})
        await guard({"type": "lifespan"}, None, send)  # type: ignore[arg-type]
        for host in (b"localhost", b"evil.com"):
            scope = {"type": "websocket", "headers": [(b"host", host)], "path": "/"}
            await guard(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(connect())
    assert reached == ["lifespan", "websocket"]
    assert json.dumps(sent).count("websocket.close") == 1


def test_the_environment_takes_precedence_over_what_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMOOD_MOST_ROWS", "7")
    limits = read_limits({"most_rows": 3, "most_frames": 5})
    assert (limits.most_rows, limits.most_frames, limits.longest_seconds) == (7, 5, 120)
    monkeypatch.setenv("TRIMOOD_MOST_ROWS", "none")
    with pytest.raises(ValueError, match="most_rows"):
        read_limits()
