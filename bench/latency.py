"""From the 201 of a registry to the item in the common view, at 20 changes a second, through RabbitMQ."""

import asyncio
import time

import aiohttp

from bench import nodes
from bench.figures import Figure, quantile
from bench.nodes import Registry
from bench.replication import replica
from bench.writes import place

RATE = 20
SECONDS = 20


async def _visible(client: aiohttp.ClientSession, url: str, id: str) -> None:
    while True:
        async with client.get(f"{url}/collections/places/items/{id}") as response:
            if response.status == 200:
                return
        await asyncio.sleep(0.001)


async def _one(client: aiohttp.ClientSession, registry: Registry, sync: str) -> float:
    headers = {"Authorization": f"Bearer {registry.token}", "Content-Type": "application/json"}
    async with client.post(registry.url + "/places", data=place(), headers=headers) as response:
        written = await response.json()
    started = time.perf_counter()
    await _visible(client, sync, written["id"])
    return time.perf_counter() - started


async def _paced(registry: Registry, sync: str) -> list[float]:
    """Seconds to visibility of each change, sent at the rate whatever the answers take."""
    async with aiohttp.ClientSession() as client:
        tasks = []
        for _ in range(RATE * SECONDS):
            tasks.append(asyncio.create_task(_one(client, registry, sync)))
            await asyncio.sleep(1 / RATE)
        return await asyncio.gather(*tasks)


async def measure(rounds: int) -> list[Figure]:
    """p50 and p99 of both, in milliseconds."""
    async with (
        nodes.folder() as at,
        nodes.postgres(at / "postgres") as server,
        nodes.broker(at / "rabbitmq", 2) as (own, other),
    ):
        registry = Registry(at, await server.create_database(), own)
        await registry.init()
        async with (
            registry.serving(),
            nodes.sync(at / "sync", await server.create_database(), registry, other) as sync,
            replica(at) as rival,
        ):
            async with aiohttp.ClientSession() as client:
                await _one(client, registry, sync)
            here: list[float] = []
            there: list[float] = []
            for _ in range(rounds):
                here += await _paced(registry, sync)
                for _ in range(RATE * 5):
                    there.append(await rival.latency(place()))
                    await asyncio.sleep(1 / RATE)
    return [
        Figure(
            f"201 to visible in the common view at 20/s, p{share}",
            quantile(here, share / 100) * 1000,
            quantile(there, share / 100) * 1000,
            "ms",
            "logical replication",
            goal,
        )
        for share, goal in ((50, "≤ 6"), (99, "—"))
    ]
