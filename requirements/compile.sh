#!/bin/sh
# Rebuilds the two hash-pinned lock files from the .in files; run it after changing one of those.
# --no-emit-*: the locks name packages and hashes only, never where they are fetched from.
set -eu
cd "$(dirname "$0")"
for name in base dev bench; do
    uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --quiet "$@" "$name.in" -o "$name.txt"
done
