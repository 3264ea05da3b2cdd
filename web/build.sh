#!/bin/sh
# Makes sdfkit/report/web/three.min.js, with its licence beside it, of the version of three.js in package.json. Needs npm.
set -eu
cd "$(dirname "$0")"
target=../sdfkit/report/web
npm install --no-package-lock --no-audit --no-fund --silent
cp node_modules/three/LICENSE "$target/three.LICENSE"
version=$(node -p 'require("./package.json").dependencies.three')
npx esbuild three_entry.js --bundle --minify --format=iife --global-name=THREE --legal-comments=none \
    --banner:js="/* three.js $version, MIT License, Copyright 2010-2026 three.js authors, https://threejs.org */" \
    --outfile="$target/three.min.js"
