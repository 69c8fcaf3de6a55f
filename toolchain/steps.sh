# steps.sh: the steps of toolchain/test, and its count; sourced after lib.sh.
# A step prints a heading, its result and its wall time; all of its output only when it failed.

passed=0 failed=0 skipped=0
jobs=$(nproc)

# step HEADING COMMAND...: the command's status; its output is in $run_dir/log.
step() {
    local heading=$1 began=$SECONDS status=0
    shift
    printf '== %s ... ' "$heading"
    in_group "$@" >"$run_dir/log" 2>&1 || status=$?
    printf '%s, %d s\n' "$([ "$status" = 0 ] && echo ok || echo FAILED)" $((SECONDS - began))
    if [ "$status" != 0 ]; then cat "$run_dir/log"; fi
    return "$status"
}

check() {  # HEADING COMMAND...
    if step "check: $1" "${@:2}"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

build() {  # PRESET TARGET...
    local preset=$1
    shift
    if step "$preset: configure" cmake --preset "$preset" &&
        step "$preset: build" cmake --build "build/$preset" -j "$jobs" --target "${@:-all}"; then
        return 0
    fi
    failed=$((failed + 1))
    return 1
}

# run_tests PRESET [LABELS]: runs the build's tests, of all labels or of those that the expression
# matches, and adds up their cases.
run_tests() {
    local preset=$1 labels=${2:-} status=0 options=()
    if [ -n "$labels" ]; then options+=(-L "^($labels)\$"); fi
    if [ -n "$label" ]; then options+=(-L "^$label\$"); fi
    if [ -n "$regex" ]; then options+=(-R "$regex"); fi
    # Thread sanitizer's runtime may hang in a forked child of a process with threads.
    if [[ $preset = *tsan ]]; then options+=(--repeat after-timeout:2 --timeout 150); fi
    # With a selection of the user's a build may have nothing of it; the summary looks at the sum.
    options+=(--no-tests="$($selecting && echo ignore || echo error)")
    local log=$PWD/build/$preset/tests.xml
    rm -f "$log"
    step "$preset: ${labels:-all} tests${LAGOON_TEST_LAUNCHER:+ under ${LAGOON_TEST_LAUNCHER%% *}}" \
        ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure --output-junit "$log" \
        --test-output-size-passed 10000000 --test-output-size-failed 10000000 \
        "${options[@]}" ||
        status=$?
    local left_by_tests=$left_behind
    if [ ! -f "$log" ] && ! $selecting; then status=1; fi
    local cases=0 broken=0 omitted=0
    if [ -f "$log" ]; then
        read -r cases broken omitted < <(awk -f toolchain/count_cases.awk "$log")
    fi
    if [ "$status" != 0 ] && [ "$broken" = 0 ]; then broken=1; fi
    if $left_by_tests; then
        echo "   the tests left processes behind"
        broken=$((broken + 1))
    fi
    printf '   %d passed, %d failed, %d skipped\n' "$cases" "$broken" "$omitted"
    passed=$((passed + cases)) failed=$((failed + broken)) skipped=$((skipped + omitted))
}

# tell PRESET REGEX: the lines of the tests' output that say how much was tried.
tell() {
    if [ -f "build/$1/tests.xml" ]; then
        sed 's/^[ \t]*<system-out>//' "build/$1/tests.xml" | grep -oE "^($2)" | sed 's/^/   /' || true
    fi
}

# tell_sums PRESET: how many kill points and interleavings its tests have tried, in all.
tell_sums() {
    if [ ! -f "build/$1/tests.xml" ]; then return 0; fi
    awk '
        { sub(/^[ \t]*<system-out>/, "") }
        /^kill points: changed/ { gsub(/,/, ""); changed += $4; other += $6 }
        /^kill points: pairs/   { gsub(/,/, ""); pairs += $4 }
        / executions +[0-9]+ steps / {
            for (i = 2; i <= NF; ++i) {
                if ($i == "executions") executions += $(i - 1)
                if ($i == "steps") steps += $(i - 1)
            }
        }
        END {
            if (changed + pairs > 0) {
                printf "   kill points: %d changed, %d other, %d in pairs\n", changed, other, pairs
            }
            if (executions > 0) printf "   interleavings: %.0f, of %.0f steps\n", executions, steps
        }' "build/$1/tests.xml"
}

summary() {
    local left
    left=$(find "$LAGOON_DIR" -mindepth 1)
    if [ -n "$left" ]; then
        printf 'left behind:\n%s\n' "$left"
        failed=$((failed + 1))
    fi
    if [ "$skipped" = 0 ]; then
        echo "$passed passed, $failed failed"
    else
        echo "$passed passed, $failed failed, $skipped skipped"
    fi
    if [ "$failed" != 0 ]; then exit 1; fi
    if [ "$passed" = 0 ]; then die "nothing ran"; fi
    exit 0
}
