"""The MONAI Label app. MONAI Label builds one TextSegApp in the server and one in each job that it starts."""

import logging
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from textseg import __version__
from textseg.data.joined import CLASS_LABEL
from textseg.data.store.clients import Client
from textseg.errors import PictureNotFound, StoreError, UnknownModel
from textseg.server.batch import BatchRuns
from textseg.server.caller import current_caller
from textseg.server.conf import SETTINGS, count_of, is_on
from textseg.server.delivery import state_of
from textseg.server.http_errors import told_to_the_client
from textseg.server.infer import Job, Outcome, TextSegInfer
from textseg.server.infer_queue import InferQueue
from textseg.server.labelled import labelled_since
from textseg.server.names import check_tag
from textseg.server.next_pictures import NextPictures
from textseg.server.presegmented import shown_again
from textseg.server.retrain_after import RetrainAfter
from textseg.server.routes.tasks import Training
from textseg.server.served import served_predictors
from textseg.server.sessions import SafeSessions
from textseg.server.studies import Studies
from textseg.server.temporary import clear_left_behind
from textseg.server.train import TextSegTrain, last_start, stay_behind, tell_trainings, training_settings
from textseg.server.wire import open_wire
from textseg.text.hints import shown

SESSION_PROMPT_SECONDS = 24 * 3600.0  # a label of a session is submitted on the same day
logger = logging.getLogger(__name__)


