"""The runtime for MLflow models of any flavor: their folder as one file, opened by `mlflow.pyfunc`.

Such a model is code that runs where it is opened: nothing opens one unless a setting says so.
"""

import io
import shutil
import tarfile
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shared.archives import unpack_into
from shared.bundle import Columns
from shared.runtime import Prediction
from shared.runtime.sklearn import frame_of

LEFT_OUT = "registered_model_meta"  # MLflow writes the model's name and version there, which may change


class PyfuncRuntime:
    """A model opened from a packed folder, which stays beside the bundle's: a model may read its files later."""

    def __init__(self, path: Path) -> None:
        import mlflow.pyfunc

        folder = tempfile.mkdtemp(prefix="pyfunc-", dir=path.parent.parent)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        with tarfile.open(path, "r:") as tar:
            unpack_into(tar, Path(folder))
        self._model = mlflow.pyfunc.load_model(folder)

    def predict(self, columns: Columns) -> Prediction:
        """Predict all rows as one DataFrame."""
        frame = frame_of(columns)
        return Prediction(_values(self._model.predict(frame), len(frame)))


def _values(answer: Any, rows: int) -> list[Any]:
    """Return one plain value per row; raise `ValueError` for an answer of any other form."""
    values = answer.to_numpy() if isinstance(answer, pd.DataFrame | pd.Series) else np.asarray(answer)
    if values.size != rows or values.ndim not in (1, 2):
        raise ValueError(f"it answers {rows} rows with values of shape {values.shape}, not with one value per row")
    plain: list[Any] = values.reshape(-1).tolist()
    return plain


def packed_folder(folder: Path) -> bytes:
    """Return the files of an MLflow model as an uncompressed tar; the same files give the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != LEFT_OUT:
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = path.stat().st_size
                with path.open("rb") as file:
                    tar.addfile(member, file)
    return packed.getvalue()
