// outcome.hpp: the ordinary ends of a call, returned and never thrown.
#pragma once

#include <cstdint>
#include <iosfwd>

namespace lagoon::inline v1 {

enum class Outcome : std::uint32_t {
    ok,                ///< done, taken, true
    would_block,       ///< nothing idle now; the same call may succeed
    timed_out,         ///< the deadline passed
    closed,            ///< closed or shut down; a waiter is told at once
    cancelled,         ///< the caller's stop token said so
    at_capacity,       ///< no place for one more
    too_many_waiters,  ///< the pool's `max_waiters` wait already
    not_attached,      ///< a forked child found no place among the arena's processes, or no file
    given_back,        ///< this lease was returned, moved from, discarded or never held
};

/// "timed_out" and so on.
const char* to_string(Outcome outcome) noexcept;
std::ostream& operator<<(std::ostream& out, Outcome outcome);

}  // namespace lagoon::inline v1
