"""What holds for all tests."""

import signal


def pytest_configure() -> None:
    """Have programs that tests start mind Ctrl-C, also where a shell runs pytest in the background.

    Such a shell has SIGINT ignored, and whatever is started inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
