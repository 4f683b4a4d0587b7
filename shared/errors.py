"""The one error tree: every failure that Baton foresees, each with a message a user can act on.

A message is one sentence that says what is wrong and what to do. Turning an error into an HTTP status or an exit code
happens at the edge (`routes`, `cli`), never here.
"""


class BatonError(Exception):
    """Any failure that Baton foresees."""


class SettingsError(BatonError):
    """A setting or configuration file cannot be used."""


class UnreachableError(BatonError):
    """A part that Baton needs (NATS, PostgreSQL, MLflow, a predictor) does not answer."""


class UntrustedError(UnreachableError):
    """What answers cannot show that it is the part that is meant, or does not take us for whom we are."""


class ForbiddenError(BatonError):
    """The bus or a service does not let this user do what was asked."""


class UnauthorizedError(BatonError):
    """A request shows no key, or one that is not known."""


class TablesError(SettingsError):
    """MLflow's tables in the database are not as the capture reads them; the message names each difference."""


class StackError(BatonError):
    """The stack on this machine cannot start, or is held by somebody else."""


class EventError(BatonError):
    """A message on the bus is not what its subject promises.

    `field` is the part of the message that is wrong, in dotted form, empty for the message as a whole.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class RequestError(BatonError):
    """A train request cannot be carried out as it is written; trying again would not help.

    `field` names the part of the request that is wrong.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class TrainingError(BatonError):
    """A training ran and failed: `kind` is one of `failed`, `crashed`, `timeout`, `cancelled`, `unsupported`."""

    def __init__(self, message: str, kind: str = "failed") -> None:
        super().__init__(message)
        self.kind = kind


class BundleError(BatonError):
    """A bundle speaks against itself: `check` is the check that it did not pass.

    `check` is one of `download`, `digest`, `load`, `schema`, `warm_up`, `golden`, `deadline`.
    """

    def __init__(self, message: str, check: str) -> None:
        super().__init__(message)
        self.check = check


class RegistryError(BatonError):
    """MLflow's registry refused what was asked of it."""


class MissingArtifactError(RegistryError):
    """MLflow has no such artifact; trying again would not help."""


class PromotionConflictError(RegistryError):
    """The champion changed since the promotion was decided."""


class UnknownModelError(BatonError):
    """No such model is served here."""


class NoChampionError(BatonError):
    """The model exists but has no champion yet."""


class NotLoadedError(BatonError):
    """The model's champion is loaded for whoever asks for it first; `model` is its name."""

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} was not loaded: the predictor's log says why")
        self.model = model


class NotServedError(BatonError):
    """The model's champion did not pass a check here, or cannot be fetched, and no former one is loaded."""


class AmbiguousModelError(BatonError):
    """Several models are served and the request names none."""


class InputError(BatonError):
    """Rows that do not fit a model's schema; `faults` names each field with what was expected."""

    def __init__(self, message: str, faults: list[dict[str, object]]) -> None:
        super().__init__(message)
        self.faults = faults


class PredictionError(BatonError):
    """The model fails on rows that fit its inputs; the message is the model's own."""


class OverloadedError(BatonError):
    """More requests are waiting than this predictor takes; ask again later."""


class OverdueError(BatonError):
    """The answer took longer than a request may."""


class ComparisonError(BatonError):
    """Two models cannot be judged on the same held-out rows; the message says why."""
