"""A `sdfkit` for shell scripts that starts in milliseconds, because its libraries are already imported.

`python preloaded.py SOCKET` imports sdfkit with all libraries, prints a line, and serves SOCKET. For each connection it
forks a child, which takes over the arguments, folder, environment and standard streams of the client, and runs the
program. Importing torch costs seconds, and the tutorials run some 70 commands. `write_client` writes the client.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
from pathlib import Path

LIBRARIES = ("torch._dynamo", "transformers.modeling_utils", "transformers.models.auto.modeling_auto")
CLIENT = """\
#!{python} -IS
import json, os, signal, socket, sys

server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: server.send(bytes([number])))
request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
server.sendall(request)
for stream in (0, 1):  # a pipe ends when no process holds it
    os.close(stream)
status = server.recv(1)
os._exit(status[0] if status else 1)
"""


def write_client(path: Path, address: Path) -> None:
    """Write the program that stands for `sdfkit` on PATH."""
    path.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    path.chmod(0o755)


def start(connection: socket.socket) -> int:
    """Fork a child that runs the client's command, and return its process id; 0 in the child."""
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    size, request = int.from_bytes(head, "big"), b""
    while len(request) < size:
        request += connection.recv(size - len(request))
    child = os.fork()
    if not child:
        words, folder, environment = json.loads(request)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["sdfkit", *words]
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    for stream in streams:
        os.close(stream)
    return child


def serve(address: str) -> None:
    """Serve until killed. Returns in the children only."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    clients: dict[int, socket.socket] = {}
    while True:
        for key, _ in waiting.select(timeout=0.02):
            if key.fileobj is listener:
                connection, _ = listener.accept()
                child = start(connection)
                if not child:
                    waiting.close()
                    for open_socket in (listener, connection, *clients.values()):
                        open_socket.close()
                    return
                clients[child] = connection
                waiting.register(connection, selectors.EVENT_READ, child)
            else:
                # A byte is a signal; the end of the connection, a client that was killed.
                number = key.fileobj.recv(1)
                os.kill(key.data, number[0] if number else signal.SIGKILL)
                if not number:
                    waiting.unregister(key.fileobj)
        for child in list(clients):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                with (
                    clients.pop(child) as connection,
                    contextlib.suppress(KeyError, OSError),
                ):  # the client was killed
                    waiting.unregister(connection)
                    connection.send(bytes([code if code >= 0 else 128 - code]))


if __name__ == "__main__":
    from sdfkit.runtime import cores

    cores.CORES = 1  # the default of --jobs; worker processes would import the libraries again
    import sdfkit.cli

    modules = [module.name for module in pkgutil.walk_packages(sdfkit.__path__, "sdfkit.")]
    for name in (*modules, *LIBRARIES):
        if not name.endswith("__main__"):
            importlib.import_module(name)
    gc.freeze()  # a collection in a child would copy all pages
    serve(sys.argv[1])
    try:
        sdfkit.cli.main()
    except SystemExit as end:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(end.code or 0)  # taking torch down costs a second
