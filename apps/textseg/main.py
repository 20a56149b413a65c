"""What `monailabel start_server --app apps/textseg` loads. The app itself is the installed package `textseg`."""

from textseg.server.app import TextSegApp

__all__ = ["TextSegApp"]
