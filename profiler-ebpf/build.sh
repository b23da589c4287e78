#!/usr/bin/env bash
# Makes prebuilt/recorder.bpf.o and prebuilt/MANIFEST from bpf/. Only who changes bpf/ needs this:
# apt-get install clang llvm (14). Same sources and clang, same bytes, in whatever folder.
# `build.sh --check` builds aside and fails if the bytes in prebuilt/ are others.
set -euo pipefail
cd "$(dirname "$0")"
out=prebuilt
if [ "${1:-}" = --check ]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi
flags="-O2 -g -target bpf -mcpu=v3 -Wall -Werror -Wno-unused-variable -Wno-unused-function -fdebug-compilation-dir=."
# shellcheck disable=SC2086
clang $flags -ffile-prefix-map="$PWD=." -c bpf/recorder.bpf.c -o "$out/recorder.bpf.o"
llvm-strip -g "$out/recorder.bpf.o"
{
  sha256sum bpf/mini.h bpf/recorder.bpf.c
  (cd "$out" && sha256sum recorder.bpf.o | sed 's|  |  prebuilt/|')
  echo "# $(clang --version | head -n 1)"
  echo "# flags: $flags"
} > "$out/MANIFEST"
if [ "$out" != prebuilt ]; then
  cmp "$out/recorder.bpf.o" prebuilt/recorder.bpf.o && cmp "$out/MANIFEST" prebuilt/MANIFEST && echo "the prebuilt object is what bpf/ gives"
fi
