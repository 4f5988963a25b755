"""Serves the built web client: the phone, the console and their assets."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"
PAGES = {"/phone": "phone.html", "/console": "console.html"}

NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tramontana</title></head>
<body><h1>The web client is not built</h1>
<p>The server runs, but this installation has no phone and no console in it. In the source tree run <code>make build</code>
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

    @router.get("/")
    async def root() -> Response:
        return RedirectResponse("/phone", status_code=307)

    def page(file: Path) -> Response:
        if not file.is_file():
            return HTMLResponse(NOT_BUILT, status_code=503, headers={"Cache-Control": "no-store"})
        return FileResponse(file, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

    @router.get("/phone")
    async def phone() -> Response:
        return page(static / PAGES["/phone"])

    @router.get("/console")
    async def console() -> Response:
        return page(static / PAGES["/console"])

    return router


def files(static: Path = STATIC) -> StaticFiles:
    """Files at the root of the web build (icons, base map, manifest)."""
    return _Files(directory=static, check_dir=False)


def assets(static: Path = STATIC) -> StaticFiles:
    """The build's hashed assets."""
    return _Assets(directory=static / "assets", check_dir=False)
