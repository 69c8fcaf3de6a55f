// harness.hpp: interleaved benchmarks whose result is a ratio.
//
// Google Benchmark runs one benchmark to its end, then the next. On a machine whose speed changes
// by half from second to second that compares two moments, not two subjects. Here every round
// times every case twice, for a millisecond or two each, in a new random order, and a ratio is
// taken between times of the same round. The two times of one case give the noise: the same thing
// against itself, shown beside every ratio. So this small harness stands in its place.
//
//   Unit       nanoseconds per operation and participant, wall time; ratios have no unit
//   Errors     std::exception from anything inside; a miss (a pool found empty) fails the run where
//              it is ours, and leaves a peer's case out
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "histogram.hpp"
#include "stage.hpp"

namespace lagoon_perf {

/// One thing that is timed. `run` performs the operations inside exactly one `Stage::timed`, or
/// tells the median of what it has timed one by one.
struct Case {
    std::string subject;
    std::string pattern;
    std::function<Interval(std::uint64_t operations)> run;
    std::uint64_t max_operations = UINT64_MAX;
    // Where single operations were timed, one per participant that did; and what, if not those.
    std::vector<const Histogram*> latencies = {};
    std::string latencies_are = {};
};

/// A ratio to tell: `subject` in `pattern` over `to_subject` in `to_pattern`.
struct Ratio {
    std::string subject;
    std::string pattern;
    std::string to_subject;
    std::string to_pattern;
    double at_most = 0;  // 0: nothing is required
    double aim = 0;      // what would be better still; 0: none
};

/// What a run leaves out, and why.
struct Skipped {
    std::string what;
    std::string why;
};

struct Plan {
    std::vector<Case> cases;
    std::vector<Ratio> ratios;
    std::vector<Skipped> skipped = {};

    [[nodiscard]] bool has(const std::string& subject, const std::string& pattern) const;
    /// Adds a ratio, or its bounds to the one there is; nothing when a peer was skipped.
    void require(const Ratio& ratio);

    /// Ratios of all other subjects of a pattern to one of them.
    void compare_all_to(const std::string& pattern, const std::string& to_subject);
};

/// Cases that are timed in the same rounds, by the same number of processes. `build` runs in
/// every participant and makes the same list of cases in each.
struct Suite {
    std::string name;
    unsigned participants = 1;
    std::function<void(Stage&, Plan&)> build;
    bool shares_cpu = false;  // all on one CPU; else participant n on the n-th, round and round
    double sample_ms = 0;     // 0: as the command line says
    int max_rounds = 0;       // 0: as the command line says
};

/// A figure that is read or computed rather than timed, e.g. bytes per slot.
struct Fact {
    std::string name;
    double value = 0;
    std::string unit;
    double at_most = 0;  // 0: nothing is required
};

struct Program {
    std::string name;
    std::vector<Suite> suites;
    std::function<std::vector<Fact>(const std::string& run_id, bool quick)> facts;  // may be empty
};

/// Timed results of one case: `first[r]` and `second[r]` are of round r.
struct CaseTimes {
    std::vector<double> first;
    std::vector<double> second;
    std::uint64_t operations = 0;
    std::uint64_t misses = 0;
};

/// The whole of `main`. Exit status: 0 fine; 1 failed; 2 wrong usage, or a build that must not
/// print figures; 3 a requirement is not met and `--check` was given.
int run_program(const Program& program, int argc, char** argv);

}  // namespace lagoon_perf
