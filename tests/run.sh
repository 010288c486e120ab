#!/usr/bin/env bash
# Runs a cmocka program and mends its TAP: cmocka 1.1.5 says "not ok N # SKIP", which TAP reads as a failure.
set -o pipefail
"$@" 2>&1 | sed -u 's/^not ok \([0-9]*\) # SKIP/ok \1 # SKIP/'
