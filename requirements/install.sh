#!/bin/sh
# Brings .venv in line with one lock file: `install.sh base` for the portal, `install.sh dev` for the
# tests too, `install.sh bench` for what the benchmarks compare with. Quick when nothing changed:
# .venv keeps a copy of the lock it was last installed from.
set -eu
umask 022  # whatever the umask: programs that others may change are nobody's to run
cd "$(dirname "$0")/.."
lock=$1

fail() {
    echo "setup: $*" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null || fail "PYTHON=$PYTHON: there is no such program."
        new_enough "$PYTHON" || fail "PYTHON=$PYTHON is older than Python 3.11."
        return
    fi
    for PYTHON in python3 python3.14 python3.13 python3.12 python3.11; do
        if new_enough "$PYTHON"; then return; fi
    done
    fail "Python 3.11 or later is needed; install it, or name it: make setup PYTHON=/path/to/python3"
}

if ! new_enough .venv/bin/python; then
    choose_python
    "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$PYTHON has no venv module; on Debian or Ubuntu: apt-get install python3-venv"
    rm -rf .venv
    "$PYTHON" -m venv .venv || fail "$PYTHON -m venv .venv failed, for the reason above."
fi

# Each lock holds everything in the one before (base, dev, bench), at the same versions.
case $lock in
base) enough='base dev bench' ;;
dev) enough='dev bench' ;;
*) enough=$lock ;;
esac
for have in $enough; do
    if cmp -s "requirements/$have.txt" ".venv/$have.lock"; then exit 0; fi
done
rm -f .venv/base.lock .venv/dev.lock .venv/bench.lock
echo "setup: installing the locked packages of requirements/$lock.txt"
# Wheels alone: a package that wants a compiler here is better refused in one line. The lock is whole,
# so pip resolves nothing: it would reach for a newer release of `name[extra]` than the lock has, and
# then refuse it for having no hash.
.venv/bin/python -m pip install -qq --disable-pip-version-check --no-input \
    --only-binary=:all: --require-hashes --no-deps --requirement "requirements/$lock.txt" ||
    fail "pip could not install requirements/$lock.txt, for the reason above; then run this again."
cp "requirements/$lock.txt" ".venv/$lock.lock"
