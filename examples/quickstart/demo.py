"""Runs the quickstart by itself: serves it, enqueues over HTTP, shows what came back.

python -m examples.quickstart.demo
"""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

DEADLINE = 20.0  # seconds for each step


def main() -> int:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    print("1. uvicorn serves examples.quickstart.app (no broker, no worker, no server needed)")
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "examples.quickstart.app:app"]
        + ["--port", str(port), "--log-level", "warning"]
    )
    try:
        wait_until(lambda: call(f"{url}/openapi.json") is not None, "the server did not start")
        item = {"key": "greeting", "value": "hello"}
        print(f"2. POST /values {json.dumps(item)}")
        ref = call(f"{url}/values", item)
        print(f"   202 Accepted, task {ref['id']}")
        print("3. the task runs after the request; GET /results/{id}")
        outcome = wait_until(lambda: call(f"{url}/results/{ref['id']}"), "the task did not end")
        print(f"   result: {outcome['count']} value stored")
        print(f"   pool:   opened by {outcome['pool_opened_by']}, through get_pool(request)")
        print(f"   asker:  the task's own request is a {outcome['asked_for_by']!r}")
        print("4. GET /values/greeting reads through the same dependency, get_pool(request)")
        value = call(f"{url}/values/greeting")
        print(f"   value:  {value!r}")
    finally:
        server.terminate()
        status = server.wait(DEADLINE)
    # uvicorn shuts down in order and then ends by the signal that it was sent.
    stopped = status in (0, -signal.SIGTERM)
    print(f"5. the server was told to stop and {'did' if stopped else f'failed with {status}'}")
    return 0 if stopped and value == item["value"] and outcome["count"] == 1 else 1


def call(url: str, body: dict[str, str] | None = None) -> Any:
    """Send a request; `None` while there is no answer or nothing to be found."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 404:
            raise
    except urllib.error.URLError:
        pass
    return None


def wait_until(look: Any, complaint: str) -> Any:
    give_up = time.monotonic() + DEADLINE
    while time.monotonic() < give_up:
        if found := look():
            return found
        time.sleep(0.05)
    raise SystemExit(complaint)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    raise SystemExit(main())
