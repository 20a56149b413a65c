"""What stock 3D Slicer's MONAI Label module does, call by call, with the client that it uses; for one person."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from monailabel.client import MONAILabelClient

from harness import Server, three_dimensional
from textseg.registry import DEFAULT_MODEL


class Slicer:
    """One Slicer window: the options table keeps its text from picture to picture, segments stay until the next one."""

    def __init__(self, server: Server, folder: Path, client_id: str = "user-xyz") -> None:
        self.client = MONAILabelClient(server.url, tmpdir=str(folder), client_id=client_id)
        self.folder = folder
        self.options: dict[str, Any] = {}
        self.image = ""
        self.source: sitk.Image | None = None
        self.segments: dict[str, np.ndarray] = {}
        self.reply: dict[str, Any] = {}

    def connect(self) -> dict[str, Any]:
        """The round arrows: /info/, and the options as the table shows them, drop-downs by their first entry."""
        info = self.client.info()
        config = info["models"][DEFAULT_MODEL]["config"]
        self.options = {key: value[0] if isinstance(value, list) else value for key, value in config.items()}
        return info

    def next_sample(self, strategy: str = "random") -> dict[str, Any]:
        """Next Sample: the picture opens, with the label `original` where there is one that names its segments, and an
        empty segment per label; then the model runs by itself.
        """
        sample = self.client.next_sample(strategy, {})
        if sample.get("id"):
            self.open(sample["id"], sample["path"])
            self._open_original_label()
            self.segments.setdefault("infection", self._empty())
            self.run()
        return sample

    def open(self, image: str, path: str) -> None:
        """Load a picture; what was segmented before is gone."""
        self.image, self.source = image, three_dimensional(sitk.ReadImage(path))
        self.segments = {"infection": self._empty()}

    def _open_original_label(self) -> None:
        try:
            objects = self.client.datastore()["objects"]
            names = objects[self.image]["labels"]["original"]["info"]["params"]["label_names"]
            mask = sitk.GetArrayFromImage(sitk.ReadImage(self.client.download_label(self.image, "original")))
        except Exception:  # as Slicer does
            return
        self.segments = {name: mask == position for position, name in enumerate(names, start=1)}

    def type(self, prompt: str) -> None:
        """Write into the cell beside `prompt`."""
        self.options["prompt"] = prompt

    def run(self) -> dict[str, Any]:
        """Run: the reply's segments are cleared and filled; others stay."""
        request = {**self.options, "result_extension": ".nrrd", "result_dtype": "uint8"}
        file, self.reply = self.client.infer(DEFAULT_MODEL, self.image, request)
        mask = sitk.GetArrayFromImage(sitk.ReadImage(file))
        for position, name in enumerate(self.reply["label_names"], start=1):
            self.segments[name] = mask == position
        return self.reply

    @property
    def segment(self) -> str:
        """The name of the segment that the last run made."""
        return next(iter(self.reply["label_names"]))

    def submit(self) -> dict[str, Any]:
        """Submit Label, then /info/ again as Slicer does."""
        label = np.zeros(self._empty().shape, np.uint8)
        for position, mask in enumerate(self.segments.values(), start=1):
            label[mask] = position
        image = sitk.GetImageFromArray(label)
        image.CopyInformation(self.source)
        file = self.folder / "label.nii.gz"
        sitk.WriteImage(image, str(file))
        names = [{"name": name, "idx": position} for position, name in enumerate(self.segments, start=1)]
        reply = self.client.save_label(self.image, str(file), params={"label_info": names})
        self.client.info()
        return reply

    def _empty(self) -> np.ndarray:
        return np.zeros(self.source.GetSize()[::-1], bool)
