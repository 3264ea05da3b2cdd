"""What a command runs on a Dask cluster: on each worker the processes that compute its rows, and on the scheduler their
end, when the command has ended.
"""

import asyncio
import multiprocessing
import os
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from distributed import get_worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

import sdfkit
from sdfkit.errors import MissingError
from sdfkit.runtime.workers import WorkerPool


class RowPlugin(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Computes rows of a command on a worker, in as many processes as the worker has threads.

    A thread of a worker could not be stopped at the time limit, and a shape that crashes would end the worker.

    Args:
        function: The function of a row; it must be picklable.
        timeout: Time limit of a row in seconds.
        recycle: Number of rows after which a process is replaced; None to keep the processes.
        check: Raises an error if the worker cannot write the output of the command.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        timeout: float,
        recycle: int | None,
        check: Callable[[], None],
    ) -> None:
        self._version, self._folder = sdfkit.__version__, str(Path.cwd())
        self._function = partial(_compute_in, self._folder, function)
        self._timeout, self._recycle, self._check = timeout, recycle, check
        self.pool: WorkerPool | None = None

    def setup(self, worker: Any) -> None:
        """Start the pool of processes.

        Raises:
            MissingError: The worker has another version of sdfkit, or another file system than the command.
        """
        host = platform.node()
        if sdfkit.__version__ != self._version:
            raise MissingError(
                f"the worker on {host} has sdfkit {sdfkit.__version__}, the command {self._version}; "
                "install the same version"
            )
        if not Path(self._folder).is_dir():
            raise MissingError(
                f"the worker on {host} has no folder {self._folder}; start the command in a folder that all "
                "machines share"
            )
        self._check()
        # Unless it has --no-nanny, a worker is a daemon, which may not start processes.
        multiprocessing.current_process().daemon = False
        self.pool = WorkerPool(
            self._function, worker.state.nthreads, self._timeout, self._recycle, notified=True
        )

    def teardown(self, worker: Any) -> None:
        """Kill the processes."""
        if self.pool is not None:
            self.pool.stop()


def _compute_in(folder: str, function: Callable[[Any], Any], row: Any) -> Any:
    os.chdir(folder)  # paths of rows may be relative
    return function(row)


def compute_row(row: Any, plugin: str) -> Any:
    """Compute a row in a process of the worker that runs this function as a task."""
    return get_worker().plugins[plugin].pool.submit(row).result()


class EndPlugin(SchedulerPlugin):  # type: ignore[misc]  # distributed has no types
    """Removes a plugin of workers when its client leaves, also if that was killed.

    Args:
        client: Identifier of the client.
        plugin: Name of the plugin of workers.
    """

    def __init__(self, client: str, plugin: str) -> None:
        self.name = f"{plugin}-end"
        self._client, self._plugin = client, plugin
        self._task: asyncio.Task[None] | None = None

    def remove_client(self, scheduler: Any, client: str) -> None:
        """Begin to remove the plugins."""
        if client == self._client:
            self._task = asyncio.get_running_loop().create_task(self._end(scheduler))

    async def _end(self, scheduler: Any) -> None:
        if self._plugin in scheduler.worker_plugins:
            await scheduler.unregister_worker_plugin(None, self._plugin)
        scheduler.remove_plugin(self.name)
