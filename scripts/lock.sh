#!/bin/sh
# Pins what is installed, each file by its hash: lock.sh UV [--upgrade]
# Versions of a lock that stands are kept where they still fit, unless all are to be the newest.
set -eu
uv=$1
upgrade=${2:-}
export UV_CUSTOM_COMPILE_COMMAND="make lock"

compile() {
    # shellcheck disable=SC2086  (none, or one word)
    "$uv" pip compile $upgrade --quiet --no-annotate --no-emit-index-url --generate-hashes --output-file "$@" >/dev/null
}

# For CI and `make setup`: any machine and any Python that the project supports.
printf 'setuptools>=77\nuv\n' | compile requirements.lock pyproject.toml - \
    --extra test --universal --python-version 3.11

# For the image (Linux, Python 3.12): what the tests ran with, and no other versions.
printf 'asyncpg>=0.29\npsycopg[binary]>=3.2\nsetuptools>=77\n' | compile deployments/requirements.lock pyproject.toml - \
    --extra tables --constraint requirements.lock --python-version 3.12 --python-platform x86_64-unknown-linux-gnu
