# An image that trains on the CUDA GPUs of its host, with the torch of its base image.
#
#   docker build --tag gru-parallel .
#   mkdir -p outputs
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" \
#       --volume "$PWD/outputs:/runs/outputs" gru-parallel schedule=one_f_one_b trainer.max_epochs=5
#
# Ranks over NCCL, and data.num_workers, pass data through shared memory, of which Docker gives a container 64 MB:
#   docker run --rm --gpus all --ipc=host --entrypoint python ... gru-parallel \
#       -m torch.distributed.run --nproc-per-node 4 -m gru_parallel.train engine=processes
# (torch.distributed.run is torchrun; the base's own torchrun starts a Python that does not have the project.)
#
# CUDA 13.0 needs an NVIDIA driver of the 580 series or newer. For an older driver choose another base, for instance
#   docker build --build-arg BASE=pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime --tag gru-parallel .
# The base's torch must be the version in constraints.txt.
ARG BASE=pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime
FROM ${BASE}

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# The base's Python belongs to its operating system and refuses pip. So the rest goes into a virtual environment that sees
# its packages, torch and pip among them; without a pip of its own, because the base may lack ensurepip.
RUN python3 -m venv --system-site-packages --without-pip /opt/venv
ENV PATH=/opt/venv/bin:${PATH}

WORKDIR /opt/gru_parallel
COPY pyproject.toml constraints.txt LICENSE ./
COPY gru_parallel gru_parallel
COPY conf conf
COPY docs docs
# The second line fails the build if pip has replaced the base's torch by one without CUDA, or by one installed elsewhere.
RUN python -m pip install --constraint constraints.txt . && \
    python -c "import torch; assert torch.version.cuda and not torch.__file__.startswith('/opt/venv'), torch.__file__"

# Any user may write here, so that `docker run --user` works; without that option the run is not root's either.
WORKDIR /runs
RUN useradd --create-home --shell /bin/bash trainer && mkdir outputs && chmod 0777 /runs /runs/outputs
# Libraries look for a home folder, for caches, and for a user name: a user given only by number has neither.
ENV HOME=/tmp USER=trainer
USER trainer

ENTRYPOINT ["python", "-m", "gru_parallel.train"]
