"""Which of the processes of a command that torchrun has started prints messages."""

import os
import signal
import time
from datetime import timedelta

# Seconds that the cause of a failure has to be reported, before what follows from it is; and to reach the store.
SECONDS_FOR_CAUSE, SECONDS_TO_CONNECT = 1.0, 3.0


def is_first_process() -> bool:
    """Return whether this is the process that writes the output, shows progress and logs."""
    return os.environ.get("RANK", "0") == "0"


def may_report(*, follows: bool) -> bool:
    """Return whether this process should print the error that ends it: of all processes only the first that asks.

    The processes agree by the key-value store through which torch connects them. If it cannot be reached, each of them
    prints its error.

    Args:
        follows: The error may be the consequence of one in another process, which is printed instead if there is one.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN
    )  # torchrun sends it to all other processes when one has ended
    if follows:
        time.sleep(SECONDS_FOR_CAUSE)
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store = TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, wait_for_workers=False,
            timeout=timedelta(seconds=SECONDS_TO_CONNECT),
        )  # fmt: skip
        return int(store.add(f"sdfkit/errors/{attempt}", 1)) == 1
    except (KeyError, RuntimeError):
        return True
