#!/bin/sh
# Deprecated: kept for scripts and habits.
echo "start-mlflow.sh is deprecated: use scripts/setup-postgresql-mlflow.sh, or \`baton up\` for everything" >&2
exec "$(dirname "$0")/setup-postgresql-mlflow.sh" "$@"
