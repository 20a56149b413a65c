"""The only list of models in the project. Pure data: imports neither torch nor anything slow.

Server, command line, tests and documents all read MODELS, so that they cannot drift apart.
"""

from collections.abc import Mapping
from types import MappingProxyType

from textseg.errors import UnknownModel
from textseg.model_spec import ModelSpec, Published

_C2FVL_PAPER = "Shan et al., Coarse-to-Fine Covid-19 Segmentation via Vision-Language Alignment, ICASSP 2023"
_TGCAM_PAPER = (
    "Guo et al., Common Vision-Language Attention for Text-Guided Medical Image Segmentation of Pneumonia, MICCAI 2024"
)
_RECLMIS_PAPER = (
    "Huang et al., Cross-Modal Conditioned Reconstruction for Language-guided Medical Image Segmentation, "
    "IEEE Transactions on Medical Imaging 2025"
)
# What the compact models have in common: a pretrained light encoder, and half an hour to two hours on two CPU cores.
_COMPACT = {
    "batch": 16,
    "rate": 2e-3,
    "encoder_rate": 4e-4,
    "weight_decay": 0.02,
    "clip": 5.0,
    "schedule": "cosine",
    "warm_up": 150,
    "average": 0.998,
    "phantoms": 300,
    "pretrained": True,
}
_COMPACT_AUGMENT = {"rotate": 10.0, "scale": 0.15, "shift": 0.06, "contrast": 0.5, "noise": 0.3}
# RecLMIS's loss counts the mask five times, hence the higher bound on the gradient's length.
_RECLMIS_COMPACT = _COMPACT | {
    "epochs": 5,
    "encoder_from": "c2fvl-compact",
    "rate": 1e-3,
    "clip": 25.0,
    "loss": {"merge_equal": True},
    "augment": _COMPACT_AUGMENT | {"blur": 0.5, "no_text": 0.1, "partial": 0.3, "healthy": 0.15, "coarse": 0.1},
}
# TGCAM's two: learning rates of the paper, and of the work that it follows for all that it leaves open (Zhong et al.,
# MICCAI 2023): 200 epochs to the floor, at most 100 of them.
_TGCAM_PUBLISHED = {
    "epochs": 100,
    "batch": 32,
    "weight_decay": 0.01,
    "schedule": "cosine",
    "pretrained": True,
    "augment": {"flip": 0.0, "rotate": 0.0, "zoom": 0.1},
}

# RecLMIS's: Adam without decay or clipping, the sentence left as it is when the picture is turned.
_RECLMIS_PUBLISHED = {
    "rate": 3e-4,
    "encoder_rate": 3e-4,
    "mixed": False,
    "augment": {"kind": "published", "row_blur": 0.5, "photometric": True},
}
_RECLMIS_CLIP = {
    "paper": _RECLMIS_PAPER,
    "network": "reclmis",
    "text_encoder": "clip",
}
_RECLMIS_REFERENCE = {"kv_from": "fused", "mask_padding": False}

