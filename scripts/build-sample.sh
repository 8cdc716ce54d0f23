#!/usr/bin/env bash
# Build the sample game as one static binary, so that its image needs nothing but itself.
set -euo pipefail
cd "$(dirname "$0")/.."

cc="${CC:-gcc}"
# A static binary needs the C library's archive besides the compiler.
if ! command -v "$cc" >/dev/null || ! "$cc" -print-file-name=libc.a | grep -q /; then
  scripts/apt.sh "the sample game's compiler" gcc libc6-dev
  cc=gcc
fi
"$cc" -std=c11 -Os -static -s -Wall -Wextra -Werror -o samples/tag/tag.new \
  samples/tag/tag.c samples/tag/ask.c
mv samples/tag/tag.new samples/tag/tag
