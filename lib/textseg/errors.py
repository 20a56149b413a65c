"""Errors that a person reads. Each message names the fault and what to do next.

`status` is the HTTP status a viewer gets, `exit_code` what the command line returns
(1 failed, 2 bad input, 3 weights missing).
"""


class TextSegError(Exception):
    """Base of all errors that are meant for the user."""

    status = 500
    exit_code = 1


class PromptError(TextSegError):
    """The prompt cannot be used: wrong type, too long, or not understood."""

    status = 422
    exit_code = 2


class OptionError(TextSegError):
    """An option has a value that it does not take."""

    status = 422
    exit_code = 2


class PictureError(TextSegError):
    """The picture cannot be read, or is of a kind that is not supported."""

    status = 415
    exit_code = 2


class PictureNotFound(PictureError):
    """There is no such picture, or its name leads out of the studies folder."""

    status = 404


class NameTaken(PictureError):
    """Another picture has that name already."""

    status = 409


class DataError(TextSegError):
    """A data set, a prompts table or a stored file is not laid out as it must be."""

    status = 422
    exit_code = 2


class StoreError(TextSegError):
    """Prompts and labels cannot be kept or read: a full disk, no right to write, a store of a newer version."""

    status = 503


class LabelNotFound(TextSegError):
    """There is no such label."""

    status = 404
    exit_code = 2


class LabelProtected(TextSegError):
    """A machine's mask would take the place of a person's label."""

    status = 409
    exit_code = 2


class ServerBusy(TextSegError):
    """More requests wait than are taken; come back later."""

    status = 503


class UnknownModel(TextSegError):
    """No model of that name is in the registry."""

    status = 404
    exit_code = 2


class ModelNotServed(TextSegError):
    """The model is known, but not served here, so that it cannot be retrained here."""

    status = 409
    exit_code = 2


class WeightsMissing(TextSegError):
    """The model has no weights here, or they do not fit it."""

    status = 503
    exit_code = 3


class VersionError(TextSegError):
    """A version of a model cannot be published, or there is no such version to go back to."""

    status = 409
    exit_code = 2


class OutOfMemory(TextSegError):
    """A training needs more memory than there is, even with one picture at a time."""


class TrainingDiverged(TextSegError):
    """The loss of a training, or a weight, is no finite number any more."""


class TrainingRuns(TextSegError):
    """Another training of the model has not ended."""

    status = 429


class SomeFailed(TextSegError):
    """Of several things that were asked for at once, some could not be done; the others are."""
