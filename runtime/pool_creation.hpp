// pool_creation.hpp: who may call a factory now.
#pragma once

#include <chrono>

#include <lagoon/detail/pool_core.hpp>

namespace lagoon::inline v1::detail {

// Each of the limits, too.
void require_creation(const char* pool, const PoolOptions& options);
void write_creation(PoolBody& body, const PoolOptions& options) noexcept;
/// As life_flaw.
const char* creation_flaw(const PoolBody& body) noexcept;

/// When what begins now is to have ended; for_ever without a limit.
[[nodiscard]] Deadline until_limit(std::uint64_t limit_ns) noexcept;
[[nodiscard]] bool is_past(Deadline until) noexcept;

enum class Turn : std::uint32_t {
    mine,  ///< or there is no limit
    busy,  ///< as many as may are at work; who ends wakes whoever waits for a place
    later  ///< one has failed; nobody wakes anybody when its time comes
};
/// Is it worth while to claim a place? Asked before, so that a place is not taken only to be given
/// back.
[[nodiscard]] Turn ask_turn(PoolBody& body) noexcept;
/// By who has claimed a place and not begun to fill it.
[[nodiscard]] Turn take_turn(PoolBody& body, Taken building) noexcept;
/// How many might have a turn now. After a failure whoever comes first when it is time tries.
[[nodiscard]] std::uint64_t free_turns(PoolBody& body) noexcept;
/// When one may be tried again, in nanoseconds of the clock; 0: it has been, or nothing failed.
[[nodiscard]] std::uint64_t next_try_ns(const PoolBody& body) noexcept;

/// How long that is from now.
[[nodiscard]] std::chrono::nanoseconds until_next_try(const PoolBody& body) noexcept;

/// A slot is BUILDING no more: who waits for its turn may have it. EMPTY and DIRTY wake all who
/// wait for a place in any case.
void end_turn(PoolObject& pool) noexcept;
/// A factory has made one; the turn ends with it.
void note_made(PoolObject& pool) noexcept;
/// A factory has failed. Before its slot is another's, or the next one would not know.
void note_failed(PoolBody& body) noexcept;

}  // namespace lagoon::inline v1::detail
