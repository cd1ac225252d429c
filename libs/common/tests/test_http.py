"""The HTTP client: polite by default."""

import asyncio
from datetime import timedelta

import pytest

from tidemill.common.http import HTTPError, open_client, user_agent


async def answer(response: bytes) -> tuple[asyncio.Server, str, list[bytes]]:
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        if response:
            writer.write(response)
            await writer.drain()
            writer.close()
        else:
            await asyncio.sleep(5)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


def test_the_user_agent_says_who_we_are_and_whom_to_ask() -> None:
    assert user_agent("https://example.org/bot").startswith("Tidemill/0")
    assert user_agent("https://example.org/bot").endswith(" (+https://example.org/bot)")
    assert "(" not in user_agent()


async def test_a_request_carries_the_user_agent() -> None:
    server, url, requests = await answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    async with server, open_client(contact="mail@example.org") as client:
        assert (await client.get(url)).text == "ok"
    assert user_agent("mail@example.org").encode() in requests[0]


async def test_a_redirect_is_the_callers_decision() -> None:
    server, url, requests = await answer(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
    async with server, open_client() as client:
        assert (await client.get(url)).status_code == 302
    assert len(requests) == 1


async def test_a_server_that_is_silent_is_given_up() -> None:
    server, url, _ = await answer(b"")
    async with open_client(timeout=timedelta(milliseconds=100)) as client:
        with pytest.raises(HTTPError):
            await client.get(url)
    server.close()
