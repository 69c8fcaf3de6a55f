// life.hpp: what a pool keeps of its resources' lives: the policy's numbers, and a record per slot.
//
//   Shape      one cache line in the pool's body; where there is a policy, 32 bytes per slot behind
//              the slots
//   Unit       nanoseconds of CLOCK_MONOTONIC
//   Death      records are hints: a kill leaves each word old or new (runtime/DESIGN.md)
#pragma once

#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/config.hpp>

namespace lagoon::inline v1::detail {

/// Written at creation and never again. All zeroes where there is no policy.
struct alignas(cache_line_bytes) LifePolicy {
    std::uint64_t records_at;       // from the pool's body; 0: no policy
    std::uint64_t max_lifetime_ns;  // 0: for ever
    std::uint64_t idle_timeout_ns;  // 0: for ever
    std::uint64_t validate_after_ns;
    std::uint64_t lease_limit_ns;  // 0: for ever
    std::uint32_t min_size;
    std::uint32_t validates;   // 1: after that long, else never
    std::uint32_t jitter_ppb;  // parts of 10^9
    std::uint32_t max_uses;
    std::uint32_t max_failures;
    std::uint32_t order;  // LendOrder
};
static_assert(sizeof(LifePolicy) == cache_line_bytes);

/// Of one slot. Invariant: written only by whoever owns the slot (BUILDING, HELD, CHECKING), before
/// the word that hands it on; so beside a FREE word that has not changed since, it is that word's.
/// `since` is written behind a HELD word, or before that of a maker, and says which.
struct LifeRecord {
    Atomic<std::uint64_t> due_ns;       // the end of its lifetime; 0: never
    Atomic<std::uint64_t> returned_ns;  // when it became idle
    Atomic<std::uint64_t> since;        // when it was lent, and in which generation (pool_life.cpp)
    Atomic<std::uint32_t> uses;         // leases of this filling that came back
    Atomic<std::uint32_t> failures;
};
static_assert(sizeof(LifeRecord) == 32);

}  // namespace lagoon::inline v1::detail
