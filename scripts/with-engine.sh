#!/usr/bin/env bash
# Run `innkeeper` with the rights that the container engine asks for: as root where that takes no password,
# and as ourselves where an engine answers us anyway or there is none: scripts/with-engine.sh up
set -euo pipefail
cd "$(dirname "$0")/.."

innkeeper=.venv/bin/innkeeper
if [ "$(id -u)" -eq 0 ] || [ "${INNKEEPER_RUNTIME:-auto}" = process ]; then
  exec "$innkeeper" "$@"
fi
for socket in "${INNKEEPER_ENGINE_SOCKET:-}" /run/docker.sock /var/run/docker.sock /run/podman/podman.sock; do
  path="${socket#unix://}"
  if [ -S "$path" ] && [ -w "$path" ]; then
    exec "$innkeeper" "$@"
  fi
done
if ! sudo -n true 2>/dev/null || ! command -v podman >/dev/null; then
  exec "$innkeeper" "$@"
fi
echo "innkeeper: running as root, for Podman; everything stays in the data directory"
# Only names go on the command line: other users can read it, and one of the values is a token.
exec sudo -n --preserve-env="$(compgen -e INNKEEPER_ | paste -sd, -)" "$innkeeper" "$@"
