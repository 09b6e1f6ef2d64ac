#!/bin/sh
# What the long tests use besides Python: a browser, and PostgreSQL. Debian's packages are added where this user may;
# elsewhere the tests that need them are skipped, and say so.
set -eu
missing=""
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing="chromium fonts-dejavu-core"
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian's packages for the long tests: $missing ..." >&2
    apt-get update -qq
    # shellcheck disable=SC2086  (several names)
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
else
    echo "Some of the long tests are skipped without: $missing (sudo apt-get install $missing)" >&2
fi
