// ticks.hpp: the cheapest clock there is, for what has to be timed one by one.
//
//   Unit       ticks of the processor's counter (x86-64: rdtscp, which waits for what came before
//              it; same speed on all cores where constant_tsc is told); elsewhere nanoseconds
#pragma once

#include <cstdint>

#include "environment.hpp"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace lagoon_perf {

[[nodiscard]] inline std::uint64_t ticks() {
#if defined(__x86_64__)
    unsigned cpu = 0;
    return __rdtscp(&cpu);
#else
    return static_cast<std::uint64_t>(now_ns());
#endif
}

/// How long a tick is: measured once in every process, over 20 ms.
[[nodiscard]] inline double ns_per_tick() {
    static const double measured = [] {
        const long long begin_ns = now_ns();
        const std::uint64_t begin = ticks();
        while (now_ns() - begin_ns < 20'000'000) {
        }
        const long long end_ns = now_ns();
        return static_cast<double>(end_ns - begin_ns) / static_cast<double>(ticks() - begin);
    }();
    return measured;
}

/// A difference of ticks in nanoseconds; a negative one, of two CPUs' counters, is 0.
[[nodiscard]] inline std::uint64_t in_ns(std::uint64_t difference) {
    const auto signed_difference = static_cast<std::int64_t>(difference);
    if (signed_difference <= 0) return 0;
    return static_cast<std::uint64_t>(static_cast<double>(signed_difference) * ns_per_tick());
}

}  // namespace lagoon_perf
