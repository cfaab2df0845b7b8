"""Runs an app with uvicorn on open sockets, every connection within the limits of one table."""

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

import uvicorn

from service.http.connection_table import ConnectionTable
from service.http.protocol import LimitedProtocol


class HttpServer(uvicorn.Server):
    """`run(sockets=[…])` serves `app` on these. `others` are further apps, each with the socket that it is served on:
    they start and end with the first, and share its limits."""

    def __init__(self, app: Any, table: ConnectionTable, others: Sequence[tuple[Any, socket.socket]] = ()) -> None:
        super().__init__(_config(app, table))
        self._table = table
        self._others = [(_config(other, table), listener) for other, listener in others]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._watching = asyncio.create_task(self._table.watch(), name="connections")
        for config, listener in self._others:
            config.load()
            make: Any = config.http_protocol_class
            factory = partial(make, config=config, server_state=self.server_state, app_state={})
            self.servers.append(await asyncio.get_running_loop().create_server(factory, sock=listener))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._watching.cancel()


def _config(app: Any, table: ConnectionTable) -> uvicorn.Config:
    protocol: Any = partial(LimitedProtocol, table=table)
    return uvicorn.Config(
        app,
        interface="asgi3",
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
