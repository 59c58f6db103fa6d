"""The tests on every supported Python, with the newest and the oldest dependencies."""

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests", "oldest"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]
MANY = ["-n", "4", "--dist", "loadfile"]  # these mostly wait for processes and servers


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The newest release of every dependency."""
    session.install("-e", ".", "--group", "test")
    run(session)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The oldest release of every dependency that is declared."""
    session.install("-e", ".", "--group", "test", "--resolution", "lowest-direct")
    run(session)


def run(session: nox.Session) -> None:
    """All tests, but those of types, which need checkers, and the long ones of faults."""
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    session.run("pytest", "tests/unit")
    others = ["tests/behaviour", "tests/integration", "tests/parity"]
    session.run("pytest", *others, *MANY, "-m", "not faults")
