// counter.hpp: a 64-bit counter that every process attached to an arena can change.
//
//   Shape      one cache line in the arena
//   Unit       whatever the caller counts, modulo 2^64
//   Progress   every call is wait-free and noexcept; none allocates or makes a system call
//   Errors     none here; a name taken twice in one arena is an error when the arena is created
//   Death      a process killed inside a call has counted or has not; nothing to repair
//   Source     one fetch-and-add; no published algorithm is needed
//   Edges      C2 -> C4, C6   carries everything the publisher wrote before C2
#pragma once

#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/member_of_arena.hpp>

namespace lagoon::inline v1 {

class alignas(detail::cache_line_bytes) Counter {
public:
    explicit Counter(const char* name, std::int64_t initial = 0) : total_{initial} {
        detail::register_object(this, {.kind = detail::Kind::counter,
                                       .name = name,
                                       .element_type = "long",
                                       .element_bytes = sizeof(std::int64_t),
                                       .element_align = alignof(std::int64_t),
                                       .object_bytes = sizeof(Counter)});
    }
    Counter(const Counter&) = delete;
    Counter& operator=(const Counter&) = delete;

    /// Adds `events` and returns the total just before. Orders no other memory.
    LAGOON_ALWAYS_INLINE std::int64_t add(std::int64_t events = 1) noexcept {
        // C1 relaxed RMW, no pair: only the sum is promised, and no RMW is ever lost.
        return total_.fetch_add(events, std::memory_order_relaxed);
    }

    /// Takes `events` away and returns the total just before. Orders no other memory.
    LAGOON_ALWAYS_INLINE std::int64_t sub(std::int64_t events = 1) noexcept {
        // C1 relaxed RMW, no pair: as add.
        return total_.fetch_sub(events, std::memory_order_relaxed);
    }

    /// As `add`, and hands the caller's earlier writes to whoever `observe`s the total.
    std::int64_t publish(std::int64_t events = 1) noexcept {
        // C2 release RMW -> C4, C6.
        return total_.fetch_add(events, std::memory_order_release);
    }

    /// The total at some moment during the call. Orders no other memory.
    [[nodiscard]] std::int64_t load() const noexcept {
        // C3 relaxed load, no pair: a number, not a promise about other memory.
        return total_.load(std::memory_order_relaxed);
    }

    /// The total together with the writes behind every `publish` counted in it.
    [[nodiscard]] std::int64_t observe() const noexcept {
        // C4 acquire load <- C2, across any run of C1 and C2 in between.
        return total_.load(std::memory_order_acquire);
    }

    /// Sets the total and returns the one before, in one step: no add beside it is lost.
    std::int64_t exchange(std::int64_t total) noexcept {
        // C5 relaxed RMW, no pair: as add.
        return total_.exchange(total, std::memory_order_relaxed);
    }

    /// Sets the total to `desired` if it is `expected`; otherwise `expected` becomes what it is.
    bool compare_exchange(std::int64_t& expected, std::int64_t desired) noexcept {
        // C6 acq_rel RMW <- C2, C6 -> C6.
        return total_.compare_exchange_strong(expected, desired, std::memory_order_acq_rel,
                                              std::memory_order_acquire);
    }

private:
    // Invariant: changed by read-modify-write only. A plain store would cut the release
    // sequence that the edge C2 -> C4 runs along.
    detail::Atomic<std::int64_t> total_;
};

}  // namespace lagoon::inline v1
