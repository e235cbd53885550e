# An example of a training image with the hooks inside: build from the root of the repository,
#   docker build -f deploy/docker/training.Dockerfile -t yolo-training:0.2.0 .
# and run it beside the exporter, with the record directory shared:
#   docker run --gpus all --ipc=host -v /dev/shm/yoloscope:/dev/shm/yoloscope yolo-training:0.2.0 \
#     yolo detect train model=yolo11n.pt data=coco128.yaml
# Ultralytics is AGPL-3.0: read its licence before you pass such an image on.
FROM python:3.12.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE deploy/docker/constraints.txt ./
COPY exporter exporter
COPY trainer_hooks trainer_hooks
ARG TORCH_VERSION=2.15.0
ARG TORCHVISION_VERSION=0.29.2
ARG ULTRALYTICS_VERSION=8.4.190
RUN python -m venv /opt/training \
    && /opt/training/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r constraints.txt \
    && /opt/training/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/training/bin/pip install --no-cache-dir \
        "torch==${TORCH_VERSION}" "torchvision==${TORCHVISION_VERSION}" "ultralytics==${ULTRALYTICS_VERSION}" \
    && /opt/training/bin/pip check

FROM python:3.12.11-slim-bookworm
# what OpenCV, which Ultralytics brings, wants from the system
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home trainer
COPY --from=build /opt/training /opt/training
ENV PATH=/opt/training/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    YOLOSCOPE_DIR=/dev/shm/yoloscope
USER 1000:1000
WORKDIR /home/trainer
ENTRYPOINT ["yoloscope", "run", "--"]
CMD ["yolo", "detect", "train", "model=yolo11n.pt", "data=coco128.yaml", "epochs=10"]
