ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE}

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

COPY requirements/run.txt requirements/run.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/run.txt

COPY schemas schemas
COPY services services
COPY web web
COPY deploy deploy

# New volumes take over the owner of these folders.
RUN useradd --system --uid 10001 --no-create-home maillage \
    && mkdir /secrets /keys /root-key \
    && chown maillage /secrets /keys /root-key
USER 10001

ENTRYPOINT ["python", "-m", "deploy"]
