#!/usr/bin/env bash
# Make the lock files anew from pyproject.toml. Add --upgrade to move to the newest allowed versions.
# No index or link is written into them: where packages come from is the machine's business.
set -euo pipefail
cd "$(dirname "$0")/.."

lock() {
  local out="$1"; shift
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --annotation-style line \
    --custom-compile-command "scripts/lock.sh" --output-file "$out" "$@"
}

lock requirements.lock pyproject.toml --group build "$@"
lock requirements-dev.lock pyproject.toml --group build --group dev --constraint requirements.lock "$@"
