# lib.sh: what demo, test, perf and fresh share; sourced, never run.
# It changes to the root of the checkout and sets up the end: whatever happens, the processes that a
# step started are ended and the directory of this run, on a tmpfs, is removed. Who makes more than
# that defines remove_more.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
export PYTHONDONTWRITEBYTECODE=1

run_dir=$(mktemp -d /dev/shm/lagoon-run-XXXXXX)
export LAGOON_DIR=$run_dir/arenas
mkdir "$LAGOON_DIR"
chmod 0711 "$run_dir" "$LAGOON_DIR"  # some tests become another user on the way in
group=  # the process group of the running step

# Every process that was started for this run carries its directory in LAGOON_DIR, whatever group,
# session or parent it has by now.
processes_of_run() {
    (
        unset LAGOON_DIR  # these do not count themselves
        grep -lzsF "LAGOON_DIR=$run_dir" /proc/[0-9]*/environ | tr -dc '0-9\n' || true
    )
}

finish() {
    local status=$?
    set +e
    trap - EXIT
    trap '' INT TERM HUP
    if [ -n "$group" ]; then kill -KILL -- "-$group" 2>/dev/null || true; fi
    kill_all
    if declare -F remove_more >/dev/null; then remove_more; fi
    rm -rf "$run_dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

kill_all() {
    local pids
    for _ in 1 2 3 4 5; do
        mapfile -t pids < <(processes_of_run)
        if [ ${#pids[@]} = 0 ]; then return 0; fi
        kill -KILL "${pids[@]}" 2>/dev/null || true
        sleep 0.1
    done
}

# Runs a command in a process group of its own, so that a signal to this script ends the waiting at
# once. What the command leaves behind is ended; left_behind says whether there was anything.
in_group() {
    local status=0
    set -m
    "$@" </dev/null &
    group=$!
    set +m
    wait "$group" || status=$?
    group=
    left_behind=false
    # Who was killed or asked to go a moment ago may need another one.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        if [ -z "$(processes_of_run)" ]; then return "$status"; fi
        sleep 0.2
    done
    left_behind=true
    kill_all
    return "$status"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo: $*"
    fi
}

# install_missing "PACKAGE: what it is for"...
install_missing() {
    local entry missing=()
    if ! command -v dpkg-query >/dev/null; then
        echo "Not a Debian: taking it that these are here: ${*%%:*}"
        return
    fi
    for entry; do
        if [[ $(dpkg-query -W -f='${Status};' "${entry%%:*}" 2>/dev/null) != *"ok installed"* ]]; then
            if [ ${#missing[@]} = 0 ]; then echo "Installing with apt-get what is missing here:"; fi
            echo "    $entry"
            missing+=("${entry%%:*}")
        fi
    done
    if [ ${#missing[@]} = 0 ]; then return 0; fi
    # One apt-get at a time: it gives up when another one holds its lists.
    as_root flock /var/lib/apt apt-get -q -y update >"$run_dir/apt.log" 2>&1 ||
        echo "    apt-get update failed; trying with the lists that are here"
    if ! as_root flock /var/lib/apt env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o DPkg::Lock::Timeout=600 install --no-install-recommends "${missing[@]}" \
        >>"$run_dir/apt.log" 2>&1; then
        cat "$run_dir/apt.log"
        die "apt-get could not install: ${missing[*]}"
    fi
}

packages_to_build=(
    "g++: the compiler"
    "cmake: configures the build"
    "ninja-build: runs the build"
    "libcereal-dev: serialisation, used by the headers"
    "libcli11-dev: the command line of the lagoon command"
    "nlohmann-json3-dev: its --json output"
)