MODELS: Mapping[str, ModelSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            ModelSpec(
                name="c2fvl-compact",
                title="C2FVL on EfficientNet-Lite0, small enough for two CPU cores",
                paper=_C2FVL_PAPER,
                network="c2fvl",
                recipes={
                    "compact": _COMPACT
                    | {
                        "epochs": 7,
                        "loss": {"dice": 1.0, "cross_entropy": 0.25, "alignment": 0.25},
                        "augment": _COMPACT_AUGMENT | {"no_text": 0.12, "partial": 0.3, "coarse": 0.15},
                    }
                },
                parameters=3_788_376,
                settings={"width": 16, "encoder": "tf_efficientnet_lite0"},
            ),
            ModelSpec(
                name="c2fvl",
                title="C2FVL as published",
                paper=_C2FVL_PAPER,
                network="c2fvl",
                recipes={
                    "paper": {
                        "epochs": 2000,
                        "batch": 4,
                        "rate": 1e-3,
                        "encoder_rate": 1e-3,
                        "floor": 0.1,
                        "patience": 50,
                        "first_kept": 6,
                        "augment": {"upend": 0.5},
                    }
                },
                parameters=24_196_088,
                published=Published(
                    weights="24.0 M",
                    multiply_adds='55.7 G "FLOPs"',
                    note="Counted as tables of this literature do: multiply-adds of a batch of two, position tables "
                    "not among the weights. Reports of about 40.5 M weights count parts that are built but never run. "
                    "As written, one picture takes 27.80 G; ours is less by rewritings that give the same function.",
                ),
            ),
            ModelSpec(
                name="tgcam-compact",
                title="TGCAM on EfficientNet-Lite0 with a small text encoder of its own",
                paper=_TGCAM_PAPER,
                network="tgcam",
                recipes={
                    "compact": _COMPACT
                    | {
                        "epochs": 19,
                        "batch": 32,
                        "rate": 1e-3,
                        "average": 0.999,
                        "loss": {"dice": 1.0, "cross_entropy": 0.5},
                        "augment": _COMPACT_AUGMENT | {"no_text": 0.1, "partial": 0.3, "healthy": 0.15, "coarse": 0.1},
                    }
                },
                parameters=5_760_073,
                settings={
                    "encoder": "tf_efficientnet_lite0",
                    "widths": (32, 64, 160, 320),
                    "channels": 8,
                    "cam_residual": True,
                    "scale_common": True,
                    "positions": True,
                },
                text_encoder="compact",
            ),
            ModelSpec(
                name="tgcam",
                title="TGCAM as published, on ConvNeXt-Tiny and CXR-BERT",
                paper=_TGCAM_PAPER,
                network="tgcam",
                recipes={
                    "paper": _TGCAM_PUBLISHED | {"rate": 1e-5, "encoder_rate": 1e-5, "floor": 0.1},
                    "at": _TGCAM_PUBLISHED
                    | {"rate": 3e-4, "encoder_rate": 3e-4, "floor": 1 / 300, "period": 200, "patience": 20},
                },
                parameters=39_229_369,
                settings={"encoder": "convnext_tiny"},
                text_encoder="cxr-bert",
                needs=("convnext-tiny",),
            ),
            ModelSpec(
                name="reclmis-compact",
                title="RecLMIS on EfficientNet-Lite0 with a small text encoder of its own",
                paper=_RECLMIS_PAPER,
                network="reclmis",
                recipes={
                    "compact": _RECLMIS_COMPACT,
                    "alone": _RECLMIS_COMPACT | {"loss": {"mask": 5.0, "words": 0.0, "patches": 0.0, "contrast": 0.0}},
                },
                parameters=5_527_263,
                settings={
                    "width": 16,
                    "encoder": "tf_efficientnet_lite0",
                    "kv_from": "text",
                    "layers": 2,
                    "rec_detach": True,
                },
                text_encoder="compact",
                text_settings={"width": 128, "length": 32},
            ),
            ModelSpec(
                name="reclmis",
                title="RecLMIS as published, for radiographs",
                recipes={
                    "qata": _RECLMIS_PUBLISHED
                    | {"epochs": 2000, "batch": 32, "schedule": "restarts", "floor": 1 / 3, "patience": 100},
                    "paper": _RECLMIS_PUBLISHED | {"epochs": 200, "batch": 32, "schedule": "cosine", "floor": 0.0},
                },
                parameters=60_677_951,
                settings=_RECLMIS_REFERENCE | {"layers": 4},
                text_settings={"length": 18},
                published=Published(
                    weights="23.7 M",
                    multiply_adds='24.1 G "FLOPs"',
                    note="Counted as multiply-adds of one picture, without the inside of the attentions. The published "
                    "number of weights cannot hold the text encoder's 63.4 M and is 4.7 M more than the mask's path "
                    "has otherwise. In training 74.2 M are told.",
                ),
                **_RECLMIS_CLIP,
            ),
            ModelSpec(
                name="reclmis-ct",
                title="RecLMIS as published, for CT slices",
                recipes={
                    "mosmed": _RECLMIS_PUBLISHED
                    | {"epochs": 400, "batch": 20, "schedule": "decay", "floor": 0.1, "patience": 30},
                },
                parameters=50_163_519,
                settings=_RECLMIS_REFERENCE | {"layers": 3, "mask_patches": 0.3, "score_dropout": 0.5},
                text_settings={"length": 18},
                modalities=("ct",),
                **_RECLMIS_CLIP,
            ),
        )
    }
)

# The best on the validation rows (mean Dice per image, right text) among the models with shipped weights.
DEFAULT_MODEL = "tgcam-compact"


def model_spec(name: object) -> ModelSpec:
    """The model of that name. Raises UnknownModel with the names that exist."""
    if not isinstance(name, str) or name not in MODELS:
        raise UnknownModel(f"There is no model {str(name)[:80]!r}. Known models: {', '.join(MODELS)}.")
    return MODELS[name]
