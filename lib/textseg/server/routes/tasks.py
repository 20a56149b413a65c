"""/train and /batch: the work that MONAI Label does in a process of its own, as its clients ask for it."""

from collections.abc import Collection, Mapping
from typing import Any

from fastapi import APIRouter, Depends
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.tasks.batch_infer import BatchInferImageType
from monailabel.interfaces.utils.app import app_instance

from textseg.errors import ModelNotServed, OptionError, UnknownModel
from textseg.model_spec import ModelSpec
from textseg.registry import MODELS
from textseg.server.http_errors import told_to_the_client
from textseg.server.routes.jobs import Params, Tasks, check_not_sync, check_params
from textseg.text.hints import shown

BATCH_PARAMS = {  # of MONAI Label, where a client sends none
    "device": "cuda",
    "multi_gpu": True,
    "gpus": "all",
    "logging": "WARNING",
    "save_label": True,
    "label_tag": "original",
    "max_workers": 1,
    "max_batch_size": 0,
}
BODY = {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}


class Training(Tasks):
    """/train."""

    method = "train"

    def status(self, all: bool = False, check_if_running: bool = False) -> Any:
        """As of every task; the last one also tells how far it is, and what became of it."""
        found = super().status(all, check_if_running)
        last = found[-1] if isinstance(found, list) else found
        trainer = app_instance()._trainers.get(last["request"].get("model"))
        if trainer is not None:
            last["train_stats"] = trainer.stats()
        return found

    def start_all(self, params: Params = None, run_sync: bool = False) -> dict[str, Any]:
        """Train every model, one after the other: the params of each under its name, those of all beside."""
        sent = params or {}
        with told_to_the_client():
            trainers = self._trainers()
            check_not_sync(run_sync)
            common = {key: value for key, value in sent.items() if key not in trainers}
            requests = [{"model": name, **_own(sent, name), **common} for name in trainers]
            for name, request in zip(trainers, requests, strict=True):
                check_params(request, name)
                trainers[name].check(request)
        return {task["request"]["model"]: {"result": task, "detail": None} for task in self.begin(requests)}

    def start(self, model: str, params: Params, run_sync: bool = False, enqueue: bool = False) -> dict[str, Any]:
        """Train one model."""
        request = {"model": model, **(params or {})}
        with told_to_the_client():
            trainers = self._trainers()
            if model in MODELS and model not in trainers:
                raise ModelNotServed(_not_served(MODELS[model], trainers))
            if model not in trainers:
                raise UnknownModel(f"No model {shown(model, 60)} is trained here. Trained: {', '.join(trainers)}.")
            check_not_sync(run_sync)
            check_params(request, model)
            trainers[model].check(request)
        return self.begin([request], enqueue)[0]

    def _trainers(self) -> Mapping[str, Any]:
        trainers = app_instance()._trainers
        if not trainers:
            raise UnknownModel("No model is trained here: this server was started without any that can be.")
        return trainers


class BatchInference(Tasks):
    """/batch/infer."""

    method = "batch_infer"

    def start(
        self,
        model: str,
        params: Params,
        images: BatchInferImageType = BatchInferImageType.IMAGES_ALL,
        run_sync: bool = False,
    ) -> dict[str, Any]:
        """Segment all pictures, or all that have a label or none, with one model."""
        sent = BATCH_PARAMS if params is None else params
        request = {"model": model, "images": images.value, **sent}
        with told_to_the_client():
            instance = app_instance()
            if not callable(instance._batch_infer):
                raise UnknownModel("Batch inference is switched off on this server.")
            if model not in instance._infers:
                raise UnknownModel(
                    f"No model {shown(model, 60)} is served here. Served: {', '.join(instance._infers)}."
                )
            check_not_sync(run_sync)
            check_params(request, model)
        return self.begin([request])[0]


def tasks_router() -> APIRouter:
    """GET, POST and DELETE of /train/ and /batch/infer: users may look, administrators start and stop."""
    user = [Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]
    admin = [Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))]
    training, batch = Training(), BatchInference()
    router = APIRouter()
    for tag, path, tasks in (("Train", "/train/", training), ("Infer", "/batch/infer", batch)):
        router.add_api_route(path, tasks.status, dependencies=user, tags=[tag], summary=f"Status: {tasks.method}")
        router.add_api_route(
            path, tasks.stop, methods=["DELETE"], dependencies=admin, tags=[tag], summary=f"Stop: {tasks.method}"
        )
    start: dict[str, Any] = {"methods": ["POST"], "dependencies": admin, "openapi_extra": BODY}
    router.add_api_route("/train/", training.start_all, tags=["Train"], summary="Train all models", **start)
    router.add_api_route("/train/{model}", training.start, tags=["Train"], summary="Train one model", **start)
    router.add_api_route("/batch/infer/{model}", batch.start, tags=["Infer"], summary="Batch inference", **start)
    return router


def _not_served(spec: ModelSpec, trainers: Collection[str]) -> str:
    """Why a known model cannot be retrained here, and what to do."""
    what = f"{spec.name} is not served here, and only what is served is retrained: {', '.join(trainers)}."
    if spec.has_weights:
        return f'{what} Start the server with --conf models "{spec.name}".'
    return f"{what} It has no weights: first {spec.remedy}, then serve them by --conf weights FOLDER."


def _own(params: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The params of one trainer among those of all."""
    own = params.get(name) or {}
    if not isinstance(own, dict):
        raise OptionError(f"The params of {name} are a JSON object, not {shown(own, 60)}.")
    return own
