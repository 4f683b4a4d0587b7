#!/bin/sh
# Starts PostgreSQL and MLflow alone, without Baton's services, and prints where they answer: in containers where a Docker
# engine answers, else as processes of this machine until Ctrl-C. BATON_NO_DOCKER=1 chooses the processes.
set -eu
cd "$(dirname "$0")/.."
if [ -z "${BATON_NO_DOCKER:-}" ] && command -v docker >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
    docker compose -f compose/compose.yaml up --detach --wait postgres mlflow
    echo "mlflow: http://127.0.0.1:${BATON_MLFLOW_PORT:-5000}"
    echo "postgres: in the same network, as postgres:5432"
    exit 0
fi
[ -x .venv/bin/python ] || ./task setup
exec .venv/bin/python -m compose.local.registry
