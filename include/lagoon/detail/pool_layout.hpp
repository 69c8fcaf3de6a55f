// pool_layout.hpp: what lies in the arena of a pool.
//
//   Shape      PoolObject in the root struct; in the storage PoolBody (11 cache lines), three
//              trees of hint bits, the slots, and the records of their lives where there are
//              any
//   Death      runtime/DESIGN.md, "The pool, window by window"
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/config.hpp>
#include <lagoon/detail/creation.hpp>
#include <lagoon/detail/layout.hpp>
#include <lagoon/detail/life.hpp>
#include <lagoon/detail/times.hpp>

namespace lagoon::inline v1::detail {

/// What every slot begins with; the value follows at a distance that its type fixes.
struct SlotHead {
    Atomic<std::uint64_t> truth;
    Atomic<std::uint64_t> meta;
};
static_assert(sizeof(SlotHead) == 16);

template <class T>
constexpr std::size_t value_offset = alignof(T) > sizeof(SlotHead) ? alignof(T) : sizeof(SlotHead);

/// Which hooks some process has registered; a slot waits for one of them only if it exists.
constexpr std::uint64_t hook_check = 1;
constexpr std::uint64_t hook_reset = 2;
constexpr std::uint64_t hook_destroy = 4;

constexpr std::uint32_t hint_levels = 4;  // 64^4 slots, 16.7 million
constexpr std::uint64_t capacity_limit = std::uint64_t{1} << 24;
constexpr std::uint32_t demand_leaves = 16;  // 16 * 64 lanes
/// In the demand summary beside one bit per leaf: somebody wants more than one slot and is not
/// served by a single wake; every release must look at the pool's state.
constexpr std::uint64_t demand_bulk = std::uint64_t{1} << 30;
constexpr std::uint64_t demand_attention = std::uint64_t{1} << 31;
/// Above these, how often somebody has marked a wait: what a release need not mind.
constexpr std::uint64_t one_announcement = std::uint64_t{1} << 32;
constexpr bool is_demanded(std::uint64_t demand) noexcept {
    return static_cast<std::uint32_t>(demand) != 0;
}

/// Heavy fences that several threads may share (shared_fence.hpp), counted.
struct FenceTickets {
    Atomic<std::uint64_t> begun;
    Atomic<std::uint64_t> ended;  // the greatest number of one that has
};

/// In the arena. The first three lines are written at creation and never again.
struct PoolBody {
    std::uint64_t capacity;
    std::uint64_t stride;  // from slot to slot
    std::uint64_t value_bytes;
    std::uint64_t value_at;    // from the slot to its value
    std::uint64_t slots_at;    // from this body
    std::uint64_t hints_at;    // from this body: free, empty and dirty tree, one after another
    std::uint64_t hint_words;  // of one tree
    std::uint16_t on_death;
    std::uint16_t wait_order;
    std::uint32_t quarantine_after;
    LifePolicy life;
    CreationPolicy creation;

    // Read by every release; written when somebody begins or ends to wait.
    alignas(cache_line_bytes) Atomic<std::uint64_t> demand;
    Atomic<std::uint32_t> event;
    std::uint32_t max_waiters;
    Atomic<std::uint64_t> closed;      // 1: lends no more
    Atomic<std::uint64_t> hooks;       // hook_check and so on, or-ed together over all processes
    Atomic<std::uint64_t> virgin;      // hint: slots from here on have never been filled
    Atomic<std::uint64_t> last_freed;  // hint: index + 1
    Atomic<std::uint64_t> bulk;        // who gathers several slots (gatherer_token), or 0

    alignas(cache_line_bytes) std::array<Atomic<std::uint64_t>, demand_leaves> demand_leaf;

    // Statistics of slow paths; fetch-and-add.
    alignas(cache_line_bytes) Atomic<std::uint64_t> created;
    Atomic<std::uint64_t> destroyed;
    Atomic<std::uint64_t> create_failed;
    Atomic<std::uint64_t> recovered;
    Atomic<std::uint64_t> quarantines;
    Atomic<std::uint64_t> hooks_missing;
    Atomic<std::uint64_t> waits;
    Atomic<std::uint64_t> timed_out;
    Atomic<std::uint64_t> late_wakes;
    Atomic<std::uint64_t> damaged;
    // No statistics: who came first; the fences of thieves.
    Atomic<std::uint64_t> next_ticket;
    FenceTickets fences;

    // Of pools with a life policy. Who ends what is idle too long (gatherer_token), or 0; and, a
    // hint, the slot that the next one begins with.
    alignas(cache_line_bytes) Atomic<std::uint64_t> duty;
    Atomic<std::uint64_t> duty_at;
    Atomic<std::uint64_t> duty_due_ns;  // hint: not before
    Atomic<std::uint64_t> ended_by_lifetime;
    Atomic<std::uint64_t> ended_by_uses;
    Atomic<std::uint64_t> ended_by_idle;
    Atomic<std::uint64_t> ended_by_failures;
    Atomic<std::uint64_t> ended_by_check;

    CreationWords making;
};
static_assert(sizeof(PoolBody) == 11 * cache_line_bytes);

/// In the arena: of one lane and pool, where waiters are served in the order of their coming.
struct alignas(cache_line_bytes) QueueEntry {
    Atomic<std::uint64_t> waits;  // what it waits for, and who came first (pool_queue.cpp); or 0
    Atomic<std::uint32_t> event;
};
static_assert(sizeof(QueueEntry) == cache_line_bytes);

/// In the root struct.
struct alignas(cache_line_bytes) PoolObject {
    Storage body;    // extent: capacity
    Storage claims;  // extent: lanes; LaneClaims of each
    Storage queue;   // extent: lanes, or 0 where there is none; QueueEntry of each
};

}  // namespace lagoon::inline v1::detail
