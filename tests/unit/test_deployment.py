"""What a command line and the environment tell of a deployment."""

import asyncio
import logging
import sys

import pytest
from fastapi import FastAPI

from fastask import FastTask
from fastask.brokers.deployment import process_count, production_sign, warning_on_embedded
from tests.unit.doubles import PATIENCE, remaining

LOGGER = "fastask.brokers.memory"
VARIABLES = ["ENVIRONMENT", "ENV", "APP_ENV", "FASTAPI_ENV", "PYTHON_ENV"]
ONE = "/venv/bin/uvicorn app:app"
COUNTS = [
    ("/venv/bin/uvicorn app:app --workers 2", 2),
    ("/venv/bin/uvicorn --workers=12 app:app", 12),
    ("/venv/lib/uvicorn/__main__.py app:app --workers 2", 2),
    ("uvicorn.exe app:app --workers 2", 2),
    ("/venv/bin/uvicorn app:app --workers 2 --workers 1", 1),
    ("/venv/bin/uvicorn app:app --workers 2 --reload", 1),
    ("/venv/bin/uvicorn app:app --workers", 1),
    ("/venv/bin/uvicorn app:app --workers many", 1),
    ("/venv/bin/uvicorn app:app --workers-of-mine 2", 1),
    (ONE, 1),
    ("/venv/bin/fastapi run app.py --workers 2", 2),
    ("/venv/bin/fastapi run --workers=2", 2),
    ("/venv/lib/fastapi/__main__.py run --workers 2", 2),
    ("/venv/lib/fastapi_cli/__main__.py run --workers 2", 2),
    ("/venv/bin/fastapi run", 1),
    ("/venv/bin/gunicorn -w 2 -k uvicorn.workers.UvicornWorker app:app", 2),
    ("/venv/bin/gunicorn -w2 app:app", 2),
    ("/venv/bin/gunicorn -w=2 app:app", 2),
    ("/venv/bin/gunicorn --workers 2 app:app", 2),
    ("/venv/bin/gunicorn --worker-class 2 app:app", 1),
    ("/venv/bin/hypercorn -w 2 app:app", 2),
    ("/venv/bin/hypercorn --workers=2 app:app", 2),
    ("/venv/bin/granian --interface asgi app:app --workers 2", 2),
    ("/venv/bin/granian --interface asgi -w 2 app:app", 1),  # not an option of its
    ("/venv/bin/pytest -w 2 --workers 2", 1),
    ("main.py --workers 2", 1),
    ("", 1),
]


@pytest.mark.parametrize(("command", "count"), COUNTS)
def test_processes_of_a_command(command: str, count: int) -> None:
    """Every server has options of its own; options of other programs mean other things."""
    assert process_count(command.split(), {}) == count


@pytest.mark.parametrize(
    ("command", "variable", "count"),
    [
        (ONE, "WEB_CONCURRENCY=3", 3),
        (f"{ONE} --workers 1", "WEB_CONCURRENCY=3", 1),
        (f"{ONE} --reload", "WEB_CONCURRENCY=3", 1),
        (ONE, "WEB_CONCURRENCY=", 1),
        (ONE, "WEB_CONCURRENCY=auto", 1),
        (ONE, "UVICORN_WORKERS=3", 3),
        ("main.py", "WEB_CONCURRENCY=3", 3),
        ("fastapi run", "WEB_CONCURRENCY=3", 3),
        ("fastapi dev", "WEB_CONCURRENCY=3", 1),
        ("fastapi dev --no-reload", "WEB_CONCURRENCY=3", 3),
        ("gunicorn app:app", "WEB_CONCURRENCY=3", 3),
        ("gunicorn app:app", "GUNICORN_CMD_ARGS=--bind :80 --workers=3", 3),
        ("gunicorn app:app -w 1", "GUNICORN_CMD_ARGS=-w 3", 1),
        ("granian app:app", "GRANIAN_WORKERS=3", 3),
        ("granian app:app", "WEB_CONCURRENCY=3", 1),
        ("hypercorn app:app", "WEB_CONCURRENCY=3", 1),
    ],
)
def test_processes_of_an_environment(command: str, variable: str, count: int) -> None:
    """A variable counts where the server reads it, and an option goes before it."""
    name, _, value = variable.partition("=")
    assert process_count(command.split(), {name: value}) == count


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("value", ["prod", "production", "Production", " PROD "])
def test_production_by_a_variable(variable: str, value: str) -> None:
    """Each of the usual names, in any case."""
    assert production_sign(ONE.split(), {variable: value}) == f"{variable}={value.strip()}"


@pytest.mark.parametrize(
    ("command", "environ"),
    [
        (ONE, {}),
        (ONE, {"ENV": "preproduction", "APP_ENV": "", "ENVIRONMENT": "dev"}),
        (ONE, {"STAGE": "production"}),
        ("/venv/bin/fastapi dev app.py", {}),
        ("/venv/bin/fastapi dev run", {}),
        ("/venv/bin/invoke run", {}),
        ("", {}),
    ],
)
def test_no_production(command: str, environ: dict[str, str]) -> None:
    """Other values, other variables and other commands say nothing."""
    assert production_sign(command.split(), environ) is None


@pytest.mark.parametrize("command", ["fastapi run", "fastapi --verbose run main.py"])
def test_production_by_the_command(command: str) -> None:
    """FastAPI itself calls this its production mode."""
    assert production_sign(command.split(), {}) == "fastapi run"


def test_no_warning() -> None:
    """One process that is not in production is what the broker is for."""
    assert warning_on_embedded(ONE.split(), {"ENV": "dev", "WEB_CONCURRENCY": "1"}) is None


def test_warning() -> None:
    """It says what was seen, what that means, and what to do."""
    told = warning_on_embedded(["fastapi", "run", "--workers", "4"], {})
    assert told is not None
    for part in (
        "used with 4 web worker processes and in production (fastapi run):",
        "no other process sees their results",
        "lost",
        "sqlite:///tasks.db",
        "redis://",
    ):
        assert part in told


@pytest.mark.parametrize(("variable", "count"), [("WEB_CONCURRENCY=2", 1), ("ENV=dev", 0)])
async def test_the_broker_warns_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, count: int
) -> None:
    """There is one warning for one lifespan, also of two programs with one broker."""
    for name in [*VARIABLES, "WEB_CONCURRENCY", "UVICORN_WORKERS"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(*variable.split("="))
    monkeypatch.setattr(sys, "argv", ONE.split())
    first = FastTask(lambda: app)
    second = FastTask(lambda: app, first.broker)
    app = FastAPI(lifespan=first.lifespan(second.lifespan()))
    with caplog.at_level(logging.WARNING, LOGGER):
        async with asyncio.timeout(PATIENCE), app.router.lifespan_context(app):
            pass
    told = [record.getMessage() for record in caplog.records]
    assert [text.startswith("the embedded broker is used with 2") for text in told] == [
        True
    ] * count
    assert remaining() == set()
