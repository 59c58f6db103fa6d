"""What tests put in the place of what reaches outside.

Used by: python -m pytest examples/testing
"""

from examples.testing.mail import Mailer, MailError


class Outbox(Mailer):
    """Keeps mails; fails for as many as it is told to."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, str]] = []
        self.failures = 0

    async def send(self, to: str, text: str) -> None:
        if self.failures:
            self.failures -= 1
            raise MailError(to)
        self.mails.append((to, text))
