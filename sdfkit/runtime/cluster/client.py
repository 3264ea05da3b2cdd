"""Submits rows to a Dask cluster, and returns their results."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4
from weakref import WeakSet

from sdfkit.errors import MissingError
from sdfkit.rows import DIED
from sdfkit.runtime.workers import WorkerDiedError

log = logging.getLogger(__name__)
# Seconds for which the number of threads of a cluster is taken as known: workers come and go.
KNOWN = 1.0


class LostClusterError(MissingError):
    """The scheduler of the cluster has ended, so that no further row can be computed."""


class Cluster:
    """A Dask cluster that computes a function of rows.

    Args:
        client: Client of the cluster.
        address: Address of its scheduler.
        plugin: Name of the plugin that computes rows on workers; see `worker.RowPlugin`.
    """

    def __init__(self, client: Any, address: str, plugin: str) -> None:
        self._client, self._address, self._plugin = client, address, plugin
        self._futures: WeakSet[Any] = WeakSet()
        self._threads, self._known_until = 0, 0.0

    def submit(self, row: Any) -> "ClusterTask":
        """Return the future result of the function for a row."""
        from sdfkit.runtime.cluster.worker import compute_row

        future = self._client.submit(compute_row, row, self._plugin, pure=False)
        self._futures.add(future)
        return ClusterTask(future, self._address)

    def count_threads(self) -> int:
        """Return the number of threads of all workers, which changes as workers come and go."""
        now = time.monotonic()
        if now >= self._known_until:
            self._threads = sum(self._client.nthreads().values())
            self._known_until = now + KNOWN
        return self._threads

    def cancel(self) -> None:
        """Drop the rows that are not computed."""
        self._client.cancel(list(self._futures), force=True)


class ClusterTask:
    """The future result for a row. The row of a worker that is lost is computed again by another one."""

    def __init__(self, future: Any, address: str) -> None:
        self._future, self._address = future, address

    def result(self) -> Any:
        """Wait for the result, and return it or raise the error of the row."""
        from distributed import KilledWorker

        try:
            return self._future.result()
        except KilledWorker as error:
            times = error.allowed_failures + 1
            raise WorkerDiedError(f"{DIED} on a cluster, {times} times; is there enough memory?") from error
        except CancelledError as error:
            raise LostClusterError(
                f"--cluster {self._address}: the scheduler has ended; start it again, and the same command continues"
            ) from error

    def done(self) -> bool:
        """Return whether the result is there."""
        return bool(self._future.done())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call a function with this task, in another thread, when the result is there."""
        self._future.add_done_callback(lambda future: callback(self))


@contextmanager
def connect(
    address: str,
    function: Callable[[Any], Any],
    timeout: float,
    recycle: int | None,
    check: Callable[[], None],
) -> Iterator[Cluster]:
    """Prepare a Dask cluster to compute a function of rows during a block; see `worker.RowPlugin`.

    Raises:
        MissingError: Dask is not installed, no scheduler answers, or a worker lacks what the function needs.
    """
    try:
        from distributed import Client

        from sdfkit.runtime.cluster.worker import EndPlugin, RowPlugin
    except ImportError as error:
        raise MissingError(
            f"--cluster {address}: dask is not installed; pip install 'sdfkit[cluster]'"
        ) from error
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise MissingError(
            f"--cluster {address}: no Dask scheduler answers ({error}); start one with dask scheduler"
        ) from error
    plugin = f"sdfkit-{uuid4().hex}"
    cluster = Cluster(client, address, plugin)
    with client:
        try:
            try:
                client.register_plugin(EndPlugin(client.id, plugin))
                client.register_plugin(RowPlugin(function, timeout, recycle, check), plugin)
            except MissingError as error:
                raise MissingError(f"--cluster {address}: {error}") from None
            except (ImportError, AttributeError) as error:
                raise MissingError(
                    f"--cluster {address}: sdfkit cannot be imported there ({error}); install the same version on "
                    "all machines"
                ) from error
            if not cluster.count_threads():
                log.warning("--cluster %s: has no workers yet; the shapes wait for them", address)
            yield cluster
        finally:
            cluster.cancel()
            # Before the output is closed, no process may still write to it. A scheduler that has ended has no workers.
            with suppress(OSError, ValueError):
                client.unregister_worker_plugin(plugin)
