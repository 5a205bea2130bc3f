# Images of keras-operator: targets `operator`, `trainer` and `server`, and `trainer-gpu`, which is 6 GB and trains on NVIDIA's.
#
#   docker buildx build --target server --tag keras-operator/server .
#   buildah bud --isolation chroot --layers --target server --tag keras-operator/server .
#
# Dependencies and the project's own code are separate layers: a change of code moves kilobytes, not gigabytes.
# Behind a proxy with a certificate authority of its own, pass the bundle as a secret, which stays out of the image:
#   --secret id=ca,src=$SSL_CERT_FILE
ARG BASE_IMAGE=python:3.11-slim-bookworm

# ---- what all images share: no installer, a user, the interpreter's bytecode (the root file system is read-only)
FROM ${BASE_IMAGE} AS runtime
RUN stdlib="$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && rm -rf "$stdlib"/ensurepip "$stdlib"/site-packages/pip* "$stdlib"/site-packages/setuptools* \
        "$stdlib"/site-packages/wheel* /usr/share/python-wheels /usr/local/bin/pip* \
    && python3 -m compileall -q --invalidation-mode unchecked-hash "$stdlib"/*.py "$stdlib"/json "$stdlib"/asyncio \
        "$stdlib"/email "$stdlib"/http "$stdlib"/urllib "$stdlib"/logging "$stdlib"/concurrent "$stdlib"/importlib \
        "$stdlib"/ctypes "$stdlib"/collections "$stdlib"/encodings "$stdlib"/multiprocessing "$stdlib"/xml \
    && echo 'keras:x:65532:65532:keras-operator:/tmp:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'keras:x:65532:' >> /etc/group
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 65532:65532

# ---- the tools that build; nothing of this stage is in an image
FROM ${BASE_IMAGE} AS build
ARG UV_VERSION=0.13.9
# Runs a command with the certificate authority of the secret, where one was passed.
RUN printf '#!/bin/sh\nca=/run/secrets/ca\n[ -s $ca ] && export SSL_CERT_FILE=$ca PIP_CERT=$ca REQUESTS_CA_BUNDLE=$ca\nexec "$@"\n' \
        > /usr/local/bin/trusting && chmod 755 /usr/local/bin/trusting
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=ca \
    python3 -m venv /opt/tools && trusting /opt/tools/bin/pip install --quiet uv==${UV_VERSION}
ENV PATH=/opt/venv/bin:/opt/tools/bin:$PATH UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN python3 -m venv --without-pip /opt/venv

# ---- the lock as one list an image
FROM build AS locked
WORKDIR /lock
COPY pyproject.toml uv.lock ./
# Of TensorFlow the server needs two libraries and its message types: its other dependencies stay away.
RUN export="uv export --quiet --frozen --no-dev --no-emit-project --no-annotate --no-header" \
    && $export --extra operator > operator.txt \
    && $export --extra trainer > trainer.txt \
    && $export --extra server --prune tensorflow-cpu > server.txt \
    && $export --extra server | awk '/^[^ ]/ { wanted = /^tensorflow-cpu==/ } wanted' > tensorflow.txt

# ---- dependencies, one environment an image
FROM build AS operator-dependencies
COPY --from=locked /lock/operator.txt /lock/
RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=ca \
    trusting uv pip install --quiet --python /opt/venv/bin/python --no-deps --require-hashes -r /lock/operator.txt \
    && find /opt/venv -type d -name tests -prune -exec rm -rf {} + \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM build AS trainer-dependencies
COPY --from=locked /lock/trainer.txt /lock/
# Headers serve only who compiles against TensorFlow; symbol tables are 200 MB that no loader reads.
RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=ca \
    trusting uv pip install --quiet --python /opt/venv/bin/python --no-deps --require-hashes -r /lock/trainer.txt \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -rf tensorflow/include tensorflow/xla_aot_runtime_src tensorflow/THIRD_PARTY_NOTICES.txt clang \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && strip --strip-unneeded tensorflow/libtensorflow_*.so.2 \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash .

FROM build AS trainer-gpu-dependencies
COPY --from=locked /lock/trainer.txt /lock/
COPY gpu-requirements.txt /lock/
# Two wheels that hold the same modules: the CPU build stays away, so that none of its files is left among the other's.
RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=ca \
    awk '/^[^ ]/ { wanted = !/^tensorflow-cpu==/ } wanted' /lock/trainer.txt > /lock/others.txt \
    && trusting uv pip install --quiet --python /opt/venv/bin/python --no-deps --require-hashes -r /lock/others.txt \
    && trusting uv pip install --quiet --python /opt/venv/bin/python --no-deps --require-hashes \
        -r /lock/gpu-requirements.txt \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -rf tensorflow/include tensorflow/xla_aot_runtime_src tensorflow/THIRD_PARTY_NOTICES.txt clang \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash .

FROM build AS server-dependencies
COPY --from=locked /lock/server.txt /lock/tensorflow.txt /lock/
# Without tensorflow/__init__.py the folder is a namespace package: its messages load and TensorFlow's Python does not.
RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=ca \
    trusting uv pip install --quiet --python /opt/venv/bin/python --no-deps --require-hashes -r /lock/server.txt \
    && trusting uv pip install --quiet --target /opt/whole --no-deps --require-hashes -r /lock/tensorflow.txt \
    && cd /opt/whole \
    && find tensorflow -name '*_pb2.py' -exec cp --parents {} /opt/venv/lib/python3*/site-packages/ \; \
    && cp --parents tensorflow/libtensorflow_*.so.2 tensorflow_cpu-*.dist-info/METADATA \
        /opt/venv/lib/python3*/site-packages/ \
    && rm -rf /opt/whole \
    && strip --strip-unneeded /opt/venv/lib/python3*/site-packages/tensorflow/libtensorflow_*.so.2 \
    && find /opt/venv -type d -name tests -prune -exec rm -rf {} + \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

# ---- the project's own code
FROM build AS code
# Debian's Python comes without its headers, the official images' with them.
RUN headers="$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')" \
    && apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends g++ $([ -e "$headers/Python.h" ] || echo python3-dev) \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /project
# .dockerignore lets nothing pass but what the packages are made of.
COPY . ./
RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=ca \
    trusting uv build --quiet --wheel --out-dir /wheels \
    && uv pip install --quiet --python /opt/venv/bin/python --no-deps /wheels/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
    && cd /opt/venv && rm -rf bin/activate* bin/Activate* bin/python* include lib64 pyvenv.cfg

# ---- the images
FROM runtime AS operator
COPY --from=operator-dependencies /opt/venv /opt/venv
COPY --from=code /opt/venv /opt/venv
ENTRYPOINT ["keras-operator"]

FROM runtime AS trainer
COPY --from=trainer-dependencies /opt/venv /opt/venv
COPY --from=code /opt/venv /opt/venv
ENTRYPOINT ["keras-trainer"]

FROM runtime AS trainer-gpu
COPY --from=trainer-gpu-dependencies /opt/venv /opt/venv
COPY --from=code /opt/venv /opt/venv
ENTRYPOINT ["keras-trainer"]

FROM runtime AS server
# Where TensorFlow Serving's own image has its server: manifests fit both.
USER 0
RUN ln -s /opt/venv/bin/tensorflow_model_server /usr/bin/tensorflow_model_server
USER 65532:65532
COPY --from=server-dependencies /opt/venv /opt/venv
COPY --from=code /opt/venv /opt/venv
EXPOSE 8500 8501 8502
ENTRYPOINT ["/usr/bin/tensorflow_model_server"]
