"""One model on many pictures, each with its own text, as MONAI Label's batch job."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.batch_infer import BatchInferTask

from textseg.server.request_log import told_error

logger = logging.getLogger(__name__)


class BatchRuns(BatchInferTask):
    """Every picture gets the text that is known of it; its mask is saved under the tag original.

    A picture that cannot be used, or at which the server fails, is named and left out. Its mask never takes the place
    of a person's label.
    """

    def __call__(self, request: dict[str, Any], datastore: Datastore, infer: Callable[..., dict[str, Any]]) -> Any:
        """request: `model`, `images` (all, labeled, unlabeled or a list of ids), `max_batch_size`, `label_tag`."""
        pictures = sorted(self.get_images(request, datastore))
        most = request.get("max_batch_size") or 0
        pictures = pictures[:most] if isinstance(most, int) and most > 0 else pictures
        results = {}
        for number, picture in enumerate(pictures, start=1):
            tag = request.get("label_tag") or DefaultLabelTag.ORIGINAL.value
            job = {"model": request.get("model"), "image": picture, "save_label": True, "label_tag": tag}
            results[picture] = self._one(job, datastore, infer)
            logger.info("%d of %d pictures", number, len(pictures))
        return results

    def _one(self, job: dict[str, Any], datastore: Datastore, infer: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        try:
            done = infer(job, datastore)
        except HTTPException as refused:  # its sentence may quote a prompt, and MONAI Label logs what a job returns
            logger.warning("%s is left out: %d", job["image"], refused.status_code)
            return {"done": False, "status": refused.status_code}
        except Exception as error:  # the fault is the server's, and no reason to leave out the pictures after this one
            told = told_error(error, words=logger.isEnabledFor(logging.DEBUG))
            logger.error("%s is left out, the server failed at it:\n%s", job["image"], told)
            return {"done": False, "status": 500}
        Path(done["file"]).unlink(missing_ok=True)
        return {"done": True, "label": done["label"]}
