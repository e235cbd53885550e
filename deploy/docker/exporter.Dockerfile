# The node exporter and the sender of alerts, without torch: build from the root of the repository,
#   docker build -f deploy/docker/exporter.Dockerfile -t yoloscope:0.2.0 .
FROM python:3.13.7-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE deploy/docker/constraints.txt ./
COPY exporter exporter
COPY trainer_hooks trainer_hooks
RUN python -m venv /opt/yoloscope \
    && /opt/yoloscope/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r constraints.txt \
    && /opt/yoloscope/bin/pip install --no-cache-dir --no-deps --no-build-isolation '.[notify]' \
    && /opt/yoloscope/bin/pip check \
    && /opt/yoloscope/bin/pip uninstall --yes setuptools pip

FROM python:3.13.7-slim-bookworm
LABEL org.opencontainers.image.title="yoloscope" \
      org.opencontainers.image.description="Prometheus exporter for YOLO training nodes" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/yoloscope /opt/yoloscope
# `utility` is NVML alone: the exporter never opens a CUDA context, so it takes no memory on any GPU.
ENV PATH=/opt/yoloscope/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=utility
# where `yoloscope notify` keeps messages that wait, and `yoloscope serve` its counters of energy
RUN install -d -o 65534 -g 65534 /var/lib/yoloscope
# nobody: a number, so that Kubernetes can see that it is not root
USER 65534:65534
EXPOSE 9911
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9911/-/healthy', timeout=4)"]
ENTRYPOINT ["yoloscope"]
CMD ["serve", "--web.listen-address=0.0.0.0:9911"]
