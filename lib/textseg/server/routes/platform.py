"""What the server offers besides pictures and masks: /, /info, /logs, /ohif, /proxy, /train, /batch and /reload."""

import html
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance

from textseg import __version__
from textseg.server.routes.logs import POLICY, logs_router
from textseg.server.routes.proxy import archive_asked, proxy_router
from textseg.server.routes.reload import reload_router
from textseg.server.routes.tasks import tasks_router
from textseg.server.routes.viewer import viewer_router

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>textseg</title><style>
body {{ max-width: 42em; margin: 3em auto; padding: 0 1em; font: 1.1em/1.5 sans-serif }}
</style></head><body>
<h1>textseg {version}</h1>
<p>This is a MONAI Label server. It segments lung infection on chest X-rays from a written prompt.
<strong>It is not a medical device.</strong></p>
<h2>3D Slicer</h2>
<p>Install the extension <em>MONAILabel</em>, open the module <em>MONAI Label</em>, write <code>{address}</code> into
<em>MONAI Label server</em> and click the round arrows. Click <em>Next Sample</em>, write into the cell beside
<em>prompt</em> under <em>Options</em>, and click <em>Run</em>.</p>
<h2>Here</h2>
<ul>
<li><a href="textseg/">textseg/</a>: what is left to do: labels, training, the pictures worth most to label</li>
<li><a href="info/">info/</a>: the models served and their options</li>
<li><a href="ohif/">ohif/</a>: the OHIF viewer, for studies in a DICOMweb archive</li>
<li><a href="openapi.json">openapi.json</a>: every address of this server</li>
</ul></body></html>
"""


def platform_router() -> APIRouter:
    """All of them in one router."""
    router = APIRouter()
    user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
    router.add_api_route("/", front_page, include_in_schema=False, response_class=HTMLResponse)
    router.add_api_route("/info/", read_info, tags=["App"], summary="Get App Info", dependencies=[user])
    for part in (logs_router(), viewer_router(), proxy_router(), tasks_router(), reload_router()):
        router.include_router(part)
    return router


def front_page(request: Request) -> HTMLResponse:
    """What this server is, for somebody who opens its address in a browser."""
    address = html.escape(str(request.base_url).rstrip("/"))
    return HTMLResponse(PAGE.format(version=__version__, address=address), headers=POLICY)


def read_info() -> dict[str, Any]:
    """What is served, as a viewer asks for it when it connects."""
    with archive_asked():
        return app_instance().info()
