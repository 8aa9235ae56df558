"""What a signed request costs through ccxt's transport, beside aiohttp alone with the same signature.

Both talk to the same small server in another process, turn by turn in one run::

    python -m benchmarks.bench_rest [--requests 1500] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import msgspec
import uvloop
from aiohttp import web

from tests.exchange.signed import signed_headers
from tradebot.exchange.bitget.answers import Answer
from tradebot.exchange.bitget.http import wall_ms
from tradebot.exchange.bitget.signing import Credentials

KEY = Credentials("key", "secret", "pass")
PLACE = "/api/v2/mix/order/place-order"
DETAIL = "/api/v2/mix/order/detail"
ORDER = {"symbol": "SOLUSDT", "size": "1", "side": "buy", "productType": "USDT-FUTURES", "clientOid": "tb0-1-2-e"}
QUERY = {"clientOid": "tb0-1-2-e", "productType": "USDT-FUTURES", "symbol": "SOLUSDT"}
REPLY = b'{"code":"00000","msg":"success","requestTime":1760000000123,"data":{"orderId":"1471430749318709251"}}'


def serve(ready: Connection) -> None:
    """Answer every request alike."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=REPLY, content_type="application/json")

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await asyncio.Event().wait()

    uvloop.run(run())


def resident_mib() -> float:
    """Memory of this process in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


Call = Callable[[], Awaitable[object]]


async def measured(call: Call, count: int) -> dict[str, float]:
    """Latency (µs) and processor time (µs) of one request."""
    for _ in range(50):
        await call()
    took: list[float] = []
    cpu = time.process_time()
    for _ in range(count):
        began = time.perf_counter()
        await call()
        took.append(1e6 * (time.perf_counter() - began))
    cpu = 1e6 * (time.process_time() - cpu) / count
    took.sort()
    return {"median_us": statistics.median(took), "p99_us": took[int(0.99 * count)], "cpu_us": cpu}


async def compare(url: str, requests: int, rounds: int) -> list[dict[str, object]]:
    async with aiohttp.ClientSession() as session:

        async def bare(method: str, path: str, query: str, body: bytes) -> Answer:
            headers = signed_headers(KEY, wall_ms(), method, path, query, body)
            headers["Content-Type"] = "application/json"
            target = f"{url}{path}?{query}" if query else url + path
            async with session.request(method, target, data=body or None, headers=headers) as response:
                return msgspec.json.decode(await response.read(), type=Answer)

        await bare("POST", PLACE, "", msgspec.json.encode(ORDER))
        before, began = resident_mib(), time.perf_counter()
        from tradebot.exchange.bitget.transport import Transport

        transport = Transport(url, wall_ms, credentials=KEY)
        loaded = {"import_s": time.perf_counter() - began, "import_mib": resident_mib() - before}
        calls: dict[str, Call] = {
            "aiohttp place-order": lambda: bare("POST", PLACE, "", msgspec.json.encode(ORDER)),
            "ccxt place-order": lambda: transport.call("POST", PLACE, ORDER, private=True),
            "aiohttp detail": lambda: bare("GET", DETAIL, urlencode(QUERY), b""),
            "ccxt detail": lambda: transport.call("GET", DETAIL, QUERY, private=True),
        }
        rows: list[dict[str, object]] = [{"what": "import of ccxt", **loaded}]
        for number in range(rounds):
            for what, call in calls.items():
                rows.append({"what": what, "round": number, **await measured(call, requests)})
        await transport.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=1_500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    try:
        rows = uvloop.run(compare(here.recv(), given.requests, given.rounds))
    finally:
        server.terminate()
    for row in rows:
        numbers = {name: round(value, 2) for name, value in row.items() if isinstance(value, float)}
        print(json.dumps(row) if given.json else f"{row['what']:<22}{numbers}")


if __name__ == "__main__":
    main()
