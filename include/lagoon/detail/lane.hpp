// lane.hpp: the private half of a thread's place in an arena, and the one hot thread-local.
//
//   Shape      16 bytes of thread-local storage; the rest lies in memory that the kernel wipes
//              in a forked child, so that every fast path there fails into its slow path
//   Progress   wait-free; the slow path makes system calls and may claim a lane
//   Death      private: nothing of it is shared
#pragma once

#include <cstddef>
#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/layout.hpp>

namespace lagoon::inline v1 {
enum class Outcome : std::uint32_t;
}

namespace lagoon::inline v1::detail {

struct Attachment;
struct PoolCache;

/// A thread's lane in one arena. `bytes` is 0 for nobody's lane, which matches no address.
struct LaneView {
    std::uintptr_t base;
    Atomic<std::uint64_t> bytes;
    std::uint32_t lane;
    std::uint32_t member;
    bool shared;  // the process's lane, used by threads that found none of their own
    Attachment* attachment;

    [[nodiscard]] LAGOON_ALWAYS_INLINE std::uint64_t size() const noexcept {
        // N4 relaxed load, no pair: changed by its own thread, or when the arena is closed.
        return bytes.load(std::memory_order_relaxed);
    }
    void set_size(std::uint64_t size) noexcept {
        // N5 relaxed store, no pair: as N4.
        bytes.store(size, std::memory_order_relaxed);
    }
    void assign(const LaneView& other, std::uint32_t number, bool is_shared) noexcept {
        base = other.base;
        lane = number;
        member = other.member;
        shared = is_shared;
        attachment = other.attachment;
        set_size(other.size());
    }
};

/// Never null: they start at sentinels that match no object. `own` is the last lane of this
/// thread alone that was used, `last` the last pool.
struct ThreadHot {
    PoolCache* last;
    const LaneView* own;
};

/// The number of this process among those forked one from another; 0 in a fresh child, for it lies
/// in memory that the kernel wipes there.
extern const Atomic<std::uint64_t>* epoch_of_process;
/// The same, begun where it has not begun yet: never 0.
[[nodiscard]] LAGOON_COLD std::uint64_t process_epoch() noexcept;

[[nodiscard]] LAGOON_ALWAYS_INLINE bool is_epoch_of_process(std::uint64_t epoch) noexcept {
    // M11 relaxed load, no pair: written before anything of this process can carry its number.
    return epoch_of_process->load(std::memory_order_relaxed) == epoch;
}

extern constinit thread_local ThreadHot hot __attribute__((tls_model("initial-exec")));

/// The lane of the calling thread in the arena that `object` lies in; claims one, or attaches a
/// forked child, where there is none yet. Aborts with a message when `object` lies in no arena
/// that this process is attached to.
LAGOON_COLD const LaneView& find_lane(const void* object) noexcept;
/// The same, but null with the reason in `why` where this process (a forked child) cannot attach.
LAGOON_COLD const LaneView* find_lane_or(const void* object, Outcome* why) noexcept;

LAGOON_ALWAYS_INLINE const LaneView& lane_of(const void* object) noexcept {
    const LaneView* own = hot.own;
    if (reinterpret_cast<std::uintptr_t>(object) - own->base < own->size()) [[likely]]
        return *own;
    return find_lane(object);
}

LAGOON_ALWAYS_INLINE const LaneView* lane_or(const void* object, Outcome* why) noexcept {
    const LaneView* own = hot.own;
    if (reinterpret_cast<std::uintptr_t>(object) - own->base < own->size()) [[likely]]
        return own;
    return find_lane_or(object, why);
}

}  // namespace lagoon::inline v1::detail
