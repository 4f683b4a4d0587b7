#!/bin/sh
# Run once, by PostgreSQL's image, on an empty data directory: two roles, neither a superuser.
#
# MLflow owns its tables. The promoter owns the schema `baton` and is a member of MLflow's role, because only who owns a table
# may replace its triggers; MLflow's role has no rights in `baton`.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    -v mlflow="$(cat /run/baton/mlflow_password)" -v promoter="$(cat /run/baton/promoter_password)" <<'SQL'
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE promoter LOGIN PASSWORD :'promoter' IN ROLE mlflow;
CREATE DATABASE baton OWNER mlflow;
\connect baton
REVOKE ALL ON DATABASE baton FROM PUBLIC;
GRANT ALL ON SCHEMA public TO mlflow;
CREATE SCHEMA baton AUTHORIZATION promoter;
SQL
