#!/usr/bin/env bash
# Builds the loader for each architecture into the folder given (default: this one).
# Debian: apt-get install gcc gcc-aarch64-linux-gnu
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
flags=(-std=c11 -Os -Wall -Wextra -Werror -ffreestanding -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables
  -fno-builtin -fcf-protection=none -nostdlib -static -s -Wl,--build-id=none -Wl,-z,norelro -Wl,-z,noseparate-code)
x86_64-linux-gnu-gcc "${flags[@]}" -o "$out/loader-amd64" "$here/loader.c"
aarch64-linux-gnu-gcc "${flags[@]/-fcf-protection=none/-mno-outline-atomics}" -o "$out/loader-arm64" "$here/loader.c"
for a in amd64 arm64; do
  objcopy=$([ $a = amd64 ] && echo x86_64-linux-gnu-objcopy || echo aarch64-linux-gnu-objcopy)
  "$objcopy" --remove-section=.comment --remove-section=.note.gnu.property "$out/loader-$a"
done
