#!/usr/bin/env bash
# What `make bench` wants besides what the tests need: wrk, to ask for rooms at little cost.
# Without it the measurements use a generator of their own, and say so.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v wrk >/dev/null || scripts/apt.sh "the measurements' load generator" wrk || true
