"""The tests on every supported Python, with the newest and the oldest dependencies."""

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests", "oldest"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The newest release of every dependency."""
    session.install("-e", ".", "--group", "test")
    session.run("pytest", "--ignore=tests/typing", *session.posargs)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The oldest release of every dependency that is declared."""
    session.install("-e", ".", "--group", "test", "--resolution", "lowest-direct")
    session.run("pytest", "--ignore=tests/typing", *session.posargs)
