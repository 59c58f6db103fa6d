"""`FastTask` and the app that it names."""

import gc
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from fastapi import FastAPI

from fastask import AppImportError, FastTask
from tests.unit.conftest import WriteModule
from tests.unit.doubles import one_sentence

APP = """
from fastapi import FastAPI

made = []

class Holder:
    class inner:
        app = FastAPI(title="held")

def create():
    made.append(FastAPI(title="made"))
    return made[-1]

app = FastAPI(title="plain")
application = app
number = 5
"""


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("shop_app:app", "plain"),
        ("shop_app:Holder.inner.app", "held"),
        ("shop_app:create", "made"),
        ("shop.web.main:app", "plain"),
        ("shop.web.main:Holder.inner.app", "held"),
    ],
)
def test_path(write_module: WriteModule, path: str, title: str) -> None:
    """A path may have dots in the module and in the attribute, and lead to a factory."""
    write_module("shop_app", APP)
    write_module("shop.web.main", APP)
    ft = FastTask(path)
    assert ft.app.title == title
    assert ft.app is ft.app


def test_instance() -> None:
    """An instance is the app."""
    app = FastAPI()
    assert FastTask(app).app is app


def test_factory_is_called_once() -> None:
    """A factory is called on first use, and once."""
    made: list[FastAPI] = []

    def create() -> FastAPI:
        made.append(FastAPI())
        return made[-1]

    ft = FastTask(create)
    assert made == []
    assert ft.app is ft.app is made[0]
    assert len(made) == 1


def test_import_on_first_use(write_module: WriteModule) -> None:
    """The module is imported when the app is first asked for, not before."""
    write_module("late_app", APP)
    ft = FastTask("late_app:create")
    assert "late_app" not in sys.modules
    app = ft.app
    assert sys.modules["late_app"].made == [app]
    assert ft.app is app
    assert sys.modules["late_app"].made == [app]


def test_lifespan_and_broker_do_not_import(write_module: WriteModule) -> None:
    """Declaring tasks, wrapping a lifespan and taking the broker leave the app alone."""
    write_module("untouched_app", "raise RuntimeError('imported')")
    ft = FastTask("untouched_app:app")

    @ft.task
    async def nothing() -> None: ...

    assert ft.lifespan() is not None
    assert ft.broker is nothing.broker
    assert "untouched_app" in repr(ft)
    assert "untouched_app" not in sys.modules


