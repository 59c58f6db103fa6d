"""The quickstart as a user runs it: one uvicorn process and nothing else."""

from tests.integration.processes import (
    BIN,
    Process,
    call,
    found,
    free_port,
    server,
    wait_for_server,
)


def test_demo_runs_by_itself() -> None:
    """`make demo` runs this: it shows the task's result and where dependencies came from."""
    with Process(BIN / "python", "-m", "examples.quickstart.demo") as demo:
        assert demo.wait() == 0
        assert "result: 1 value stored" in demo.log
        assert "opened by the app's lifespan" in demo.log
        assert "value:  'hello'" in demo.log


def test_task_runs_after_the_request_and_its_result_comes_back() -> None:
    """The route answers with the task's id; its result and its effect follow."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with server("examples.quickstart.app:app", port) as web:
        wait_for_server(url)
        status, ref = call(f"{url}/values", {"key": "k", "value": "v"})
        assert status == 202
        outcome = found(f"{url}/results/{ref['id']}")
        assert outcome["count"] == 1
        assert outcome["asked_for_by"] == "GET from task"
        assert call(f"{url}/values/k") == (200, "v")
        assert call(f"{url}/values/missing")[0] == 404
        web.process.terminate()
        web.wait()
        assert "Application shutdown complete" in web.log
        assert "Traceback" not in web.log
