"""The client of every contestant: enqueues tasks one after another; needs nothing but Python.

    python sending.py PROGRAM

Reads numbers of tasks from its input, and answers each with a line of JSON.
"""

import asyncio
import importlib
import inspect
import json
import sys
import time
from typing import Any


async def main(name: str) -> None:
    program = importlib.import_module(name)
    async with program.client() as send:
        answer({"version": program.VERSION})
        # In a thread: what the clients do in the background goes on meanwhile.
        while line := await asyncio.to_thread(sys.stdin.readline):
            answer(await sent(send, int(line)))


async def sent(send: Any, count: int) -> dict[str, float]:
    """Enqueue tasks, and tell how long that took."""
    start, cpu = time.monotonic(), time.process_time()
    first = send()
    if inspect.isawaitable(first):
        await first
        for _ in range(count - 1):
            await send()
    else:  # Celery's and Dramatiq's
        for _ in range(count - 1):
            send()
    return {"start": start, "end": time.monotonic(), "cpu": time.process_time() - cpu}


def answer(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
