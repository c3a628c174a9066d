#!/usr/bin/env bash
# clang-tidy over the sources of the layers and the bench: tidy.sh SOURCE BUILD
#
# BUILD holds compile_commands.json. What was found clean is remembered there by the hash of its
# preprocessed text and the rules, so that a run after a change costs what changed.
set -euo pipefail

source=$(realpath "$1")
build=$(realpath "$2")
cache=$build/tidy-clean
mkdir -p "$cache"
export source build cache

# Flags that gcc was given and clang does not know are not worth a warning; asserts are facts to the
# analyzer, in a release build too.
tidy_args=(--quiet -p "$build" --extra-arg=-Wno-unknown-warning-option --extra-arg=-UNDEBUG
	--extra-arg=-U_FORTIFY_SOURCE)

tidy_one() {
	local file=$1 hash output
	hash=$( (cat "$source/.clang-tidy" && clang -E -D_GNU_SOURCE -I"$source" $tidy_cflags "$file") |
		sha256sum | cut -d' ' -f1)
	if [ -e "$cache/$hash" ]; then
		return 0
	fi
	if ! output=$(clang-tidy "${@:2}" "$file" 2>&1); then
		printf '%s\n' "$output" | grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -header-filter'
		return 1
	fi
	touch "$cache/$hash"
}
export -f tidy_one

tidy_cflags=$(pkg-config --cflags libuv liburcu-memb libcrypto lmdb ldns p11-kit-1 libp11 yaml-0.1 jansson libcurl)
export tidy_cflags

# Every source that the build compiles, but for the tests' own: cmocka's macros are not ours to judge.
mapfile -t files < <(/usr/bin/python3 - "$source" "$build" <<'PY'
import json, os, sys
source, build = sys.argv[1:]
paths = set()
for entry in json.load(open(os.path.join(build, "compile_commands.json"))):
    path = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
    if path.startswith(source + "/") and not path.startswith(source + "/tests/unit/"):
        paths.add(path)
print("\n".join(sorted(paths)))
PY
)
[ "${#files[@]}" -gt 0 ] || { echo "no sources in $build/compile_commands.json" >&2; exit 1; }
printf '%s\0' "${files[@]}" |
	xargs -0 -P "$(nproc)" -I{} bash -c 'tidy_one "$@"' tidy {} "${tidy_args[@]}"
echo "${#files[@]} files clean"
