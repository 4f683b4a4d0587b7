#!/bin/sh
# Deprecated: kept for scripts and habits. Shows an old FileStore; the registry's own pages are MLflow's, on port 5000.
echo "start_mlflow_ui.sh is deprecated: use \`baton ui --filestore mlruns --port 5001\`" >&2
here="$(dirname "$0")/.."
[ $# -gt 0 ] || set -- --filestore mlruns --port 5001
exec "$here/.venv/bin/baton" ui "$@"
