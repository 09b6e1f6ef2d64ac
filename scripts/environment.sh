#!/bin/sh
# Makes the project's own environment: environment.sh PYTHON VENV
# Debian's python3 comes without ensurepip; its own package for that is added where this user may.
set -eu
python=$1
venv=$2

if ! "$python" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))'; then
    echo "prefect-alyx needs Python 3.11 or newer; this is $("$python" --version). Try: make PYTHON=python3.12" >&2
    exit 1
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    echo "Python's venv module is missing; installing Debian's package $version ..." >&2
    if [ "$(id -u)" = 0 ]; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$version" >&2
    else
        echo "Please run: sudo apt-get install $version" >&2
        exit 1
    fi
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "Installing the project and its tools into $venv (some minutes the first time) ..." >&2
# What others wrote comes by its hash, and the list is whole: pip chooses nothing. Then this project, which brings nothing along.
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
pip install --no-deps --require-hashes --requirement requirements.lock
pip install --no-deps --no-build-isolation --editable .
pip check
