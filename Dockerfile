# Two images of one site: `web` serves pages and works off the short queue, `gpu` trains and asks models.
#   docker build --target web -t casting-vote:web .
#   docker build --target gpu -t casting-vote:gpu .
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
WORKDIR /packages
# What the packages are, without the code: this layer stays as it is until one of these changes.
COPY pyproject.toml README.md LICENSE ./
RUN /venv/bin/pip install ".[s3,sso,labelstudio]"

FROM packages AS packages-gpu
RUN /venv/bin/pip install ".[train,cuda,s3]"

FROM scratch AS code
COPY manage.py /
COPY annotate /annotate
COPY labeling /labeling
COPY modeling /modeling
COPY templates /templates
COPY static /static

FROM python:${PYTHON}-slim AS base
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 VAR_DIR=/data
RUN useradd --system --uid 10001 --create-home --home-dir /home/vote vote \
    && install -d -o vote -g vote /data /media /home/vote/.cache
WORKDIR /app
STOPSIGNAL SIGTERM

FROM base AS gpu
# Triton compiles a few lines of C for the card it finds.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV TRITON_CACHE_DIR=/home/vote/.cache/triton
COPY --from=packages-gpu /venv /venv
COPY --from=code / /app/
RUN python -m compileall -q annotate labeling modeling
USER vote
VOLUME ["/data", "/media"]
CMD ["python", "manage.py", "worker", "gpu"]

FROM base AS web
COPY --from=packages /venv /venv
COPY --from=code / /app/
RUN python -m compileall -q annotate labeling modeling
USER vote
VOLUME ["/data", "/media"]
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-m", "annotate.operating.knock", "http://127.0.0.1:8000/healthz"]
CMD ["python", "manage.py", "web", "--host", "0.0.0.0"]
