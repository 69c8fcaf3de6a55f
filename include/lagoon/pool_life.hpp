// pool_life.hpp: how long a pool's resources live, and when they are looked at before they are
// lent.
//
//   Shape      an aggregate, field of PoolOptions; the order of the fields is part of the API.
//              A pool with any of it has 32 bytes more per slot; one without has none of it
//   Unit       nanoseconds of CLOCK_MONOTONIC, leases, failures; from when the slot was filled
//   Progress   taking and giving back stay lock-free, on a longer path than that of other pools,
//              with a look at the clock; `fifo` looks at every slot. A try_ form that meets what
//              is past its lifetime ends it, and makes a system call if somebody waits for a place
//   Errors     invalid_argument, with the member's name and what it can be, when it is constructed
//   Ending     destroy runs in the next call that may wait, add() or reap(), never in a try_ form
//              nor, unless the pool is closed, in giving back; where no process has a destroy,
//              the slot is empty at once. Nothing happens by itself: there is no thread and no
//              server. What a PoolHooks::factory has made in vain is destroyed by its thread
//   Death      of whoever notes a use or ends a resource: old or new. A note that is lost makes a
//              life one lease longer or shorter. What a dead borrower had counts as idle from when
//              it came back before that, unless a check or reset has passed since
//   Source     runtime/DESIGN.md, "The life of a resource"; the settings are those of HikariCP,
//              Apache Commons Pool and Go's database/sql
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include <lagoon/count.hpp>

namespace lagoon::inline v1 {

/// Which of several idle resources is lent.
enum class LendOrder : std::uint32_t {
    lifo,  ///< the one that came back last is tried first; no more is promised
    fifo,  ///< the one that came back longest ago, by the time its giver noted just before
};

struct PoolLife {
    /// A resource that was filled so long ago is ended when it comes back, or is met idle; 0:
    /// never.
    std::chrono::nanoseconds max_lifetime{0};
    /// Each filling's lifetime is shorter by up to this fraction, so that not all end at one time.
    double lifetime_jitter = 0;
    /// Ended when it comes back from this many leases; 0: never.
    std::uint32_t max_uses = 0;
    /// Idle for so long, it is ended by the next call that may wait, add() or reap(), of which the
    /// first two look at 64 slots, eight times in that time; 0: never. Until then it can still be
    /// lent: `validate_after` is for what must not be lent unlooked at.
    std::chrono::nanoseconds idle_timeout{0};
    /// idle_timeout leaves so many filled; the other limits do not count them.
    Count min_size = 0;
    /// Idle for so long, it is lent only when the borrower's check hook has passed, else destroyed,
    /// and the borrower looks on; 0: checked every time. The try_ forms step over it. A process
    /// without a check borrows unchecked, and so does a hook that borrows from its own pool.
    std::optional<std::chrono::nanoseconds> validate_after = {};
    /// Ended when it comes back after so many Lease::report_failure(); 0: never.
    std::uint32_t max_failures = 0;
    LendOrder order = LendOrder::lifo;
    /// A lease that is held for longer is told of, by PoolHooks::on_overdue, Pool::overdue() and
    /// explain(), on a millisecond or two; 0: none is. Nobody ends it: Arena::evict() ends its
    /// process.
    std::chrono::nanoseconds lease_limit{0};
    /// Pool::times() tells how long resources are waited for, held and made: 4.5 KiB and 8 bytes
    /// per slot more.
    bool measure = false;
};

}  // namespace lagoon::inline v1
