"""Serves the built web client: the phone, the console and their assets."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"

NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tramontana</title></head>
<body><h1>The web client is not built</h1>
<p>The server runs, but this installation has no phone and no console in it. In the source tree run <code>make web</code>
(it needs Node 20), or install a released wheel, which holds them. Then load this page again.</p></body></html>
"""


class _Files(StaticFiles):
    """Files of a directory that may not be there yet: then nothing is found."""

    async def check_config(self) -> None:
        return


class _Assets(_Files):
    """Files whose names carry a hash of their content: they never change."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def pages_router(static: Path = STATIC) -> APIRouter:
    """The pages, from a directory that the web build fills."""
    router = APIRouter(include_in_schema=False)

    def page(file: Path) -> Response:
        if not file.is_file():
            return HTMLResponse(NOT_BUILT, status_code=503, headers={"Cache-Control": "no-store"})
        return FileResponse(file, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

    @router.get("/")
    async def start() -> Response:
        return page(static / "index.html")

    @router.get("/phone")
    async def phone() -> Response:
        return page(static / "phone.html")

    @router.get("/console")
    async def console() -> Response:
        return page(static / "console.html")

    return router


def files(static: Path = STATIC) -> StaticFiles:
    """Files at the root of the web build (icons, base map, manifest)."""
    return _Files(directory=static, check_dir=False)


def assets(static: Path = STATIC) -> StaticFiles:
    """The build's hashed assets."""
    return _Assets(directory=static / "assets", check_dir=False)
