"""Members in a database, and the session that routes and tasks ask for.

Its tests: python -m pytest examples/testing
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import StaticPool


class Base(DeclarativeBase): ...


class Member(Base):
    __tablename__ = "members"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    joined: Mapped[date]
    is_welcomed: Mapped[bool] = mapped_column(default=False)
    is_confirmed: Mapped[bool] = mapped_column(default=False)


Sessions = async_sessionmaker[AsyncSession]


@asynccontextmanager
async def opened_database(app: FastAPI) -> AsyncIterator[None]:
    """Part of the lifespan. In memory there is one connection, and what it holds ends with it."""
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    yield
    await engine.dispose()


async def get_sessions(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


async def get_session(
    sessions: Annotated[Sessions, Depends(get_sessions)],
) -> AsyncIterator[AsyncSession]:
    """Commits after success. After an error it is closed before that, and so rolled back."""
    async with sessions() as session:
        yield session
        await session.commit()


SessionDep = Annotated[AsyncSession, Depends(get_session)]
