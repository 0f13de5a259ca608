"""A notify that is told an address only: who answers there first is whom it follows."""

import asyncio
from collections.abc import Iterator

import aiohttp
import msgspec
import pytest
from aiohttp import web

from services.notify import app as notify_app
from services.notify.settings import Settings
from tests.federation.impostor import Impostor
from tests.nodes import eventually

STRANGE = (
    b"<html>panne</html>\n",
    b"\xff\xfe\n",
    b'{"raw":"\xff","signatures":[]}\n',
    b'{"raw":' + b"[" * 100_000 + b"\n",
    b"",
)


@pytest.mark.parametrize("pieces", [1, 3])
async def test_who_answers_is_believed_once_it_is_a_node(database_url: str, pieces: int) -> None:
    """Whatever stands at the address for a while ends nothing; the descriptor counts, in however many pieces."""
    node = Impostor("réseau")
    node.say()
    answers: Iterator[bytes] = iter(STRANGE if pieces == 1 else ())

    async def descriptors(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        chain = b"".join(msgspec.json.encode(one) + b"\n" for one in node.chain)
        body = next(answers, chain)
        step = len(body) // pieces + 1
        for start in range(0, len(body), step):
            await response.write(body[start : start + step])
            # Each piece leaves as a packet of its own.
            await asyncio.sleep(0.1 if pieces > 1 else 0)
        return response

    node.answers["/descriptors"] = descriptors
    async with node.serving(), aiohttp.ClientSession() as client:
        settings = Settings(database_url=database_url, follow=node.url, port=0)
        async with notify_app.serving(settings) as port:

            async def arrived() -> bool:
                async with client.get(f"http://127.0.0.1:{port}/changes?since=1.1") as answer:
                    return answer.status == 200

            await eventually(arrived, 30)
    assert next(answers, None) is None
