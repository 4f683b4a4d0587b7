"""What MLflow's errors mean: whether something is missing, out of date, or may be there in a moment."""

from mlflow.exceptions import MlflowException

from shared.errors import MissingArtifactError, RegistryError

OUT_OF_DATE = "baton: out of date"  # how the capture in MLflow's database refuses a promotion, through MLflow's answer

CREATED_AT_ONCE = ("registered_model_alias_pk", "dataset_pk")
"""Keys of what MLflow creates when it is first named: of two callers at once one fails, and succeeds the next time."""


def unreadable(what: str, error: Exception) -> RegistryError:
    """Return the error to raise for an artifact that could not be had."""
    signs = ("404 Client Error", "RESOURCE_DOES_NOT_EXIST")  # not a bare 404, which may be part of a run's id
    if isinstance(error, FileNotFoundError) or any(sign in str(error) for sign in signs):
        return MissingArtifactError(f"MLflow has no {what}")
    return RegistryError(f"{what} cannot be read: {error}")


def is_missing(error: MlflowException) -> bool:
    """Tell whether MLflow knows no such thing."""
    # MLflow answers INVALID_PARAMETER_VALUE for an alias that does not exist.
    return error.error_code == "RESOURCE_DOES_NOT_EXIST" or ("alias" in error.message and "not found" in error.message)


def is_transient(error: MlflowException) -> bool:
    """Tell whether trying again may help: MLflow or its database was away, or another caller in the way."""
    if any(key in error.message for key in CREATED_AT_ONCE):
        return True
    return error.error_code in {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"} and any(
        sign in error.message
        for sign in (
            "Max retries exceeded",
            "Connection",
            "timed out",
            "deadlock",
            "database system is",
            "terminat",
        )
    )
