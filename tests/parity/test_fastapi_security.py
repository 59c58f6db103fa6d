"""The shapes of FastAPI's tutorial on security: nobody is logged in while a task runs."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, HTTPException, Security
from fastapi.security import (
    APIKeyCookie,
    APIKeyHeader,
    APIKeyQuery,
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBearer,
    HTTPDigest,
    OAuth2PasswordBearer,
    OpenIdConnect,
    SecurityScopes,
)

from tests.parity.runs import same_answer

oauth2 = OAuth2PasswordBearer(tokenUrl="token", scopes={"me": "read me", "items": "read items"})
optional_oauth2 = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)

USERS = {"a token": "Rick"}


async def current_user(token: Annotated[str, Depends(oauth2)]) -> str:
    user = USERS.get(token)
    if user is None:
        raise HTTPException(401, "unknown token")
    return user


async def active_user(user: Annotated[str, Depends(current_user)]) -> str:
    return user


async def test_current_user() -> None:
    """A task that needs the current user fails as an anonymous request does."""

    async def endpoint(user: Annotated[str, Depends(active_user)]) -> str:
        return user

    answer = await same_answer(endpoint)
    assert answer.error == ("HTTPException", "401: Not authenticated")
    answer = await same_answer(endpoint, overrides={oauth2: lambda: "a token"})
    assert answer.value == "Rick"


async def test_current_user_in_a_decorator() -> None:
    """Where the user is only checked, the task does not run either."""

    async def endpoint() -> None:
        raise AssertionError

    answer = await same_answer(endpoint, dependencies=[Security(active_user, scopes=["me"])])
    assert answer.error == ("HTTPException", "401: Not authenticated")


@pytest.mark.parametrize(
    "scheme",
    [
        APIKeyCookie(name="key"),
        APIKeyHeader(name="key"),
        APIKeyQuery(name="key"),
        HTTPBasic(),
        HTTPBearer(),
        HTTPDigest(),
        OAuth2PasswordBearer(tokenUrl="token"),
        OpenIdConnect(openIdConnectUrl="https://example.org"),
    ],
    ids=lambda scheme: type(scheme).__name__,
)
async def test_scheme_refuses(scheme: Any) -> None:
    """Every scheme of FastAPI's fails in a task as it does without credentials."""

    async def endpoint(credentials: Annotated[Any, Security(scheme)]) -> None:
        raise AssertionError

    answer = await same_answer(endpoint)
    assert answer.error is not None
    assert answer.error[0] == "HTTPException"
    assert answer.error[1][:3] in ("401", "403")


@pytest.mark.parametrize(
    "scheme",
    [
        APIKeyCookie(name="key", auto_error=False),
        APIKeyHeader(name="key", auto_error=False),
        APIKeyQuery(name="key", auto_error=False),
        HTTPBasic(auto_error=False),
        HTTPBearer(auto_error=False),
        HTTPDigest(auto_error=False),
        optional_oauth2,
        OpenIdConnect(openIdConnectUrl="https://example.org", auto_error=False),
    ],
    ids=lambda scheme: type(scheme).__name__,
)
async def test_scheme_that_may_be_absent(scheme: Any) -> None:
    """With `auto_error=False` there are no credentials, and it is the dependency that decides."""

    async def endpoint(credentials: Annotated[Any, Security(scheme)]) -> Any:
        return [credentials]

    assert (await same_answer(endpoint)).value == [None]


async def test_chain_of_scopes() -> None:
    """Each dependency sees the scopes of all that ask for it, outer ones first."""
    log: list[Any] = []

    async def user(
        scopes: SecurityScopes, token: Annotated[str | None, Depends(optional_oauth2)]
    ) -> str:
        log.append((scopes.scopes, scopes.scope_str, token))
        return f"anonymous with {scopes.scope_str or 'nothing'}"

    async def active(found: Annotated[str, Security(user, scopes=["me"])]) -> str:
        return found

    async def endpoint(
        first: Annotated[str, Security(active, scopes=["items"])],
        second: Annotated[str, Security(active)],
        third: Annotated[str, Depends(user)],
        fourth: Annotated[str, Security(user, scopes=["me", "items"])],
    ) -> Any:
        return [first, second, third, fourth]

    answer = await same_answer(endpoint, log)
    assert answer.value == [
        "anonymous with items me",
        "anonymous with me",
        "anonymous with nothing",
        "anonymous with items me",
    ]
    assert answer.log == [(["items", "me"], "items me", None), (["me"], "me", None), ([], "", None)]


async def test_chain_of_scopes_that_refuses() -> None:
    """A user without the scopes is refused in a task as well."""

    async def user(scopes: SecurityScopes) -> str:
        missing = [scope for scope in scopes.scopes if scope != "me"]
        if missing:
            raise HTTPException(403, f"missing {missing}")
        return "Rick"

    async def allowed(name: Annotated[str, Security(user, scopes=["me"])]) -> str:
        return name

    async def refused(name: Annotated[str, Security(allowed, scopes=["items"])]) -> str:
        return name

    assert (await same_answer(allowed)).value == "Rick"
    assert (await same_answer(refused)).error == ("HTTPException", "403: missing ['items']")


async def test_override_of_a_scheme() -> None:
    """A scheme is overridden by its instance, as tests of routes do it."""
    bearer = HTTPBearer()

    async def endpoint(found: Annotated[Any, Depends(bearer)]) -> Any:
        return found.credentials

    given = HTTPAuthorizationCredentials(scheme="Bearer", credentials="given")
    assert (await same_answer(endpoint, overrides={bearer: lambda: given})).value == "given"
