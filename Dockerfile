# The portal in one image: web server, worker, ticker and commands are started from it by name.
# docs/operating.md says how; `docker compose up` runs all of them (compose.yaml).
FROM python:3.12-slim AS build
WORKDIR /opt/xmailadmin
COPY requirements/base.txt requirements/base.txt
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --only-binary=:all: --require-hashes --no-deps -r requirements/base.txt
COPY manage.py manage.py
COPY xmailadmin xmailadmin
COPY certs certs
COPY hosts hosts
COPY templates templates
RUN .venv/bin/python -m babel.messages.frontend compile \
        --directory=xmailadmin/locale --domain=django \
    && .venv/bin/python -m compileall -q xmailadmin certs hosts

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/xmailadmin --create-home xmailadmin
COPY --from=build /opt/xmailadmin /opt/xmailadmin
WORKDIR /opt/xmailadmin
ENV PATH=/opt/xmailadmin/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    XMAILADMIN_HOME=/var/lib/xmailadmin \
    XMAILADMIN_BIND=0.0.0.0:8000 \
    XMAILADMIN_LOG=json
USER xmailadmin
VOLUME /var/lib/xmailadmin
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["python", "manage.py", "web"]
