#!/usr/bin/env bash
# Set up what a command needs, once: `setup.sh toolkit`, `setup.sh studio`, `setup.sh browser`, `setup.sh s3`.
# A second run finds a stamp and does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '== %s\n' "$*"; }

# uv reads neither pip.conf nor PIP_FIND_LINKS, and needs to be told to trust the system's certificates.
export UV_SYSTEM_CERTS=1 UV_NO_PROGRESS=1
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"

fingerprint() { cat "$@" | sha256sum | cut -d' ' -f1; }

fresh() { # fresh STAMP FINGERPRINT
  [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]
}

make_venv() { # make_venv FOLDER
  if [ ! -x "$1/bin/python" ]; then
    say "making $1"
    "${PYTHON:-python3}" -m venv "$1"
  fi
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
}

toolkit() {
  local venv="${VENV:-.venv}" stamp want
  stamp="$venv/.authface-stamp"
  want="$(fingerprint pyproject.toml constraints.txt tools/cpu-torchvision/* tools/setup.sh)"
  if fresh "$stamp" "$want"; then say "the toolkit is set up in $venv"; return; fi
  "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2; exit 2; }
  make_venv "$venv"
  say "installing the toolkit into $venv (a few minutes the first time)"
  "$venv/bin/python" -m uv pip install --quiet --python "$venv/bin/python" -c constraints.txt -e '.[all,dev]'
  # PyPI's torchvision is linked against CUDA and can't be imported beside a CPU torch: see tools/cpu-torchvision.
  if ! "$venv/bin/python" -W ignore -c 'import torchvision' 2>/dev/null; then
    say "torch is a CPU build: adding tools/cpu-torchvision"
    "$venv/bin/python" -m uv pip install --quiet --python "$venv/bin/python" --no-deps ./tools/cpu-torchvision
  fi
  printf '%s' "$want" >"$stamp"
  say "the toolkit is ready"
}

# A program whose pins conflict with the toolkit's, in an environment of its own.
apart() { # apart FOLDER CONSTRAINTS PACKAGE NAME
  local stamp="$1/.authface-stamp" want
  want="$(fingerprint "$2" tools/setup.sh)"
  if fresh "$stamp" "$want"; then say "$4 is set up in $1"; return; fi
  make_venv "$1"
  say "installing $4 into $1 (its pins conflict with the toolkit's)"
  "$1/bin/python" -m uv pip install --quiet --python "$1/bin/python" -c "$2" "$3"
  printf '%s' "$want" >"$stamp"
  say "$4 is ready"
}

studio() { apart .venv-label-studio tools/constraints-label-studio.txt label-studio "Label Studio"; }

s3() { apart .venv-s3 tools/constraints-s3.txt 'moto[server,s3]' "moto, the tests' S3 server,"; }

browser() {
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null; then say "browser: $(command -v "$name")"; return; fi
  done
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing Debian's Chromium"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
  else
    say "no Chrome or Chromium found: tests that need a browser will be skipped (install one to run them)"
  fi
}

for what in "$@"; do "$what"; done
