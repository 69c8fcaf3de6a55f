// pool_times.hpp: how long things take in a pool that measures it.
#pragma once

#include "pool_clock.hpp"
#include "pool_life.hpp"

namespace lagoon::inline v1::detail {

inline bool is_measured(const PoolBody& body) noexcept { return body.creation.times_at != 0; }

/// What is kept of a pool of so many slots.
[[nodiscard]] std::uint64_t times_bytes(std::uint64_t capacity) noexcept;
/// As life_flaw.
const char* times_flaw(const PoolBody& body, std::uint64_t storage_bytes) noexcept;

/// In a pool that measures. The slot is ours, and is lent, or begins to be filled, at `now`.
void note_began(PoolBody& body, std::uint64_t index, std::uint64_t now) noexcept;
/// In any pool. The slot is ours: what began there has come to its end, at `now`.
void count_time(PoolBody& body, Timed kind, std::uint64_t index, std::uint64_t now) noexcept;

/// One acquisition, from its construction.
class WaitClock {
public:
    explicit WaitClock(PoolBody& body) noexcept
        : body_{body}, began_ns_{is_measured(body) ? clock_ns() : 0} {}
    /// It has what it came for.
    void count() const noexcept;

private:
    PoolBody& body_;
    std::uint64_t began_ns_;
};

}  // namespace lagoon::inline v1::detail
