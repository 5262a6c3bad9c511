# One image for every service of docker-compose.yml: Airflow, the pipeline, its DAGs, rules and models.
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.lock /tmp/requirements.lock
RUN pip install --require-hashes --requirement /tmp/requirements.lock

FROM python:3.11-slim-bookworm
RUN groupadd --gid 50000 msc \
    && useradd --uid 50000 --gid 50000 --no-create-home --home-dir /opt/airflow --shell /usr/sbin/nologin msc \
    && mkdir -p /opt/airflow/logs /data/home /data/landing /data/closed \
    && chown -R msc:msc /opt/airflow /data
COPY --from=build /opt/venv /opt/venv
COPY src /opt/msc/src
COPY plugins /opt/msc/plugins
COPY dags /opt/msc/dags
COPY expectations /opt/msc/expectations
COPY sql /opt/msc/sql
COPY studies /opt/msc/studies
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/msc/src:/opt/msc/plugins \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/msc/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/msc/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False \
    GX_ANALYTICS_ENABLED=False \
    MSC_PROJECT=/opt/msc \
    MSC_HOME=/data/home \
    MSC_LANDING=/data/landing
USER msc
WORKDIR /opt/airflow
ENTRYPOINT ["airflow"]
CMD ["version"]
