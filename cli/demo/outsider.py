"""Somebody outside Baton who moves the alias with MLflow's own client, as its UI or a notebook would.

Run as `python -m cli.demo.outsider`: reads `MODEL VERSION` lines from stdin and answers each with `done`.
"""

import sys

from mlflow import MlflowClient


def main() -> None:
    """Move the alias `champion` for each line read."""
    client = MlflowClient()
    for line in sys.stdin:
        model, version = line.split()
        client.set_registered_model_alias(model, "champion", version)
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
