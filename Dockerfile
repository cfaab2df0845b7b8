# Two images of the service, without root and made for a read-only file system. docs/operate/deploying.md runs them.
#   docker build --target cpu  --tag rubricd:cpu .     engine `local`
#   docker build --target cuda --tag rubricd:cuda .    engine `vllm`, in the image of vLLM's makers
# Bases are named by tag; a build that must be repeatable names them by digest: --build-arg PYTHON_IMAGE=...@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG VLLM_IMAGE=vllm/vllm-openai:v0.32.0

FROM scratch AS packages
COPY pyproject.toml constraints.txt README.md LICENSE /
COPY trainer_client /trainer_client

FROM scratch AS program
COPY service /service
COPY miniature/checkpoints/judge /miniature/checkpoints/judge


FROM ${PYTHON_IMAGE} AS cpu
WORKDIR /opt/rubricd
COPY --from=packages / ./
RUN python3 -m pip install --no-cache-dir --retries 2 --find-links https://download.pytorch.org/whl/torch/ \
      --constraint constraints.txt torch \
 && python3 -m pip install --no-cache-dir --constraint constraints.txt '.[service,tracing]'
COPY --from=program / ./
# A checkout may be readable by its owner only, and nothing can be compiled once the file system is read-only.
RUN chmod -R a+rX . && python3 -m compileall -q service trainer_client
# The user may have no entry in /etc/passwd, and every cache goes below HOME: of all paths only /tmp need be writable.
ENV HOME=/tmp USER=rubricd PYTHONUNBUFFERED=1 HF_HUB_DISABLE_TELEMETRY=1 DO_NOT_TRACK=1
ENV RUBRICD_ENGINE=local
# What registries and scanners show. The builder passes the two that a checkout does not know.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rubricd" \
      org.opencontainers.image.description="The rubric reward server for reinforcement learning." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/rubricd/rubricd" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --start-period=900s --interval=10s --timeout=6s --retries=3 \
  CMD ["python3", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('RUBRICD_PORT') or 8000), timeout=5); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python3", "-m", "service"]
CMD ["serve"]


FROM ${VLLM_IMAGE} AS cuda
WORKDIR /opt/rubricd
COPY --from=packages / ./
# vLLM and all that came with it stays as it is; only what its image lacks is installed, as constraints.txt says.
RUN python3 -m pip list --format freeze > /tmp/held.txt \
 && awk -F '==' '{name = tolower($1); gsub(/[_.]/, "-", name)} NR == FNR {held[name]; print; next} !(name in held)' \
      /tmp/held.txt constraints.txt > /tmp/constraints.txt \
 && PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-cache-dir --constraint /tmp/constraints.txt '.[service,tracing,vllm]' \
 && rm /tmp/held.txt /tmp/constraints.txt
COPY --from=program / ./
RUN chmod -R a+rX . && python3 -m compileall -q service trainer_client
ENV HOME=/tmp USER=rubricd PYTHONUNBUFFERED=1 HF_HUB_DISABLE_TELEMETRY=1 DO_NOT_TRACK=1
ENV RUBRICD_ENGINE=vllm
# What registries and scanners show. The builder passes the two that a checkout does not know.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rubricd" \
      org.opencontainers.image.description="The rubric reward server for reinforcement learning." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/rubricd/rubricd" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --start-period=900s --interval=10s --timeout=6s --retries=3 \
  CMD ["python3", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('RUBRICD_PORT') or 8000), timeout=5); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python3", "-m", "service"]
CMD ["serve"]
