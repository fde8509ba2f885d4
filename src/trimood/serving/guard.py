"""Guards an HTTP server: checks the name by which it is addressed, and the size of requests before they are read."""

import asyncio
import ipaddress
import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from trimood.config.parameters import ServingParams
from trimood.serving.requests import BadRequest

Message = MutableMapping[str, Any]
"""A scope or message of ASGI (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def read_limits(configured: Mapping[str, object] | None = None) -> ServingParams:
    """Returns the configured settings; environment variables such as TRIMOOD_MOST_ROWS take precedence.

    `mlflow models serve` has no option for them. Raises ValidationError.
    """
    given = {name: os.environ.get(f"TRIMOOD_{name.upper()}") for name in ServingParams.model_fields}
    return ServingParams.model_validate({**(configured or {}), **{k: v for k, v in given.items() if v is not None}})


IDLE_SECONDS = 5
"""A body is given up when nothing of it arrives for so long."""

PATIENCE = 10
"""A body may take so many time limits as long as it goes on arriving."""

SLOWEST_BYTES_PER_SECOND = 50_000
"""Beyond the first time limit, a body has to have arrived at this rate on average: others wait for its room."""


class _Refused(Exception):
    """A request is answered with a status and a message instead of being passed on."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RequestGuard:
    """An ASGI app around another one. Refuses requests with a status and a message in JSON before they reach it.

    403: the Host is not allowed (a foreign page can give its own name to this machine's address, which is called DNS
    rebinding); 413: the body is above the limit; 411: its length is unknown where it is not read here; 408 and 503: the
    body or the request's turn took too long; 400: `check` raised BadRequest. The bodies in memory are together not
    larger than the largest one allowed; other requests wait.
    """

    def __init__(
        self,
        app: App,
        limits: ServingParams,
        megabytes: float,
        check: Callable[[bytes, str], None],
        unread: Mapping[str, float],
    ) -> None:
        """`check` gets each body and its content type. `unread`: megabytes for paths that store bodies themselves."""
        self._app, self._limits, self._check, self._unread = app, limits, check, unread
        self._largest = int(megabytes * 1e6)
        self._held = 0
        self._freed = asyncio.Condition()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handles a connection."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            size = self._size_to_read(scope, headers)
        except _Refused as error:
            if (
                scope["type"] == "http" and b"expect" not in headers
            ):  # a client that does not wait for 100-continue reads no answer while it sends
                await self._discard(receive)
            return await _answer(scope, send, error)
        if size is None:
            return await self._app(scope, receive, send)
        try:
            await self._take(size)
        except _Refused as error:
            return await _answer(scope, send, error)
        try:
            body = await self._read(receive, size, headers.get(b"content-type", ""))
            await self._app(scope, _replayed(body, receive), send)
        except _Refused as error:
            await _answer(scope, send, error)
        finally:
            async with self._freed:
                self._held -= size
                self._freed.notify_all()

    def _size_to_read(self, scope: Message, headers: Mapping[bytes, str]) -> int | None:
        """The largest possible size of the body; None if the request is passed on unread. Raises _Refused."""
        host = headers.get(b"host", "")
        if not is_allowed(host, self._limits.allowed_hosts):
            name = _without_port(host)
            raise _Refused(403, f"the host {name!r} is not allowed. Use localhost, or add it to TRIMOOD_ALLOWED_HOSTS.")
        if scope["type"] == "websocket" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return None
        unread = next((size for path, size in self._unread.items() if scope["path"].startswith(path)), None)
        largest = self._largest if unread is None else int(unread * 1e6)
        length = headers.get(b"content-length")
        if length is None and unread is not None:
            raise _Refused(411, "the request has no Content-Length.")
        if int(length or 0) > largest:
            raise _too_large(largest)
        return None if unread is not None else largest if length is None else int(length)

    async def _take(self, size: int) -> None:
        """Waits until a body of this size fits beside the others. Raises _Refused."""
        seconds = self._limits.time_limit_seconds
        try:
            async with asyncio.timeout(seconds), self._freed:
                await self._freed.wait_for(lambda: self._held + size <= self._largest)
                self._held += size
        except TimeoutError:
            raise _Refused(503, f"the server was busy for {seconds:g} s. Send the request again later.") from None

    async def _read(self, receive: Receive, largest: int, content_type: str) -> bytes:
        """Reads and checks the body. Raises _Refused."""
        chunks: list[bytes] = []
        left, more = largest, True
        allowed = self._limits.time_limit_seconds
        longest = PATIENCE * allowed
        idle = min(IDLE_SECONDS, longest)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(longest):
                while more:
                    try:
                        message = await asyncio.wait_for(receive(), idle)
                    except TimeoutError:
                        raise _Refused(408, f"nothing more of the body for {idle:g} s.") from None
                    chunks.append(message.get("body", b""))
                    left -= len(chunks[-1])
                    more = message.get("more_body", False)
                    late = time.monotonic() - begun - allowed
                    if more and late * SLOWEST_BYTES_PER_SECOND > largest - left:
                        chunks.clear()
                        raise _Refused(
                            408,
                            f"the body arrives at less than {SLOWEST_BYTES_PER_SECOND:,} bytes a second. Send a "
                            "smaller one, or raise TRIMOOD_TIME_LIMIT_SECONDS.",
                        )
                    if left < 0:
                        chunks.clear()
                        await self._discard(receive, more)
                        raise _too_large(self._largest)
        except TimeoutError:
            raise _Refused(408, f"no whole body after {longest:g} s.") from None
        body = b"".join(chunks)
        try:
            await asyncio.to_thread(self._check, body, content_type)
        except BadRequest as error:
            raise _Refused(400, str(error)) from None
        return body

    async def _discard(self, receive: Receive, more: bool = True) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.time_limit_seconds):
                while more:
                    more = (await receive()).get("more_body", False)


def is_allowed(host: str, allowed: str) -> bool:
    """Whether a Host header is an IP address, localhost, absent, or in the names of `allowed`; ports do not matter."""
    name = _without_port(host)
    names = {"", "localhost", *map(_without_port, allowed.split(","))}
    if "*" in names or name in names:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _without_port(host: str) -> str:
    """The name in a Host header, in lower case."""
    return re.sub(r"\.?(:[0-9]+)?$", "", host.strip().lower())


def _too_large(largest: int) -> _Refused:
    return _Refused(413, f"the body is larger than the maximum of {largest / 1e6:g} MB.")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns a body that was read before."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


async def _answer(scope: Message, send: Send, refused: _Refused) -> None:
    if scope["type"] == "websocket":
        return await send({"type": "websocket.close", "code": 1008, "reason": str(refused)})
    content = json.dumps({"error_code": "BAD_REQUEST", "message": str(refused)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send(
        {"type": "http.response.start", "status": refused.status, "headers": [*headers, (b"connection", b"close")]}
    )
    await send({"type": "http.response.body", "body": content})
