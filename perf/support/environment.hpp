// environment.hpp: what a figure depends on besides the code measured.
//
//   Errors     std::system_error when the kernel refuses a pinning or a filter that was asked for
#pragma once

#include <string>
#include <vector>

namespace lagoon_perf {

/// Everything a result is labelled with. No host name, user or path is among it.
struct Environment {
    std::string date;  // UTC, ISO 8601
    std::string kernel;
    std::string machine;
    std::string cpu;
    int cpus = 0;
    std::string compiler;
    std::string flags;
    std::string peers;       // versions of what is measured beside lagoon
    std::string load;        // of the machine, when the run began: others may be at work on it
    bool real_time = false;  // scheduled before all ordinary work
    int nice = 0;            // below 0: before others' work
    bool membarrier = false;
    std::string ownership;  // of the arenas: LAGOON_OWNERSHIP
};

[[nodiscard]] Environment environment();

/// Empty, or why this build must not print figures (a sanitizer, no optimisation, assertions on).
[[nodiscard]] std::string why_no_figures();

/// True when the kernel offers the expedited barrier between processes.
[[nodiscard]] bool has_membarrier();

/// From here on membarrier answers ENOSYS, in this process and those it starts (a seccomp filter).
void forbid_membarrier();

/// The CPUs the calling thread may run on. Ask before pinning.
[[nodiscard]] std::vector<int> allowed_cpus();

/// Pins the calling thread, and the threads it starts, to one CPU.
void pin_to(int cpu);

/// Nanoseconds on the monotonic clock.
[[nodiscard]] long long now_ns();

}  // namespace lagoon_perf
