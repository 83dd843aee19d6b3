#!/usr/bin/env bash
# Puts each fault of the list into the core by hand, one after the other, and looks whether the
# simulator finds it within ten thousand runs (5,000 small plans, two runs each).
# Those around the core (1 to 5, 12, 14) are a test of their own: `core simulated::what_is_put_in`.
#
#   tests/mutants/run.sh [NUMBER]...
#
# One build serves all: the patch reads the number from the environment.
set -euo pipefail
root=$(git rev-parse --show-toplevel)
copy=$(mktemp -d)
trap 'git -C "$root" worktree remove --force "$copy"' EXIT
git -C "$root" worktree add --quiet --detach "$copy" HEAD
cd "$copy"
git apply tests/mutants/core.patch
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$copy/target}
cargo test --locked --quiet --test core --no-run
survivors=()
for mutant in "${@:-6 7 8 9 10 11 13 15 16 17 18}"; do
    for number in $mutant; do
        log=$copy/mutant-$number.log
        if CUTOVER_MUTANT=$number CORE_RUNS=5000 cargo test --locked --quiet --test core \
            simulated::runs_of_small >"$log" 2>&1; then
            echo "$number survives"
            survivors+=("$number")
        else
            echo "$number is found: $(grep -m1 -oE 'seed [0-9]+ breaks .*' "$log" || tail -n 3 "$log")"
        fi
    done
done
[ ${#survivors[@]} -eq 0 ]
