// creation.hpp: what a pool keeps of the making of its resources.
//
//   Shape      three cache lines in the pool's body
//   Unit       nanoseconds of CLOCK_MONOTONIC
//   Death      a turn belongs to a slot's word, and ends with it (runtime/DESIGN.md)
#pragma once

#include <array>
#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/config.hpp>

namespace lagoon::inline v1::detail {

constexpr std::uint32_t most_turns = 12;

/// Written at creation and never again. All zeroes where there is no policy, nor limits.
struct alignas(cache_line_bytes) CreationPolicy {
    std::uint64_t at_once;         // 0: no limit
    std::uint64_t retry_after_ns;  // 0: at once
    std::uint64_t retry_at_most_ns;
    // How long each may take; 0: no limit.
    std::uint64_t create_limit_ns;
    std::uint64_t check_limit_ns;
    std::uint64_t reset_limit_ns;
    std::uint64_t times_at;  // of detail/times.hpp, from the pool's body; 0: nothing is measured
    std::uint64_t reserved;
};
static_assert(sizeof(CreationPolicy) == cache_line_bytes);

struct alignas(cache_line_bytes) CreationWords {
    /// Whose turn it is: which slot, BUILDING in which generation. Spent as soon as that slot's
    /// word is another.
    std::array<Atomic<std::uint64_t>, most_turns> turn;
    Atomic<std::uint64_t> failures;  // hint: in a row
    Atomic<std::uint64_t> retry_ns;  // when the next one may be tried; 0: now
    std::array<std::uint64_t, 2> reserved;
};
static_assert(sizeof(CreationWords) == 2 * cache_line_bytes);

}  // namespace lagoon::inline v1::detail
