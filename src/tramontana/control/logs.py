"""Logging: one JSON object a line on standard error. Never payloads, tokens, queries or bodies."""

from __future__ import annotations

import json
import logging
import sys
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("tramontana.access")


class JsonLines(logging.Formatter):
    """`{"at", "level", "from", "what"}`, with a traceback under `trace` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"at": round(record.created, 3), "level": record.levelname.lower(), "from": record.name, "what": record.getMessage()}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(level: str) -> None:
    """Send the log of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for talkative in ("aiosqlite", "alembic", "sqlalchemy", "uvicorn"):  # at DEBUG: statements with their values, frames with tokens
        logging.getLogger(talkative).setLevel(logging.WARNING)


class AccessLog:
    """One line per request: method, path without its query, status, milliseconds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            logger.info("%s %s %d %.1f ms", scope["method"], scope["path"], status, (time.monotonic() - began) * 1000)
