"""What sends mails. Tests put another one in its place.

Its tests: python -m pytest examples/testing
"""

from typing import Annotated

from fastapi import Depends


class MailError(Exception):
    """The mail server did not take a mail."""


class Mailer:
    async def send(self, to: str, text: str) -> None:
        raise MailError(f"this example has no mail server; no mail to {to}")


async def get_mailer() -> Mailer:
    return Mailer()


MailerDep = Annotated[Mailer, Depends(get_mailer)]
