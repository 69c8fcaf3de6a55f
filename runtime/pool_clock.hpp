// pool_clock.hpp: what the times in a pool are measured by.
#pragma once

#include <chrono>
#include <cstdint>

namespace lagoon::inline v1::detail {

inline std::uint64_t nanoseconds_of(std::chrono::nanoseconds duration) noexcept {
    return static_cast<std::uint64_t>(duration.count());
}
/// CLOCK_MONOTONIC.
inline std::uint64_t clock_ns() noexcept {
    return nanoseconds_of(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace lagoon::inline v1::detail
