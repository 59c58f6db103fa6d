"""How the web process was started, as far as its command line and environment tell.

It is what an embedded broker has to know: whether other processes serve the same app, and
whether it is meant for production. What a server's configuration file or `uvicorn.run(...)`
says is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

__all__ = ["process_count", "production_sign", "warning_on_embedded"]

_MODES = ("ENVIRONMENT", "ENV", "APP_ENV", "FASTAPI_ENV", "PYTHON_ENV")
_PRODUCTION = ("prod", "production")


class _Server(NamedTuple):
    """Where a server reads how many worker processes it is to start; the last one counts."""

    variables: Sequence[str] = ()
    options: Sequence[str] = ("--workers",)
    reloads_alone: bool = False  # with `--reload` it starts one process, whatever else is said


_SERVERS = {
    "uvicorn": _Server(("WEB_CONCURRENCY", "UVICORN_WORKERS"), reloads_alone=True),
    "fastapi": _Server(("WEB_CONCURRENCY",), reloads_alone=True),
    "gunicorn": _Server(("WEB_CONCURRENCY",), options=("--workers", "-w")),
    "hypercorn": _Server(options=("--workers", "-w")),
    "granian": _Server(("GRANIAN_WORKERS",)),
}
# A script that runs a server, most likely uvicorn, which reads the variable wherever it runs.
_UNKNOWN = _Server(("WEB_CONCURRENCY",), options=())


def warning_on_embedded(argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Say what an embedded broker means for a deployment that it does not suit.

    Args:
        argv: the command line, as in `sys.argv`; a process that a server has spawned has
            that of the server.
        environ: the environment variables.

    Returns:
        The warning; `None` for one process that is not in production.
    """
    count, sign = process_count(argv, environ), production_sign(argv, environ)
    found = [f"with {count} web worker processes"] if count > 1 else []
    found += [f"in production ({sign})"] if sign else []
    if not found:
        return None
    return (
        f"the embedded broker is used {' and '.join(found)}: each process runs only the tasks "
        "that it sends, no other process sees their results, and tasks that are queued when "
        "it ends are lost; give FastTask the URL of a broker, such as sqlite:///tasks.db or "
        "redis://localhost:6379"
    )


def process_count(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Give the number of worker processes that a server was told to start; 1 if it was not.

    Args:
        argv: the command line.
        environ: the environment variables.
    """
    name = _program(argv)
    server = _SERVERS.get(name, _UNKNOWN)
    given = list(argv[1:])
    is_dev = name == "fastapi" and _command(argv) == "dev" and "--no-reload" not in given
    if server.reloads_alone and ("--reload" in given or is_dev):
        return 1
    if name == "gunicorn":  # its options may stand in a variable, too
        given = environ.get("GUNICORN_CMD_ARGS", "").split() + given
    said = [environ.get(variable, "") for variable in server.variables]
    for option in server.options:
        said += _values(option, given)
    counts = [int(text) for text in said if text.isascii() and text.isdecimal()]
    return counts[-1] if counts else 1


def production_sign(argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Give what says that this is production: `fastapi run`, or a variable with its value.

    Args:
        argv: the command line.
        environ: the environment variables.
    """
    if _program(argv) == "fastapi" and _command(argv) == "run":
        return "fastapi run"
    for name in _MODES:
        if (value := environ.get(name, "").strip()).lower() in _PRODUCTION:
            return f"{name}={value}"
    return None


def _program(argv: Sequence[str]) -> str:
    """The name of a program, also of one that is run with `python -m`."""
    path = PurePath(argv[0] if argv else "")
    name = path.parent.name if path.name == "__main__.py" else path.stem
    return "fastapi" if name == "fastapi_cli" else name


def _command(argv: Sequence[str]) -> str:
    """The first argument that is no option."""
    return next((word for word in argv[1:] if not word.startswith("-")), "")


def _values(option: str, given: Sequence[str]) -> list[str]:
    """The values of an option: `--workers 2`, `--workers=2`, `-w 2`, `-w2`, `-w=2`."""
    found = []
    for word, following in zip(given, [*given[1:], ""], strict=True):
        if word == option:
            found.append(following)
        elif word.startswith(f"{option}="):
            found.append(word.partition("=")[2])
        elif not option.startswith("--") and word.startswith(option):
            found.append(word.removeprefix(option))
    return found
