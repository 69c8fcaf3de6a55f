// sharded_counter.hpp: a counter for many writers and few readers.
//
//   Shape      one cache line, and 8 bytes of every lane's stripe line
//   Unit       whatever the caller counts, modulo 2^64
//   Progress   add is wait-free, a plain load and store, but for a thread's first, which takes a
//              lane under the process's mutex, and those beyond max_threads, which find none and
//              take it each time; load reads one word per lane
//   Errors     none here; an add in a forked child that cannot attach prints and aborts
//   Death      a process killed inside a call has counted or has not; its stripe stays and is
//              carried on by the lane's next owner, so nothing is lost or folded twice
//   Source     one stripe per writer, summed by the reader; no published algorithm is needed
#pragma once

#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/member_of_arena.hpp>

namespace lagoon::inline v1 {

class alignas(detail::cache_line_bytes) ShardedCounter {
public:
    explicit ShardedCounter(const char* name)
        : storage_{detail::register_stripes(this, {.kind = detail::Kind::sharded_counter,
                                                   .name = name,
                                                   .element_type = "long",
                                                   .element_bytes = sizeof(std::int64_t),
                                                   .element_align = alignof(std::int64_t),
                                                   .object_bytes = sizeof(ShardedCounter)})} {}
    ShardedCounter(const ShardedCounter&) = delete;
    ShardedCounter& operator=(const ShardedCounter&) = delete;

    /// Adds `events` to the calling thread's stripe. Orders no other memory.
    LAGOON_ALWAYS_INLINE void add(std::int64_t events = 1) noexcept {
        const detail::LaneView& own = *detail::hot.own;
        const std::uint64_t here = reinterpret_cast<std::uintptr_t>(this) - own.base;
        const std::uint64_t stripe = here + static_cast<std::uint64_t>(storage_.from_object) +
                                     std::uint64_t{own.lane} * detail::cache_line_bytes;
        const std::uint64_t bytes = own.size();
        if (here >= bytes || stripe >= bytes) [[unlikely]]
            return add_slow(events);
        auto& mine = *reinterpret_cast<detail::Atomic<std::int64_t>*>(own.base + stripe);
        // S1 relaxed load, no pair: this thread alone writes its stripe.
        const std::int64_t before = mine.load(std::memory_order_relaxed);
        // S2 relaxed store, no pair: only the sum is promised.
        mine.store(sum(before, events), std::memory_order_relaxed);
    }
    void sub(std::int64_t events = 1) noexcept {
        add(static_cast<std::int64_t>(-static_cast<std::uint64_t>(events)));
    }

    /// The sum of all stripes: exact for every add that happened before the call, and for each
    /// concurrent one either way.
    [[nodiscard]] std::int64_t load() const noexcept {
        std::int64_t all = 0;
        for (std::uint64_t lane = 0; lane < storage_.extent; ++lane) {
            // S3 relaxed load, no pair: only the sum is promised.
            all = sum(all, stripe_of(lane).load(std::memory_order_relaxed));
        }
        return all;
    }

private:
    static std::int64_t sum(std::int64_t a, std::int64_t b) noexcept {
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) +
                                         static_cast<std::uint64_t>(b));
    }
    /// No lane of this thread's own is known yet, or there is none.
    LAGOON_COLD void add_slow(std::int64_t events) noexcept {
        const detail::LaneView& lane = detail::lane_of(this);
        if (!lane.shared) return add_known(lane, events);
        // S4 relaxed RMW, no pair: several threads share this stripe.
        stripe_of(lane.lane).fetch_add(events, std::memory_order_relaxed);
    }
    void add_known(const detail::LaneView& lane, std::int64_t events) noexcept {
        auto& mine = stripe_of(lane.lane);
        // S1 relaxed load, no pair: this thread alone writes its stripe.
        const std::int64_t before = mine.load(std::memory_order_relaxed);
        // S2 relaxed store, no pair: only the sum is promised.
        mine.store(sum(before, events), std::memory_order_relaxed);
    }
    [[nodiscard]] detail::Atomic<std::int64_t>& stripe_of(std::uint64_t lane) const noexcept {
        auto* at = reinterpret_cast<char*>(const_cast<ShardedCounter*>(this)) +
                   storage_.from_object + lane * detail::cache_line_bytes;
        return *reinterpret_cast<detail::Atomic<std::int64_t>*>(at);
    }

    detail::Storage storage_;  // extent: the arena's lanes
};

}  // namespace lagoon::inline v1
