"""What the model alone costs: onnxruntime in this process, no HTTP and no JSON; one row of results as JSON.

python -m benchmarks.serving.in_process '{"onnx": "model.onnx", "questions": "q.json", "rows": 1, ...}'
"""

import gc
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import psutil

from benchmarks.serving.load import CLOSE, SINGLE_ROWS


@dataclass(frozen=True)
class Task:
    """Which graph, what to ask it, how many rows at a time, for how many seconds, on which core."""

    onnx: str
    questions: str
    rows: int
    seconds: float
    core: int


def run(task: Task) -> dict[str, float]:
    """Ask as long as the task says; return the figures."""
    began = time.perf_counter()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(task.onnx, options, providers=["CPUExecutionProvider"])
    start_s = time.perf_counter() - began
    (name,) = (value.name for value in session.get_inputs())
    tensors, right = questions(task)
    answers: list[np.ndarray] = []
    latencies: list[float] = []
    ends = time.perf_counter() + task.seconds
    while (began := time.perf_counter()) < ends:
        answers += session.run(["probabilities"], {name: tensors[len(latencies) % len(tensors)]})
        latencies.append(time.perf_counter() - began)
    off = [np.abs(answer[:, 1] - right[at % len(right)]).max() for at, answer in enumerate(answers)]
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    errors = sum(each >= CLOSE for each in off)
    figures = {"rps": len(latencies) / task.seconds, "p50_ms": p50, "p99_ms": p99, "errors": errors}
    return {name: round(float(value), 3) for name, value in figures.items()} | {
        "rss_mb": round(psutil.Process().memory_info().rss / 1e6),
        "start_s": round(start_s, 1),
    }


def questions(task: Task) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return tensors of shape (rows, features), and scikit-learn's probabilities of class 1 for each."""
    known = json.loads(Path(task.questions).read_text())
    rows = np.array([list(row.values()) for row in known["rows"]], np.float64)
    starts = range(SINGLE_ROWS if task.rows == 1 else 1)
    answers = np.array(known["answers"])
    return [rows[at : at + task.rows] for at in starts], [answers[at : at + task.rows] for at in starts]


def main() -> None:
    """Carry out the task in the first argument."""
    task = Task(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, {task.core})
    gc.disable()
    sys.stdout.write(json.dumps(run(task)))


if __name__ == "__main__":
    main()
