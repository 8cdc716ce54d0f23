#!/usr/bin/env bash
# Provide PostgreSQL's programs for the tests, which start servers of their own and end them.
# The distribution's package would make a server of its own and start it: it is kept from that.
set -euo pipefail
cd "$(dirname "$0")"

for programs in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin; do
  if [ -x "$programs/initdb" ] && [ -x "$programs/pg_dump" ]; then
    exit 0
  fi
done
if command -v initdb >/dev/null && command -v pg_dump >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "innkeeper: no PostgreSQL, and no apt-get to install one: install its server and client programs" >&2
  exit 1
fi

./apt.sh "the tests of the PostgreSQL store" postgresql-common
settings=/etc/postgresql-common/createcluster.conf
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo -n)
before="$(mktemp)"
cp "$settings" "$before"
restore() {
  "${root[@]}" cp "$before" "$settings"
  rm -f "$before"
}
trap restore EXIT
echo 'create_main_cluster = false' | "${root[@]}" tee --append "$settings" >/dev/null
./apt.sh "the tests of the PostgreSQL store" postgresql
