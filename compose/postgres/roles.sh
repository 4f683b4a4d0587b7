#!/bin/sh
# Run once, by PostgreSQL's image, on an empty data directory: three roles, none a superuser.
#
# MLflow owns its tables. The promoter owns the schema `baton` and is a member of MLflow's role, because only who owns a table
# may replace its triggers; MLflow's role has no rights in `baton`. MLflow's users are in a database of their own, which nobody
# else can open.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    -v mlflow="$(cat /run/baton/mlflow_password)" -v promoter="$(cat /run/baton/promoter_password)" \
    -v mlflow_auth="$(cat /run/baton/mlflow_auth_password)" <<'SQL'
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE promoter LOGIN PASSWORD :'promoter' IN ROLE mlflow;
CREATE ROLE mlflow_auth LOGIN PASSWORD :'mlflow_auth';
CREATE DATABASE mlflow_auth OWNER mlflow_auth;
REVOKE ALL ON DATABASE mlflow_auth FROM PUBLIC;
CREATE DATABASE baton OWNER mlflow;
\connect baton
REVOKE ALL ON DATABASE baton FROM PUBLIC;
GRANT ALL ON SCHEMA public TO mlflow;
CREATE SCHEMA baton AUTHORIZATION promoter;
SQL
