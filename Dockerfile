# Server, worker and commands in one image; face model, embedded Postgres and all libraries are inside.
#
#   docker build -t automatch .
#   docker run --rm --read-only --tmpfs /tmp -v automatch:/data -p 8000:8000 automatch up

FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src

# Before the sources, so that a change of these does not install everything anew.
COPY requirements/image.lock requirements/
RUN python -m venv /opt/automatch \
    && /opt/automatch/bin/pip install --require-hashes --no-deps --only-binary :all: -r requirements/image.lock

COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/automatch/bin/pip install --no-deps --no-build-isolation . \
    && /opt/automatch/bin/python -m compileall -q -j 0 /opt/automatch \
    && /opt/automatch/bin/pip uninstall --yes pip setuptools


FROM python:3.11-slim-bookworm

# A number of its own, so that volumes keep their owner over images.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin automatch \
    && install --directory --owner automatch --group automatch --mode 0700 /data

COPY --from=build /opt/automatch /opt/automatch

ENV PATH=/opt/automatch/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AUTOMATCH_HOME=/data \
    AUTOMATCH_HOST=0.0.0.0 \
    AUTOMATCH_LOG_JSON=true

USER 10001:10001
WORKDIR /data
# Photos, secrets and, with `up`, the database. All else may be read-only; /tmp is a tmpfs then.
VOLUME /data
EXPOSE 8000
# As systemd does, and as `automatch` stops: SIGTERM finishes or releases what is under way.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]

ENTRYPOINT ["automatch"]
CMD ["serve"]
