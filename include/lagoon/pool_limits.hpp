// pool_limits.hpp: how long a pool's factories and hooks may be at work on one resource.
//
//   Shape      an aggregate, last field of PoolOptions; the order of the fields is part of the API
//   Unit       nanoseconds of CLOCK_MONOTONIC
//   Progress   nobody is interrupted: code that can take a third argument, behind the resource and
//              its slot, is told there when it is to have ended, a
//              std::chrono::steady_clock::time_point, its max() where there is no limit
//   Errors     invalid_argument, with the member's name and what it can be, when it is constructed
//   Death      as without a limit
//   Source     runtime/DESIGN.md, "Limits"; deadpool and HikariCP have such limits
#pragma once

#include <chrono>

namespace lagoon::inline v1 {

/// 0: no limit. How long an acquisition waits is its own deadline's to say; Lease::phase() says
/// what it was at when that passed.
struct PoolLimits {
    /// For a factory and on_create. What was made later is destroyed, the creation has failed, and
    /// whoever asked for it gets timed_out, in the phase creating; when the limit passes, where a
    /// PoolHooks::factory is at it in its own thread. add() has no limit.
    std::chrono::nanoseconds create{0};
    std::chrono::nanoseconds check{0};  ///< a check that ends later has not passed
    std::chrono::nanoseconds reset{0};  ///< nor has a reset
};

}  // namespace lagoon::inline v1