class TextSegApp(MONAILabelApp):
    """Text-prompted segmentation. Settings (--conf): see `conf.SETTINGS`."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str] | None) -> None:
        conf = conf or {}
        for key in sorted(set(conf) - set(SETTINGS)):
            logger.warning("--conf %s is not known here and changes nothing; known: %s", key, ", ".join(SETTINGS))
        self._retraining: RetrainAfter | None = None
        self.infer_queue = InferQueue()
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="textseg",
            description="Segments lung infection on chest X-rays from a written prompt. Not a medical device.",
            version=__version__,
            labels=[CLASS_LABEL],
        )

    def init_datastore(self) -> Datastore:
        """The studies folder; a DICOMweb address as in MONAI Label itself."""
        if self.studies.startswith(("http://", "https://")):
            datastore = super().init_datastore()
        else:
            datastore = Studies(
                self.studies, settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD, settings.MONAI_LABEL_DATASTORE_READ_ONLY
            )
        self.next_pictures = NextPictures(datastore, self.conf)
        self.ranking = self.next_pictures.ranking
        return datastore

    def init_infers(self) -> dict[str, InferTask]:
        """One task per model served, loaded and warmed up before the first request."""
        return {each.spec.name: TextSegInfer(each) for each in served_predictors(self.conf, Path(self.app_dir))}

    def init_trainers(self) -> dict[str, TrainTask]:
        """One task per model served: stock OHIF starts every trainer that is listed."""
        settings_ = training_settings(self.conf, self.studies)
        return {name: TextSegTrain(task.current, settings_) for name, task in self._infers.items()}

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The picture that the strategy chooses, what is known of its words, and sentences for whoever gets it."""
        return self.next_pictures.with_words(super().next_sample(request))

    def init_strategies(self) -> dict[str, Strategy]:
        """What Next Sample offers."""
        return self.next_pictures.strategies

    def init_batch_infer(self) -> BatchRuns:
        """All pictures one after the other."""
        return BatchRuns()

    def on_init_complete(self) -> None:
        """Before the first request: the wire is closed but for what is open, and what is served is told."""
        clear_left_behind()
        tell_trainings()
        open_wire(allow_remote=is_on(self.conf, "allow_remote"))
        super().on_init_complete()
        self.on_reloaded()
        logger.info(
            "Ready: %s; %d pictures. In 3D Slicer: module MONAI Label, connect, Next Sample, write into the cell "
            "beside `prompt` under Options, Run.",
            ", ".join(self._infers),
            len(self.datastore().list_images()),
        )

    def on_reloaded(self) -> None:
        """What goes on beside the requests begins; only in an app that serves."""
        self._retraining = self._retrain_after(count_of(self.conf, "retrain_after"))
        self.next_pictures.begin(next(iter(self._infers.values())).current, self.infer_queue)

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """MONAI Label's hook in the process that it starts for a training."""
        stay_behind()
        return super().train(request)

    def on_save_label(self, image_id: str, label_id: str) -> dict[str, Any]:
        """MONAI Label's hook after every submitted label."""
        self.next_pictures.submitted(image_id)
        if self._retraining:
            self._retraining.submitted(image_id)
        return {}

    def close(self) -> None:
        """End what runs beside the requests, when another instance takes over."""
        if self._retraining:
            self._retraining.close()
        self.next_pictures.close()
        if isinstance(self._datastore, Studies):
            self._datastore.close()

    def cleanup_sessions(self) -> None:
        """MONAI Label's hook, every five minutes: old sessions go, and the prompts that were asked in them."""
        super().cleanup_sessions()
        if isinstance(self._datastore, Studies) and self._datastore.keeping.writable:
            self._datastore.keeping.clients.drop_session_prompts(SESSION_PROMPT_SECONDS)

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """One run on one picture. A client's mistake becomes an HTTP error whose sentence the viewer shows.

        What was asked is remembered with the picture before the mask is given out.
        """
        datastore = datastore or self.datastore()
        client = Client(str(request.get("client_id") or ""), current_caller().address)
        with told_to_the_client():
            task = self._task(request.get("model"))
            tag = check_tag(request.get("label_tag") or DefaultLabelTag.ORIGINAL.value)
            job = self._job(request, datastore, client)
            if again := shown_again(datastore, job, task.folder, task.current.last.spoken):
                return again
            outcome = task.run(job)
            try:
                label = self._kept(request, datastore, client, job, outcome, tag)
            except Exception:
                outcome.file.unlink(missing_ok=True)
                raise
        return {
            "label": label,
            "tag": DefaultLabelTag.ORIGINAL,
            "file": str(outcome.file),
            "params": outcome.reply,
        }

    def _kept(
        self,
        request: dict[str, Any],
        datastore: Datastore,
        client: Client,
        job: Job,
        outcome: Outcome,
        tag: str,
    ) -> str:
        """Remembers the run, saves its mask as a label where that is asked for; returns the label id or the file."""
        if not isinstance(datastore, Studies):
            return str(outcome.file)
        entry = outcome.entry(client, str(request.get("user") or ""), str(request["model"]))
        keeping = datastore.keeping
        if self._own_file(request):
            if keeping.writable:
                keeping.remember_session_run(client, outcome.picture, entry)
            return str(outcome.file)
        image_id = str(request["image"])
        if keeping.writable:
            keeping.remember_run(image_id, job.picture, job.seen, outcome.picture, entry, outcome.mask)
            self.next_pictures.asked(image_id)
        else:
            outcome.reply["warnings"].append("The studies folder cannot be written: this prompt is not remembered.")
        if not request.get("save_label"):
            return str(outcome.file)
        if not keeping.writable:
            raise StoreError("The studies folder cannot be written: no label is saved. Give the server the right to.")
        keeping.save_run(image_id, tag, outcome.file, entry, {"params": outcome.reply})
        return image_id

    def _retrain_after(self, count: int) -> RetrainAfter | None:
        """What begins trainings by itself; None where that is not asked for."""
        studies = self._datastore
        if not count or not self._trainers or not isinstance(studies, Studies):
            return None
        trainers = self._trainers.values()
        return RetrainAfter(count, Training().start_all, lambda: labelled_since(studies, last_start(trainers)))

    def _task(self, model: object) -> TextSegInfer:
        if not isinstance(model, str) or model not in self._infers:
            raise UnknownModel(f"No model {shown(model)} is served here. Served: {', '.join(self._infers)}.")
        return self._infers[model]

    def _job(self, request: dict[str, Any], datastore: Datastore, client: Client) -> Job:
        """What is to be done. Raises TextSegError for a picture that is not there."""
        own = self._own_file(request)
        if isinstance(datastore, Studies):
            return self._job_in_studies(request, datastore, client, own)
        path = own or datastore.get_image_uri(request.get("image"))
        if not path or not Path(path).exists():
            raise PictureNotFound(f"There is no picture {shown(request.get('image'))} in the studies.")
        return Job(request, Path(path), current_caller().request_id)

    def _job_in_studies(self, request: dict[str, Any], studies: Studies, client: Client, own: str) -> Job:
        """own: a file that has no name in the studies; of it nothing is known, but its text is the client's last."""
        image_id = "" if own else request.get("image")
        path = Path(own) if own else studies.picture_path(image_id)
        text = (request.get("prompt") or "", request.get("preset") or "")
        keeping = studies.keeping
        carried = keeping.writable and keeping.clients.carried_over(client, str(image_id), *text)
        if own:
            return Job(request, path, current_caller().request_id)
        seen = state_of(path).hex()
        known = keeping.known(image_id, path)
        said = (known.row, known.fault, known.history.remembered)
        return Job(request, path, current_caller().request_id, *said, carried, seen)

    def _own_file(self, request: dict[str, Any]) -> str:
        """A file that the server itself took in, for a session or with the request; "" when the picture has an id."""
        session = request.get("session")
        if isinstance(session, dict) and self.sessions() is not None:
            found = self.sessions().get_session(session.get("name"))
            return found.image if found is not None and found.image == request.get("image") else ""
        uploaded = request.get("uploaded")
        return str(uploaded) if isinstance(uploaded, Path) else ""

    def _load_sessions(self, load: bool = False) -> SafeSessions | None:
        """MONAI Label's hook: sessions that a half-written file cannot take down."""
        if not load:
            return None
        return SafeSessions(settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY)
