"""The MONAI Label app. MONAI Label builds one TextSegApp in the server and one in each job that it starts."""

import logging
import uuid
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.infer_v2 import InferTask

from textseg import __version__
from textseg.engine.predictor import Predictor
from textseg.errors import PictureNotFound, UnknownModel
from textseg.registry import served_models
from textseg.server.http_errors import told_to_the_client
from textseg.server.infer import LABEL, TextSegInfer
from textseg.server.names import check_tag
from textseg.server.studies import Studies
from textseg.text.hints import shown

SETTINGS = ("models", "server_mode")
logger = logging.getLogger(__name__)


class TextSegApp(MONAILabelApp):
    """Text-prompted segmentation. `--conf models a,b|all` chooses the models; without it the default one is served."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str] | None) -> None:
        conf = conf or {}
        for key in sorted(set(conf) - set(SETTINGS)):
            logger.warning("--conf %s is not known here and changes nothing; known: %s", key, ", ".join(SETTINGS))
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="textseg",
            description="Segments lung infection on chest X-rays from a written prompt. Not a medical device.",
            version=__version__,
            labels=[LABEL],
        )

    def init_datastore(self) -> Datastore:
        """The studies folder; a DICOMweb address as in MONAI Label itself."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        return Studies(
            self.studies, settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD, settings.MONAI_LABEL_DATASTORE_READ_ONLY
        )

    def init_infers(self) -> dict[str, InferTask]:
        """One task per model served, loaded and warmed up before the first request."""
        tasks = {}
        for spec in served_models(self.conf.get("models")):
            predictor = Predictor.load(spec)
            predictor.warm_up()
            tasks[spec.name] = TextSegInfer(predictor)
        return tasks

    def on_init_complete(self) -> None:
        """The last word before the first request: what is served, and how to go on."""
        super().on_init_complete()
        logger.info(
            "Ready: %s; %d pictures. In 3D Slicer: module MONAI Label, connect, Next Sample, write into the cell "
            "beside `prompt` under Options, Run.",
            ", ".join(self._infers),
            len(self.datastore().list_images()),
        )

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """One infer request of a viewer. A client's mistake becomes an HTTP error whose sentence the viewer shows."""
        datastore = datastore or self.datastore()
        request_id = uuid.uuid4().hex[:12]
        with told_to_the_client(request_id):
            task = self._task(request.get("model"))
            image_id, path, row = self._picture(request, datastore)
            saved = bool(request.get("save_label") and image_id)
            tag = check_tag(request.get("label_tag", DefaultLabelTag.ORIGINAL.value)) if saved else ""
            file, params = task({**request, "image": path, "row": row, "request_id": request_id})
        label = file
        if saved:
            try:
                label = datastore.save_label(image_id, file, tag, {"model": task.predictor.spec.name, "params": params})
            except Exception:
                Path(file).unlink(missing_ok=True)
                raise
        return {"label": label, "tag": DefaultLabelTag.ORIGINAL, "file": file, "params": params}

    def _task(self, model: object) -> TextSegInfer:
        if not isinstance(model, str) or model not in self._infers:
            raise UnknownModel(f"No model {shown(model)} is served here. Served: {', '.join(self._infers)}.")
        return self._infers[model]

    def _picture(self, request: dict[str, Any], datastore: Datastore) -> tuple[str, str, Any]:
        """(picture id, "" in a session; its file; its row in prompts.csv or None)."""
        if self._in_session(request):
            return "", request["image"], None
        image_id = request.get("image")
        if isinstance(datastore, Studies):
            return image_id, str(datastore.picture_path(image_id)), datastore.prompt_row(image_id)
        path = datastore.get_image_uri(image_id)
        if not path or not Path(path).exists():
            raise PictureNotFound(f"There is no picture {shown(image_id)} in the studies.")
        return image_id, path, None

    def _in_session(self, request: dict[str, Any]) -> bool:
        """True when the picture is one that the server itself took into a session."""
        named = request.get("session")
        if not isinstance(named, dict) or self.sessions() is None:
            return False
        session = self.sessions().get_session(named.get("name"))
        return session is not None and session.image == request.get("image")
