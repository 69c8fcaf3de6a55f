// pool_creation.hpp: how many of a pool's resources are made at one time, and how soon one is tried
// again that could not be made.
//
//   Shape      an aggregate, field of PoolOptions; the order of the fields is part of the API
//   Unit       factories at work, over all processes; nanoseconds of CLOCK_MONOTONIC
//   Progress   who may not make one yet waits for whatever comes first: a return, a place, its
//              turn. Asked before a factory is called, and nowhere else
//   Errors     invalid_argument, with the member's name and what it can be, when it is constructed
//   Death      of who makes one: a failure for `retry_after`, and its turn is another's
//   Source     runtime/DESIGN.md, "Making resources"
#pragma once

#include <chrono>

#include <lagoon/count.hpp>

namespace lagoon::inline v1 {

/// For acquire_or_create and its forms. add() brings what is made already: it is not held back, and
/// how it ends, but for a death, says nothing of the next factory.
struct PoolCreation {
    /// So many factories are at work at one time; up to 12; 0: as many as there are places.
    Count at_once = 0;
    /// When one has failed, the next is tried after so long, one at a time until one succeeds; 0:
    /// at once. Each further failure doubles it.
    std::chrono::nanoseconds retry_after{0};
    /// Up to this; 0: it stays as it is.
    std::chrono::nanoseconds retry_at_most{0};
};

}  // namespace lagoon::inline v1
