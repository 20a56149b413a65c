"""What of the server can be reached: its routes, behind the guard, the login and one way to tell errors."""

import logging

from monailabel.app import app as platform

from textseg.server.guard import guard_holds, secure
from textseg.server.guard_rules import GuardRules, rules_for
from textseg.server.login import login_router
from textseg.server.request_log import install_request_log
from textseg.server.routes.activelearning import activelearning_router
from textseg.server.routes.datastore import datastore_router
from textseg.server.routes.infer import infer_router
from textseg.server.routes.login_form import login_form_router
from textseg.server.routes.opened import open_routes
from textseg.server.routes.platform import platform_router
from textseg.server.routes.session import session_router
from textseg.server.routes.status import status_router

logger = logging.getLogger(__name__)


def open_wire(allow_remote: bool) -> None:
    """Replace MONAI Label's routes by the app's own, put the guard before them and try it once."""
    rules = rules_for(allow_remote)
    routers = (
        platform_router(),
        login_router(),
        infer_router(),
        activelearning_router(),
        datastore_router(),
        session_router(),
        login_form_router(),
        status_router(),
    )
    open_routes(platform, routers)
    secure(platform, rules)
    install_request_log()
    if not guard_holds(platform, rules):
        logger.error("The guard does not hold: a request that must be refused was answered. Stop this server.")
    _tell(rules)


def _tell(rules: GuardRules) -> None:
    if rules.login:
        logger.info("Login is on: whoever has a valid token is let in, from any machine.")
    elif rules.allow_remote:
        logger.warning(
            "--conf allow_remote true: every machine that reaches this one can see the pictures, run the models, and "
            "change or delete pictures and labels, without a password. Use it in a closed network only."
        )
    else:
        logger.info("Only this machine is answered. For others: --conf allow_remote true, or MONAI Label's login.")
