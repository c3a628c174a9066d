#!/usr/bin/env bash
# Runs every libFuzzer target of a build folder for some seconds, two at a time, starting from the corpora in the tree:
# tests/fuzz/run.sh BUILD SECONDS [TARGET...]
# What crashes stands in BUILD/fuzz-NAME; what is new and worth keeping in BUILD/corpus-NAME.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
seconds=$2
shift 2
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
	for t in "$build"/tests/fuzz/fuzz_*; do
		[ -f "$t" ] && [ -x "$t" ] && targets+=("$(basename "$t" | sed s/^fuzz_//)")
	done
fi
[ ${#targets[@]} -gt 0 ] || { echo "no fuzz targets in $build" >&2; exit 1; }

one() {
	local name=$1 work=$build/fuzz-$1
	mkdir -p "$work" "$build/corpus-$name"
	local dict=()
	[ -e "$here/$name.dict" ] && dict=(-dict="$here/$name.dict")
	"$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=3000 -print_final_stats=1 \
		-artifact_prefix="$work/" "${dict[@]}" "$build/corpus-$name" "$here/corpus/$name" >"$work/log" 2>&1
	local status=$?
	echo "$name: exit $status, $(grep -a 'number_of_executed_units' "$work/log"), $(grep -ac 'NEW' "$work/log") new inputs"
	return $status
}

failed=0
running=()
for name in "${targets[@]}"; do
	one "$name" &
	running+=($!)
	if [ ${#running[@]} -eq 2 ]; then
		wait "${running[0]}" || failed=1
		running=("${running[@]:1}")
	fi
done
for pid in "${running[@]}"; do
	wait "$pid" || failed=1
done
exit $failed
