# The service with engine `local`, on a CPU, with the bundled judge unless another is named:
#   docker build -t rubricd .
#   docker run --rm --network host rubricd --port 8000
# Without keys the service listens on loopback only, hence the host's network.
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 HF_HUB_DISABLE_TELEMETRY=1
WORKDIR /opt/rubricd

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY trainer_client trainer_client
RUN pip install --find-links https://download.pytorch.org/whl/torch/ --constraint constraints.txt torch \
 && pip install --constraint constraints.txt '.[cli,service]'

COPY service service
COPY miniature miniature

RUN useradd --create-home rubricd
USER rubricd
EXPOSE 8000
HEALTHCHECK --start-period=60s --interval=10s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["python", "-m", "service"]
