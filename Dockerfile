# The lab, a Dask scheduler or a worker, as one image (docs/hosting.md):
#   docker build --build-arg TORCH_INDEX=<PyTorch's index of CPU wheels> -t fastpath-lab .
FROM python:3.11-slim-bookworm

# g++ is for torch.compile and for the kernels of packed execution, which are compiled for the processor they run on.
# tini reaps what a killed measurement leaves behind, and passes signals on. Debian's own versions are what the base
# image was tested with, so they are not pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 lab \
    && install --directory --owner=lab --group=lab /data

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /lab
COPY requirements.txt requirements-cluster.txt requirements-postgres.txt ./

# First and alone, because it is by far the largest and changes least. Without the index, pip would take the build for
# NVIDIA's GPUs, which is several gigabytes more.
ARG TORCH_INDEX
RUN test -n "$TORCH_INDEX" || { echo "Name PyTorch's index of CPU wheels: --build-arg TORCH_INDEX=..." >&2; exit 1; }; \
    pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' requirements.txt)"
RUN pip install --requirement requirements-cluster.txt --requirement requirements-postgres.txt

COPY . .
# The code belongs to root, so that what runs cannot change it; it is compiled here, because it cannot be there.
RUN python -m compileall -q engine pages streamlit_app.py

# Everything that is kept lies in /data: finished runs, the desk's journal, models that were fetched, kernels. An address
# for the browser is named, because Streamlit would ask a server on the internet for it.
ENV FASTPATH_HOSTED=1 \
    FASTPATH_DATA_FOLDER=/data \
    TORCH_HOME=/data/torch \
    HF_HOME=/data/huggingface \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_PORT=8501 \
    STREAMLIT_SERVER_HEADLESS=true \
    STREAMLIT_SERVER_BASE_URL_PATH="" \
    STREAMLIT_BROWSER_SERVER_ADDRESS=localhost
VOLUME /data
EXPOSE 8501
USER 1000

# Streamlit answers what it does not know with its front page, so the answer itself is read.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, sys, urllib.request as u; at = (os.environ['STREAMLIT_SERVER_PORT'] + '/' + os.environ['STREAMLIT_SERVER_BASE_URL_PATH']).rstrip('/'); sys.exit(u.urlopen('http://127.0.0.1:' + at + '/_stcore/health', timeout=4).read() != b'ok')"]
ENTRYPOINT ["tini", "--"]
CMD ["streamlit", "run", "streamlit_app.py"]
