# count_cases.awk: from CTest's JUnit file, the number of cases passed, failed and skipped.
# A Catch2 executable counts with its test cases, any other test as one. A case that cannot run on
# this machine says so by a line `skipped: case: why`, and counts as skipped instead of passed.

/<testcase name=/ {
    status = $0
    sub(/.* status="/, "", status)
    sub(/".*/, "", status)
    good = status == "run"
    bad = status == "fail"
    omitted = status == "disabled"
    split("", seen)
}
/<skipped message="SKIP_RETURN_CODE/ { omitted = 1 }
/<skipped message=/ && !/SKIP_RETURN_CODE/ { bad = 1 }

{ sub(/^[ \t]*<system-out>/, "") }
/^skipped: / && !seen[$0]++ { ++omitted }
/^All tests passed \(/   { good = number_before("test case") }
/^test cases: +[0-9]+/   { good = number_before("passed"); bad = number_before("failed") }
/^No tests ran/          { good = 0 }

/<\/testcase>/ {
    if (status == "fail" && bad == 0) bad = 1
    passed += good > omitted ? good - omitted : 0
    failed += bad
    skipped += omitted
}

END { print passed + 0, failed + 0, skipped + 0 }

# The number before WORDS in the current line, 0 if there is none.
function number_before(words) {
    return match($0, "[0-9]+ " words) ? substr($0, RSTART) + 0 : 0
}
