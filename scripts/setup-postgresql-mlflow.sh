#!/bin/sh
# Starts PostgreSQL and MLflow alone, without Baton's services, asks both whether they work, and prints where they answer: in
# containers where a Docker engine answers, else as processes of this machine until Ctrl-C. BATON_NO_DOCKER=1 chooses the
# processes; so does a MLFLOW_TRACKING_URI that names a database, for the containers have their own.
set -eu
cd "$(dirname "$0")/.."
case "${MLFLOW_TRACKING_URI:-}" in postgres*) BATON_NO_DOCKER=1 ;; esac
if [ -z "${BATON_NO_DOCKER:-}" ] && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then
    compose="docker compose -f compose/compose.yaml -f compose/registry.yaml"
    $compose up --detach --wait postgres mlflow >&2
    # By its name in the network, where a password is asked for; on its own loopback PostgreSQL trusts everyone.
    count=$($compose exec -T postgres sh -c 'PGPASSWORD=$(cat /run/baton/mlflow_password) exec psql --no-psqlrc --tuples-only \
        --no-align --host postgres --username mlflow --command "SELECT count(*) FROM experiments" baton')
    $compose exec -T mlflow python - <<'PYTHON'
import base64, pathlib, urllib.request
user = b"admin:" + pathlib.Path("/run/baton/MLFLOW_AUTH_ADMIN_PASSWORD").read_bytes()  # asked for where strangers reach MLflow
headers = {"Content-Type": "application/json", "Authorization": f"Basic {base64.b64encode(user).decode()}"}
address = "http://127.0.0.1:5000/api/2.0/mlflow/experiments/search"
urllib.request.urlopen(urllib.request.Request(address, b'{"max_results": 1}', headers), timeout=30)
PYTHON
    password=$($compose exec -T postgres cat /run/baton/mlflow_password)
    postgres=$($compose port postgres 5432)
    mlflow=$($compose port mlflow 5000)
    echo "postgres: postgresql://mlflow:$password@$postgres/baton"
    echo "mlflow: http://$mlflow"
    echo "verified: both answer, and hold $count experiment(s)"
    exit 0
fi
[ -x .venv/bin/python ] || ./task setup
exec .venv/bin/python -m compose.local.registry
