"""The tasks: a mail to each new member, and a cleanup every night.

Its tests: python -m pytest examples/testing
"""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import Depends
from sqlalchemy import delete

from examples.testing.database import Member, SessionDep
from examples.testing.mail import MailerDep, MailError
from fastask import INJECTED, TaskRouter

router = TaskRouter()


async def get_today() -> date:
    return datetime.now(UTC).date()


Today = Annotated[date, Depends(get_today)]


@router.task(retries=2, retry_delay=60, retry_on=MailError)
async def welcome(
    member_id: int, *, session: SessionDep = INJECTED, mailer: MailerDep = INJECTED
) -> None:
    member = await session.get_one(Member, member_id)
    member.is_welcomed = True
    await mailer.send(member.email, "Welcome! Please confirm your address.")


@router.task(cron="0 3 * * *", timezone="Europe/Berlin")
async def forget_unconfirmed(*, session: SessionDep = INJECTED, today: Today = INJECTED) -> int:
    """Members have a week to confirm."""
    late = delete(Member).where(~Member.is_confirmed, Member.joined < today - timedelta(days=7))
    return len((await session.scalars(late.returning(Member.id))).all())
