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
    at_capacity,       ///< no place for one more; no call ends so yet
    too_many_waiters,  ///< the pool's `max_waiters` wait already
    not_attached,      ///< a forked child found no place among the arena's processes, or no file
    given_back,        ///< this lease was returned, moved from, discarded or never held
};

/// What an acquisition that has ended without a resource was waiting for last.
enum class Phase : std::uint32_t {
    none,       ///< nothing: it did not wait, or was sent away
    waiting,    ///< a resource that comes back, or a place for a new one
    creating,   ///< its turn to make one, PoolCreation::at_once are being made; or what its
                ///< process's factory makes for it; or that, or what it made itself, took longer
                ///< than PoolLimits::create
    retrying,   ///< the time to try again, for making one has failed
    checking,   ///< one that passes its check: those it met have not
    resetting,  ///< the same of a reset
};
const char* to_string(Phase phase) noexcept;
std::ostream& operator<<(std::ostream& out, Phase phase);

/// "timed_out" and so on.
const char* to_string(Outcome outcome) noexcept;
std::ostream& operator<<(std::ostream& out, Outcome outcome);

}  // namespace lagoon::inline v1
