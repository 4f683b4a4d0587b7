#!/bin/sh
# Starts PostgreSQL and MLflow alone, without Baton's services, asks both whether they work, and prints where they answer: in
# containers where a Docker engine answers, else as processes of this machine until Ctrl-C. BATON_NO_DOCKER=1 chooses the
# processes.
set -eu
cd "$(dirname "$0")/.."
if [ -z "${BATON_NO_DOCKER:-}" ] && command -v docker >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
    compose="docker compose -f compose/compose.yaml -f compose/registry.yaml"
    $compose up --detach --wait postgres mlflow
    password=$($compose exec -T postgres cat /run/baton/mlflow_password)
    database="postgresql://mlflow:$password@127.0.0.1"
    count=$($compose exec -T postgres psql --no-psqlrc --tuples-only --no-align "$database:5432/baton" \
        --command "SELECT count(*) FROM experiments")
    $compose exec -T mlflow python -c "import urllib.request as u; u.urlopen(u.Request(
        'http://127.0.0.1:5000/api/2.0/mlflow/experiments/search', b'{\"max_results\": 1}', {'Content-Type': 'application/json'}))"
    echo "postgres: $database:${BATON_POSTGRES_PORT:-5432}/baton"
    echo "mlflow: http://127.0.0.1:${BATON_MLFLOW_PORT:-5000}"
    echo "verified: both answer, and hold $count experiment(s)"
    exit 0
fi
[ -x .venv/bin/python ] || ./task setup
exec .venv/bin/python -m compose.local.registry
