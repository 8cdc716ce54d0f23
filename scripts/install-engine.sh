#!/usr/bin/env bash
# Provide a container engine: one that is here already, or else Podman from the distribution's packages.
# Edits no system file and starts nothing: `innkeeper serve` runs the engine's service with settings of its own.
set -euo pipefail
cd "$(dirname "$0")"

for socket in "${DOCKER_HOST:-}" /run/docker.sock /var/run/docker.sock /run/podman/podman.sock; do
  path="${socket#unix://}"
  if [ -S "$path" ] && [ -w "$path" ]; then
    echo "innkeeper: using the container engine at $path"
    exit 0
  fi
done
if command -v podman >/dev/null && command -v runc >/dev/null; then
  exit 0
fi

if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
  echo "innkeeper: no container engine, and neither root nor passwordless sudo to install one:" >&2
  echo "innkeeper: games will run as plain host processes, without isolation" >&2
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "innkeeper: no container engine, and no apt-get to install one: install Docker, or Podman with runc" >&2
  exit 0
fi
# runc, because crun refuses hybrid cgroup layouts; netavark makes the networks, with iptables.
exec ./apt.sh "the container engine" podman runc netavark iptables
