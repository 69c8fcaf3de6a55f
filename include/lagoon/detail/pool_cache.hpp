// pool_cache.hpp: what one thread knows of one pool.
//
//   Shape      private memory, wiped in a forked child
//   Edges      P3, P4   the thread's own stripe of what was taken; P9, P10 its pool
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/bias.hpp>
#include <lagoon/detail/config.hpp>
#include <lagoon/detail/pool_layout.hpp>

namespace lagoon::inline v1::detail {

struct PoolPrivate;

/// What one thread knows of one pool: private, wiped in a forked child. `key` null matches none.
struct alignas(cache_line_bytes) PoolCache {
    Atomic<const PoolObject*> key;
    std::byte* slots;
    std::uint64_t stride;
    std::uint64_t claim;  // added to a FREE word it gives the word HELD by my lane
    Atomic<std::uint64_t>* demand;
    Atomic<std::uint64_t>* free_hints;  // leaves
    Atomic<std::uint64_t>* acquired;    // my lane's `taken`
    std::uint64_t epoch;                // of this process: a fork's child has another
    Keeping keeping;
    PoolBody* body;
    PoolCache* next;  // of the same thread
    std::uint32_t lane;
    bool shared;                    // the lane is the process's: never in `hot`
    bool others_light;              // others' releases are plain stores
    bool settling;                  // this thread runs hooks here
    bool validates;                 // of a life policy: what it takes now it will check if it must
    PoolPrivate* own;               // this process's hooks
    std::uint64_t waits;            // this thread, as its lane's entry in the queue says; or 0
    std::uint64_t acquired_before;  // `taken` when this cache was made
    std::uint64_t fought_at;        // its leases when this thread last had to look for a slot
    std::uint32_t fights;           // how often, one lease after another

    [[nodiscard]] LAGOON_ALWAYS_INLINE const PoolObject* pool() const noexcept {
        // P9 relaxed load, no pair: changed by its own thread, or when the arena is closed.
        return key.load(std::memory_order_relaxed);
    }
    void set_pool(const PoolObject* pool) noexcept {
        // P10 relaxed store, no pair: as P9.
        key.store(pool, std::memory_order_relaxed);
    }
    /// Has this thread taken anything here? Then some of it may still be out, or kept.
    [[nodiscard]] bool ever_took() const noexcept {
        // P3 relaxed load, no pair: this thread alone writes its stripe.
        return acquired->load(std::memory_order_relaxed) != acquired_before;
    }
    [[nodiscard]] LAGOON_ALWAYS_INLINE SlotHead& slot(std::uint64_t index) const noexcept {
        return *reinterpret_cast<SlotHead*>(slots + index * stride);
    }
};

}  // namespace lagoon::inline v1::detail
