"""An app with a database, and tasks that use the same session dependency as its routes.

uvicorn examples.testing.app:app
Its tests: python -m pytest examples/testing
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from examples.testing import tasks
from examples.testing.database import Member, SessionDep, opened_database
from examples.testing.tasks import Today, welcome
from fastask import FastTask

ft = FastTask("examples.testing.app:app")
ft.include_router(tasks.router)


@ft.lifespan
@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with opened_database(app):
        yield


app = FastAPI(lifespan=lifespan)


class Joining(BaseModel):
    email: str


class MemberOut(BaseModel, from_attributes=True):
    id: int
    email: str
    is_welcomed: bool
    is_confirmed: bool


@app.post("/members", status_code=201)
async def post_member(joining: Joining, session: SessionDep, today: Today) -> MemberOut:
    member = Member(email=joining.email, joined=today)
    session.add(member)
    await session.commit()  # before the task is sent: it has a session of its own
    await welcome.kiq(member.id)
    return MemberOut.model_validate(member)


@app.get("/members/{member_id}")
async def get_member(member_id: int, session: SessionDep) -> MemberOut:
    member = await session.get(Member, member_id)
    if member is None:
        raise HTTPException(404)
    return MemberOut.model_validate(member)


@app.post("/members/{member_id}/confirmation", status_code=204)
async def post_confirmation(member_id: int, session: SessionDep) -> None:
    member = await session.get(Member, member_id)
    if member is None:
        raise HTTPException(404)
    member.is_confirmed = True
