# syntax=docker/dockerfile:1
# One image: the operator and its phases. BASE may be any Debian 12; the tests build one themselves where no registry is reached.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-pip python3-venv busybox-static cpio e2fsprogs \
    netcat-openbsd \
 && rm -rf /var/lib/apt/lists/*
# pip and uv read the system's certificates, so that a site's own authority works here too.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/bessemer UV_COMPILE_BYTECODE=1
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY pyproject.toml uv.lock README.md ./
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-install-project --no-cache
COPY operator ./operator
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-editable --no-cache
RUN /opt/bessemer/bin/python -m bessemer.machines.netboot.installer.build /usr/share/bessemer/installer.cpio.gz

FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git openssh-client python3 tini \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man \
 && useradd --uid 65532 --no-create-home --home-dir /scratch --shell /usr/sbin/nologin bessemer
COPY --from=build /opt/bessemer /opt/bessemer
COPY --from=build /usr/share/bessemer /usr/share/bessemer
COPY playbooks /usr/share/bessemer/playbooks
ENV PATH=/opt/bessemer/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 \
    BESSEMER_PLAYBOOKS=/usr/share/bessemer/playbooks BESSEMER_INSTALLER=/usr/share/bessemer/installer.cpio.gz
USER 65532:65532
ENTRYPOINT ["bessemer"]
CMD ["run"]
