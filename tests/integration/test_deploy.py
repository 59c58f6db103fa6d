"""The deployment example: its files agree, and Compose's very commands work as processes."""

import importlib.metadata
import os
import re
import shlex
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement

from tests.integration.processes import (
    BIN,
    DEADLINE,
    REPOSITORY,
    Process,
    call,
    found,
    free_port,
    wait_until,
)

FOLDER = REPOSITORY / "examples" / "deploy"
PARTS = ["api", "worker", "scheduler"]
PORT = "8000"

COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
MANIFESTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((FOLDER / "kubernetes.yml").read_text()),
)


def manifest(kind: str, name: str) -> dict[str, Any]:
    (one,) = [one for one in MANIFESTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return one


def pod(part: str) -> dict[str, Any]:
    template: dict[str, Any] = manifest("Deployment", part)["spec"]["template"]
    return template


def container(part: str) -> dict[str, Any]:
    (one,) = pod(part)["spec"]["containers"]
    assert isinstance(one, dict)
    return one


def option(command: list[str], name: str) -> float:
    return float(command[command.index(name) + 1])


def seconds(duration: str) -> float:
    number = re.fullmatch(r"(\d+)s", duration)
    assert number is not None, f"{duration!r} is not a number of seconds"
    return float(number[1])


def docker_instructions() -> list[tuple[str, str]]:
    text = (FOLDER / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(word.upper(), rest.strip()) for word, _, rest in (s.partition(" ") for s in joined)]


# The files.


def test_all_parts_run_one_image() -> None:
    """Compose and Kubernetes name the same image for api, worker and scheduler."""
    images = {SERVICES[part]["image"] for part in PARTS}
    images |= {container(part)["image"] for part in PARTS}
    assert len(images) == 1
    assert not next(iter(images)).endswith(":latest"), "Kubernetes would pull it every time"


def test_compose_builds_from_the_dockerfile() -> None:
    """Its paths lead to the Dockerfile and to the top of the checkout."""
    for part in PARTS:
        build = SERVICES[part]["build"]
        context = (FOLDER / build["context"]).resolve()
        assert context == REPOSITORY.resolve()
        assert context / build["dockerfile"] == FOLDER.resolve() / "Dockerfile"


@pytest.mark.parametrize("part", PARTS)
def test_commands_agree(part: str) -> None:
    """`args` are what Compose calls `command`: neither touches an entrypoint."""
    assert container(part)["args"] == SERVICES[part]["command"]
    assert "command" not in container(part)
    assert "entrypoint" not in SERVICES[part]


def test_commands_name_what_the_app_has() -> None:
    """The image's own command is the api's, and the library's three objects are there."""
    ((_, command),) = [one for one in docker_instructions() if one[0] == "CMD"]
    assert yaml.safe_load(command) == SERVICES["api"]["command"]
    targets = [SERVICES["api"]["command"][1]]
    targets += [SERVICES[part]["command"][2] for part in ("worker", "scheduler")]
    assert targets == ["app:app", "app:broker", "app:scheduler"]
    text = (FOLDER / "app.py").read_text()
    for target in targets:
        assert re.search(rf"^{target.removeprefix('app:')} = ", text, re.MULTILINE)


def test_ports_agree() -> None:
    """The port of the command is the published, the probed and the declared one."""
    assert option(SERVICES["api"]["command"], "--port") == float(PORT)
    assert SERVICES["api"]["ports"] == [f"{PORT}:{PORT}"]
    assert f":{PORT}/health" in SERVICES["api"]["healthcheck"]["test"][-1]
    (port,) = container("api")["ports"]
    assert port == {"name": "http", "containerPort": int(PORT)}
    assert manifest("Service", "api")["spec"]["ports"] == [
        {"port": int(PORT), "targetPort": "http"},
    ]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container("api")[probe]["httpGet"] == {"path": "/health", "port": "http"}
    assert ("EXPOSE", PORT) in docker_instructions()


def test_variables_agree() -> None:
    """What the app reads is set, and set to the same, for every part in both."""
    read = re.findall(r'os\.environ(?:\.get\(|\[)"(\w+)"', (FOLDER / "app.py").read_text())
    config = manifest("ConfigMap", "fastask-deploy")["data"]
    assert set(read) == set(config)
    for part in PARTS:
        assert SERVICES[part]["environment"] == config
        assert container(part)["envFrom"] == [{"configMapRef": {"name": "fastask-deploy"}}]


def test_labels_select_their_pods() -> None:
    """Every Deployment, and the Service, finds its own pods and no others."""
    labels = {part: pod(part)["metadata"]["labels"] for part in PARTS}
    for part in PARTS:
        assert manifest("Deployment", part)["spec"]["selector"]["matchLabels"] == labels[part]
    assert manifest("Service", "api")["spec"]["selector"] == labels["api"]
    assert len({tuple(one.items()) for one in labels.values()}) == len(PARTS)


def test_worker_has_time_to_finish() -> None:
    """The grace is longer than both timeouts of the command, in both files."""
    command = SERVICES["worker"]["command"]
    needed = option(command, "--wait-tasks-timeout") + option(command, "--shutdown-timeout")
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > needed
    assert pod("worker")["spec"]["terminationGracePeriodSeconds"] > needed


def test_api_has_time_to_finish() -> None:
    """The grace is longer than uvicorn's, and in Kubernetes than the pause before it too."""
    needed = option(SERVICES["api"]["command"], "--timeout-graceful-shutdown")
    assert seconds(SERVICES["api"]["stop_grace_period"]) > needed
    pause = float(container("api")["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod("api")["spec"]["terminationGracePeriodSeconds"] > needed + pause


def test_worker_is_not_the_first_process() -> None:
    """The kernel would keep its process manager from reporting that it has failed."""
    assert SERVICES["worker"]["init"] is True
    assert pod("worker")["spec"]["shareProcessNamespace"] is True


def test_there_is_one_scheduler() -> None:
    """Two of them, even for a moment, would send every scheduled task twice."""
    spec = manifest("Deployment", "scheduler")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_what_restarts_and_what_is_probed() -> None:
    """Services come back, after Redis; only what serves HTTP is probed over HTTP."""
    for part in PARTS:
        assert SERVICES[part]["restart"] == "unless-stopped"
        assert SERVICES[part]["depends_on"] == {"redis": {"condition": "service_healthy"}}
        assert pod(part)["spec"]["securityContext"]["runAsNonRoot"] is True
    for part in ("worker", "scheduler"):
        assert not {"readinessProbe", "livenessProbe", "ports"} & container(part).keys()
    assert "healthcheck" in SERVICES["redis"]
    assert SERVICES["redis"]["command"] == ["redis-server", "--appendonly", "yes"]
    assert [one.partition(":")[0] for one in SERVICES["redis"]["volumes"]] == [*COMPOSE["volumes"]]


def test_dockerfile_copies_what_is_there_and_starts_without_a_shell() -> None:
    """As far as that can be told without building it."""
    instructions = docker_instructions()
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    for word, rest in instructions:
        if word in ("COPY", "ADD"):
            *sources, _ = shlex.split(rest)
            for source in sources:
                assert (REPOSITORY / source).exists(), source
                assert f"!{source}" in ignored, f"{source} is not sent to the builder"
        if word in ("CMD", "ENTRYPOINT", "RUN"):
            assert isinstance(yaml.safe_load(rest), list), f"{word} {rest} needs a shell"
    words = [word for word, _ in instructions]
    assert words[0] == "FROM"
    assert words.count("FROM") == words.count("CMD") == 1
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
    ((_, user),) = [one for one in instructions if one[0] == "USER"]
    assert int(user.split(":")[0]) > 0


def test_image_has_what_the_build_of_the_library_reads() -> None:
    """hatchling wants the readme and the licence that pyproject.toml names."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = {project["readme"], *project["license-files"], "fastask", "pyproject.toml"}
    copied = {
        source
        for word, rest in docker_instructions()
        if word == "COPY" and rest.endswith(("/src/", "/src/fastask"))
        for source in shlex.split(rest)[:-1]
    }
    assert copied == wanted


def test_requirements_are_what_the_tests_run_with() -> None:
    """Each one is installed here, in a version that fits, with the extra that is asked for."""
    lines = (FOLDER / "requirements.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert {one.name for one in requirements} == {"taskiq-fastask", "uvicorn"}
    for one in requirements:
        installed = importlib.metadata.distribution(one.name)
        assert one.specifier.contains(installed.version)
        assert one.extras <= set(installed.metadata.get_all("Provides-Extra") or [])


# The programs.


class Running(NamedTuple):
    url: str
    port: int
    environment: dict[str, str]
    api: Process
    worker: Process
    scheduler: Process


def as_here(command: list[str], port: int) -> list[str]:
    """A command of Compose's: the program of this environment, and a port that is free."""
    program, *rest = command
    return [str(BIN / program), *(part.replace(PORT, str(port)) for part in rest)]


def local(part: str, port: int, environment: dict[str, str]) -> Process:
    return Process(*as_here(SERVICES[part]["command"], port), cwd=FOLDER, **environment)


def answers(url: str) -> bool:
    return call(url) == (200, {"status": "ok"})


@pytest.fixture
def running(redis_url: str, queue: str) -> Iterator[Running]:
    """All three programs as Compose starts them, on the tests' Redis."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**SERVICES["api"]["environment"], "REDIS_URL": f"{redis_url}/0", "QUEUE": queue}
    with ExitStack() as stack:
        api, working, scheduling = (
            stack.enter_context(local(part, port, environment)) for part in PARTS
        )
        wait_until(lambda: answers(f"{url}/health"), f"{url} is not healthy")
        working.wait_for("Listening started")
        scheduling.wait_for("Startup completed")
        yield Running(url, port, environment, api, working, scheduling)


@pytest.mark.redis
def test_task_of_a_route_is_run_and_its_result_comes_back(running: Running) -> None:
    """Over HTTP in and out, through the worker, in the types of the app."""
    status, ref = call(f"{running.url}/texts", {"text": "one two three"})
    assert status == 202, ref
    assert found(f"{running.url}/results/{ref['id']}") == {"words": 3, "error": None}
    running.worker.wait_for(f"Executing task app:count_words with ID: {ref['id']}")
    assert call(f"{running.url}/results/unknown")[0] == 404
    assert "Traceback" not in running.api.log + running.worker.log + running.scheduler.log


@pytest.mark.redis
def test_health_check_of_compose_tells_whether_the_api_serves(running: Running) -> None:
    """The very command: status 0 while the api is up, and another one when it is gone."""
    kind, *command = SERVICES["api"]["healthcheck"]["test"]
    assert kind == "CMD"

    def check() -> int:
        return subprocess.run(
            as_here(command, running.port), check=False, capture_output=True, timeout=DEADLINE
        ).returncode

    assert check() == 0
    running.api.send(signal.SIGTERM)
    running.api.wait()
    assert check() != 0


@pytest.mark.redis
def test_scheduled_task_is_sent_at_once_and_run(running: Running) -> None:
    """A cron for every minute is due in the minute in which the scheduler starts."""
    running.scheduler.wait_for("Sending task app:report with schedule_id")
    running.worker.wait_for("Executing task app:report")
    running.worker.wait_for("words counted so far")


@pytest.mark.redis
def test_all_three_end_in_time_when_they_are_told_to(running: Running) -> None:
    """By SIGTERM, long before the grace is over, in order and with the right status."""
    for part in PARTS:
        process: Process = getattr(running, part)
        assert "stop_signal" not in SERVICES[part]
        process.send(signal.SIGTERM)
        status = process.wait(seconds(SERVICES[part]["stop_grace_period"]))
        # uvicorn ends by the signal that it was sent, after an orderly shutdown.
        assert status in ({0, -signal.SIGTERM} if part == "api" else {0}), process.log
        assert "Traceback" not in process.log
    assert "Application shutdown complete" in running.api.log
    assert "Shutting down the broker" in running.worker.log
    assert "Scheduler shut down" in running.scheduler.log


@pytest.mark.redis
def test_worker_that_is_told_to_stop_finishes_its_task(running: Running) -> None:
    """The task that runs when SIGTERM comes ends with its result."""
    _, ref = call(f"{running.url}/texts", {"text": "one two", "pause": 2})
    running.worker.wait_for(f"Executing task app:count_words with ID: {ref['id']}")
    running.worker.send(signal.SIGTERM)
    assert running.worker.wait(seconds(SERVICES["worker"]["stop_grace_period"])) == 0
    assert found(f"{running.url}/results/{ref['id']}") == {"words": 2, "error": None}


@pytest.mark.redis
def test_task_that_is_sent_without_a_worker_waits_for_one(running: Running) -> None:
    """What is sent while workers are replaced is not lost."""
    running.worker.send(signal.SIGTERM)
    assert running.worker.wait() == 0
    _, ref = call(f"{running.url}/texts", {"text": "one"})
    with local("worker", running.port, running.environment):
        assert found(f"{running.url}/results/{ref['id']}") == {"words": 1, "error": None}


@pytest.mark.redis
def test_worker_that_stops_holds_nothing_back(running: Running) -> None:
    """What it has not begun is left in the queue, where the next worker gets it at once."""
    from redis import Redis

    running.worker.send(signal.SIGTERM)
    assert running.worker.wait() == 0
    room = int(option(SERVICES["worker"]["command"], "--max-async-tasks"))
    for _ in range(room + 5):  # while no worker is there, so that the next one finds them all
        assert call(f"{running.url}/texts", {"text": "one", "pause": 3})[0] == 202
    with local("worker", running.port, running.environment) as second:
        second.wait_for("Executing task app:count_words", count=room)
        second.send(signal.SIGTERM)
        assert second.wait() == 0
    with Redis.from_url(running.environment["REDIS_URL"]) as redis:
        assert redis.xpending(running.environment["QUEUE"], "taskiq")["pending"] == 0


@pytest.mark.redis
def test_results_expire(running: Running) -> None:
    """Nothing is kept for ever; what Redis holds of a result has a time to live."""
    from redis import Redis

    _, ref = call(f"{running.url}/texts", {"text": "one"})
    found(f"{running.url}/results/{ref['id']}")
    with Redis.from_url(running.environment["REDIS_URL"]) as redis:
        key = f"{running.environment['QUEUE']}:{ref['id']}"
        assert 0 < int(redis.ttl(key)) <= 3600


def test_files_are_all_there() -> None:
    """The readme names every file beside it."""
    readme = (FOLDER / "README.md").read_text()
    names = {one.name for one in Path(FOLDER).iterdir() if one.is_file()}
    assert {name for name in names if name not in readme} == {"README.md"}
    assert os.pardir + "/" not in readme
