#!/usr/bin/env bash
# Make .venv with the first Python >= 3.11 found, or keep the one that is there.
set -euo pipefail
cd "$(dirname "$0")/.."

new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
if [ -x .venv/bin/python ] && .venv/bin/python -c "$new_enough" && .venv/bin/python -m pip --version >/dev/null 2>&1; then
  exit 0
fi

python=""
for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
  if command -v "$candidate" >/dev/null && "$candidate" -c "$new_enough"; then python="$candidate"; break; fi
done
if [ -z "$python" ]; then
  echo "innkeeper: Python 3.11 or newer is needed, and none was found (PYTHON=/path/to/python3 names one)" >&2
  exit 1
fi

# Debian and Ubuntu ship the venv module without the part that brings pip.
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  version="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  "$(dirname "$0")/apt.sh" "Python environments" "$version"
fi
echo "innkeeper: making .venv with $("$python" --version)"
rm -rf .venv
"$python" -m venv .venv