def test_current_folder(
    tmp_path: Path, write_module: WriteModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module in the current folder is found, and the import path is left as it was."""
    write_module("folder_app", APP)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert FastTask("folder_app:app").app.title == "plain"
    assert sys.path == before


@pytest.mark.parametrize("path", ["", "app", ":app", "app:", ":"])
def test_bad_string(path: str) -> None:
    """A string that is no path is refused when it is written."""
    with pytest.raises(AppImportError) as caught:
        FastTask(path)
    assert one_sentence(caught.value, "'module:attribute'", repr(path))
    assert caught.value.app == path


@pytest.mark.parametrize("wrong", [5, None, object(), ["app:app"]])
def test_bad_object(wrong: object) -> None:
    """An object that can be no app is refused when it is written."""
    with pytest.raises(AppImportError) as caught:
        FastTask(wrong)  # type: ignore[arg-type]
    assert one_sentence(caught.value, type(wrong).__name__, "factory")


@pytest.mark.parametrize("path", ["no_such_module", "no_such_package.web.main", "shop.no_such"])
def test_module_not_found(write_module: WriteModule, path: str) -> None:
    """A missing module is named: the top-level one, or the submodule."""
    write_module("shop.main", APP)
    with pytest.raises(AppImportError) as caught:
        _ = FastTask(f"{path}:app").app
    missing = path if path.startswith("shop") else path.partition(".")[0]
    assert one_sentence(
        caught.value, f"FastTask('{path}:app')", f"no module named {missing!r}", "check the path"
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_module_is_no_package(write_module: WriteModule) -> None:
    """A path through a module that is no package is an import that fails, not a crash."""
    write_module("flat_app", APP)
    with pytest.raises(AppImportError) as caught:
        _ = FastTask("flat_app.main:app").app
    assert one_sentence(caught.value, "flat_app.main")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_library", "No module named 'no_such_library'"),
        ("from sys import no_such_name", "cannot import name 'no_such_name'"),
        ("raise KeyError('DATABASE_URL')", "KeyError: 'DATABASE_URL'"),
    ],
)
def test_module_raises(write_module: WriteModule, body: str, told: str) -> None:
    """What the module raises is told, with the line; something else missing is not the path."""
    path = write_module("broken_app", f"\n\n{body}\n")
    with pytest.raises(AppImportError) as caught:
        _ = FastTask("broken_app:app").app
    assert one_sentence(caught.value, "module 'broken_app' raised", told, f"{path}:3")
    assert "check the path" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_module_with_a_syntax_error(write_module: WriteModule) -> None:
    """A syntax error is told with the line of the module, not one inside of Python."""
    path = write_module("typo_app", "\ndef broken(:\n")
    with pytest.raises(AppImportError) as caught:
        _ = FastTask("typo_app:app").app
    assert one_sentence(caught.value, "SyntaxError", f"{path}:2")
    assert "frozen" not in str(caught.value)


def test_module_raises_many_lines(write_module: WriteModule) -> None:
    """An error of many lines, as a settings model raises it, is told in one."""
    body = """
    from pydantic import BaseModel

    class Settings(BaseModel):
        url: str

    settings = Settings()
    """
    write_module("unset_app", body)
    with pytest.raises(AppImportError) as caught:
        _ = FastTask("unset_app:app").app
    assert one_sentence(caught.value, "ValidationError")


def test_failed_import_is_tried_again(write_module: WriteModule) -> None:
    """After a failure the next use tries again."""
    write_module("mended_app", "1 / 0")
    ft = FastTask("mended_app:app")
    with pytest.raises(AppImportError):
        _ = ft.app
    write_module("mended_app", APP)
    assert ft.app.title == "plain"


@pytest.mark.parametrize(
    ("attribute", "near"),
    [("ap", "'app'"), ("aplication", "'application'"), ("Holder.inner.ap", "'app'")],
)
def test_attribute_not_found(write_module: WriteModule, attribute: str, near: str) -> None:
    """A missing attribute is told with near names."""
    write_module("near_app", APP)
    with pytest.raises(AppImportError) as caught:
        _ = FastTask(f"near_app:{attribute}").app
    told = f"module 'near_app' has no attribute {attribute!r}"
    assert one_sentence(caught.value, told, "did you mean", near)


def test_attribute_like_nothing(write_module: WriteModule) -> None:
    """A missing attribute without near names is told too."""
    write_module("far_app", APP)
    with pytest.raises(AppImportError) as caught:
        _ = FastTask("far_app:zzz").app
    assert one_sentence(caught.value, "has no attribute 'zzz'; check the name")


def test_not_an_app(write_module: WriteModule) -> None:
    """What is no FastAPI app is told by its type."""
    write_module("number_app", APP)
    with pytest.raises(AppImportError) as caught:
        _ = FastTask("number_app:number").app
    assert one_sentence(caught.value, "'int'", "not a FastAPI app")


def test_factory_raises() -> None:
    """What a factory raises is told, with the line."""

    def create() -> FastAPI:
        raise LookupError("no settings")

    with pytest.raises(AppImportError) as caught:
        _ = FastTask(create).app
    line = create.__code__.co_firstlineno + 1
    assert one_sentence(
        caught.value, "factory raised LookupError: no settings", f"{__file__}:{line}"
    )
    assert "<locals>" not in str(caught.value)
    assert isinstance(caught.value.__cause__, LookupError)


def test_factory_wants_arguments() -> None:
    """A factory with parameters is told without pointing into fastask."""

    def create(settings: str) -> FastAPI:
        return FastAPI(title=settings)

    with pytest.raises(AppImportError) as caught:
        _ = FastTask(create).app  # type: ignore[arg-type]
    assert one_sentence(caught.value, "a 'function' object, not a FastAPI app")
    assert "loading.py" not in str(caught.value)


def test_factory_returns_something_else() -> None:
    """What a factory returned is told by its type."""
    with pytest.raises(AppImportError) as caught:
        _ = FastTask(lambda: "app").app  # type: ignore[arg-type, return-value]
    assert one_sentence(caught.value, "factory returned a 'str' object")


def test_async_factory() -> None:
    """A coroutine function is no factory, and no coroutine is left unawaited."""

    async def create() -> FastAPI:
        return FastAPI()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(AppImportError, match="'coroutine'"):
            _ = FastTask(create).app  # type: ignore[arg-type]
        gc.collect()
    assert [str(warning.message) for warning in warned] == []


def test_app_asked_for_while_it_is_imported(write_module: WriteModule) -> None:
    """A module that asks for its own app too early hears why it is not there."""
    body = """
    from fastapi import FastAPI
    from fastask import FastTask

    ft = FastTask("early_app:app")
    title = ft.app.title
    app = FastAPI()
    """
    write_module("early_app", body)
    with pytest.raises(AppImportError) as caught:
        __import__("early_app")
    assert one_sentence(caught.value, "has no attribute 'app'", "being imported")


def test_main_module(tmp_path: Path) -> None:
    """A script that is its own app module works and is not executed twice by accident."""
    script = tmp_path / "script_app.py"
    script.write_text(
        "from fastapi import FastAPI\nfrom fastask import FastTask\n"
        "ft = FastTask('__main__:app')\n"
        "@ft.task\nasync def one() -> int: return 1\n"
        "app = FastAPI(title='main')\n"
        "print(ft.app is app, one.task_name)\n"
    )
    command = [sys.executable, "script_app.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("True script_app:one\n", "")
