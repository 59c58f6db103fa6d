"""The embedded broker in real servers: with several processes it warns, with one it does not."""

import signal
from pathlib import Path

import pytest

from tests.integration.processes import free_port, server
from tests.integration.programs import written

APP = """
    import sys

    ft = FastTask("program:app")
    app = FastAPI(lifespan=ft.lifespan())
    say(f"imported with {sys.argv[1:]}")
"""
WARNING = "the embedded broker is used"
MANY = f"{WARNING} with 2 web worker processes: .*sqlite:///tasks.db"
TOLD_ELSEWHERE = ["ENVIRONMENT", "ENV", "APP_ENV", "FASTAPI_ENV", "PYTHON_ENV"]
TOLD_ELSEWHERE += ["WEB_CONCURRENCY", "UVICORN_WORKERS"]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine that runs the tests says of itself does not count."""
    for name in TOLD_ELSEWHERE:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("options", "environment"),
    [(["--workers", "2"], {}), (["--workers=2"], {}), ([], {"WEB_CONCURRENCY": "2"})],
    ids=["--workers 2", "--workers=2", "WEB_CONCURRENCY=2"],
)
def test_several_processes_are_warned_of(
    tmp_path: Path, options: list[str], environment: dict[str, str]
) -> None:
    """Each process warns once; the command line of a spawned one is that of the server."""
    port, folder = free_port(), written(tmp_path, APP)
    with server("program:app", port, *options, cwd=folder, **environment) as web:
        web.wait_for("Application startup complete", count=2)
        web.wait_for(MANY, count=2)
        web.send(signal.SIGTERM)
        web.wait()
        assert sum(WARNING in line for line in web.lines) == 2
        arguments = str(["program:app", "--port", str(port), *options])
        assert web.lines.count(f"imported with {arguments}") == 2
        assert "Traceback" not in web.log


@pytest.mark.parametrize(("mode", "count"), [("dev", 0), ("production", 1)])
def test_one_process_is_warned_of_in_production_only(tmp_path: Path, mode: str, count: int) -> None:
    """One process is what the broker is for, unless nothing may be lost."""
    folder = written(tmp_path, APP)
    with server("program:app", free_port(), cwd=folder, ENVIRONMENT=mode) as web:
        web.wait_for("Application startup complete")
        web.send(signal.SIGTERM)
        web.wait()
        assert sum(WARNING in line for line in web.lines) == count
        assert web.log.count("in production (ENVIRONMENT=production)") == count
