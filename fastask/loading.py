"""The app that a `FastTask` belongs to: a path, an instance or a factory."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, TypeAlias

from fastapi import FastAPI
from pydantic import ValidationError

from fastask.exceptions import AppImportError
from fastask.signatures import name_of, near_names

__all__ = ["AppLike", "AppReference"]

AppLike: TypeAlias = str | FastAPI | Callable[[], FastAPI]


class AppReference:
    """Names a FastAPI app and gets it on first use.

    Args:
        app: `"module:attr"` (dots allowed in both), a `FastAPI` instance, or a factory
            that takes no arguments. A path may lead to a factory too.

    Raises:
        AppImportError: a string that is no `"module:attr"`, or an object that can't be an app.
    """

    def __init__(self, app: AppLike) -> None:
        if isinstance(app, str):
            module, colon, attribute = app.partition(":")
            if not (module and colon and attribute):
                raise AppImportError(app, "write the app's path as 'module:attribute'")
        elif not (isinstance(app, FastAPI) or callable(app)):
            raise AppImportError(
                type(app).__name__, "pass a path 'module:attribute', a FastAPI app or a factory"
            )
        self._reference = app
        self._app: FastAPI | None = app if isinstance(app, FastAPI) else None

    def __str__(self) -> str:
        if isinstance(self._reference, str):
            return self._reference
        if isinstance(self._reference, FastAPI):
            return f"FastAPI({self._reference.title!r})"
        return name_of(self._reference)

    def load(self) -> FastAPI:
        """Give the app, importing or making it on the first call.

        Raises:
            AppImportError: the module or attribute is not there, the factory raised, or
                what was found is no FastAPI app.
        """
        if self._app is None:
            self._app = self._as_app(self._found())
        return self._app

    def _found(self) -> Any:
        if not isinstance(self._reference, str):
            return self._reference
        module_name, _, path = self._reference.partition(":")
        found: Any = self._module(module_name)
        for attribute in path.split("."):
            found = self._attribute(found, attribute, path)
        return found

    def _module(self, name: str) -> Any:
        # A worker finds the user's modules in the folder it was started in.
        folder = os.getcwd()  # noqa: PTH109 - sys.path holds strings
        added = folder not in sys.path
        if added:
            sys.path.insert(0, folder)
        try:
            return importlib.import_module(name)
        except Exception as error:
            raise AppImportError(str(self), _import_reason(name, error)) from error
        finally:
            if added and folder in sys.path:
                sys.path.remove(folder)

    def _attribute(self, owner: Any, attribute: str, path: str) -> Any:
        try:
            return getattr(owner, attribute)
        except AttributeError:
            module = self._reference_module()
            reason = f"module {module!r} has no attribute {path!r}{_hint(owner, attribute)}"
            raise AppImportError(str(self), reason) from None

    def _reference_module(self) -> str:
        return str(self._reference).partition(":")[0]

    def _as_app(self, found: Any) -> FastAPI:
        if isinstance(found, FastAPI):
            return found
        if not callable(found) or not _takes_nothing(found):
            raise AppImportError(str(self), _not_an_app(found))
        try:
            made = found()
        except Exception as error:
            reason = f"the app factory raised {_told(error)}; fix the factory"
            raise AppImportError(str(self), reason) from error
        if inspect.iscoroutine(made):
            made.close()
        if not isinstance(made, FastAPI):
            raise AppImportError(str(self), f"the app factory returned {_not_an_app(made)}")
        return made


def _takes_nothing(found: Any) -> bool:
    """Whether something can be a factory: it is called without arguments."""
    try:
        inspect.signature(found).bind()
    except TypeError:
        return False
    except ValueError:
        return True  # nobody can tell
    return True


def _not_an_app(found: Any) -> str:
    return f"a {type(found).__name__!r} object, not a FastAPI app; name the FastAPI() instance"


def _import_reason(name: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in _ancestors(name):
        return (
            f"no module named {error.name!r}; check the path, "
            f"and start in the folder that holds {name.partition('.')[0]!r}"
        )
    return f"module {name!r} raised {_told(error)} when it was imported; fix the module"


def _ancestors(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts) + 1)}


def _told(error: Exception) -> str:
    """Say an error in one line, with the line of the user's code that raised it."""
    told = error.msg if isinstance(error, SyntaxError) else str(error)
    if isinstance(error, ValidationError):  # its own words repeat values, such as passwords
        told = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['type']}"
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        )
    words = "; ".join(line.strip() for line in told.splitlines() if line.strip())
    return f"{type(error).__name__}: {words}{_place(error)}"


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f" at {error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename != __file__ and "<" not in frame.filename]
    return f" at {theirs[-1].filename}:{theirs[-1].lineno}" if theirs else ""


def _hint(owner: Any, attribute: str) -> str:
    # Private to importlib: whether the module's code is still being executed.
    if getattr(getattr(owner, "__spec__", None), "_initializing", False):
        return " yet, since it is still being imported; use the app after that"
    names = [name for name in dir(owner) if not name.startswith("__")]
    near = near_names(attribute, names)
    return f"; did you mean {near}?" if near else "; check the name"
