#!/usr/bin/env bash
# Install packages of the distribution: scripts/apt.sh WHY PACKAGE...
# Needs root or passwordless sudo, and says plainly what to do where there is neither.
set -euo pipefail

why="$1"; shift
missing=()
for package in "$@"; do
  dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! sudo -n true 2>/dev/null; then
    echo "innkeeper: $why needs the packages: ${missing[*]}" >&2
    echo "innkeeper: install them as root (apt-get install ${missing[*]}) and run this again" >&2
    exit 1
  fi
  root=(sudo -n)
fi

echo "innkeeper: installing ${missing[*]} ($why)"
install_all() {
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --quiet=2 --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}"
}
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
# The package lists of a fresh box are empty or old: refresh them only when the first try fails.
if ! install_all >"$log" 2>&1; then
  if ! { "${root[@]}" apt-get update --quiet=2 && install_all; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "innkeeper: could not install ${missing[*]} ($why)" >&2
    exit 1
  fi
fi
