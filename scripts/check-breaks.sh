#!/bin/sh
# Checks that each patch of crates/prove/breaks applies to the tree, and that the fault-injection binary compiles
# with all of them. They are compiled together, since one by one would take twelve times as long; a patch that
# doesn't apply beside the others must therefore change no Rust file.
set -eu
cd "$(dirname "$0")/.."

tree=$PWD/target/patched-tree
rm -rf "$tree"
mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -cf - | tar -xf - -C "$tree"

# The copy doesn't belong to the repository around it.
export GIT_CEILING_DIRECTORIES="$PWD/target"
for patch in "$PWD"/crates/prove/breaks/*.patch; do
    git apply --check "$patch"
    (cd "$tree" && git apply "$patch" 2>/dev/null) && continue
    if grep -q '^+++ .*\.rs$' "$patch"; then
        echo "$patch doesn't apply beside the other patches, so it isn't compiled" >&2
        exit 1
    fi
done

RUSTC_WORKSPACE_WRAPPER="$PWD/crates/prove/rustc-with-faults" ${CARGO:-cargo} check --quiet \
    --manifest-path "$tree/Cargo.toml" --target-dir "$PWD/target" --workspace --features "$FEATURES" --bin fault-stage
