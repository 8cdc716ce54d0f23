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
log="$(mktemp)"
trap 'rm -f "$log"' EXIT

install_all() {
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --quiet=2 --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}"
}

# The package lists of a fresh box are empty or old: refresh them only when the first try fails.
install_or_refresh() {
  install_all || { "${root[@]}" apt-get update --quiet=2 && install_all; }
}

install_or_refresh >"$log" 2>&1 </dev/null &
work=$!
# On a terminal, show that it goes on, and what it is doing just now.
while [ -t 1 ] && kill -0 "$work" 2>/dev/null; do
  printf '\r\033[K  %3d s  %.70s' "$SECONDS" "$(tail -n 1 "$log" | tr -cd '[:print:]')"
  sleep 1
done
[ ! -t 1 ] || printf '\r\033[K'
if ! wait "$work"; then
  cat "$log" >&2
  echo "innkeeper: could not install ${missing[*]} ($why)" >&2
  exit 1
fi
