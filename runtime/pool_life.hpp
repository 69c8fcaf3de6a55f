// pool_life.hpp: the life of a resource, for the other files of the pool.
#pragma once

#include <chrono>

#include <lagoon/pool_options.hpp>

#include "pool_body.hpp"

namespace lagoon::inline v1::detail {

inline bool has_life(const PoolBody& body) noexcept { return body.life.records_at != 0; }
/// Where there is a policy.
inline LifeRecord& record_of(PoolBody& body, std::uint64_t index) noexcept {
    auto* records = reinterpret_cast<std::byte*>(&body) + body.life.records_at;
    return reinterpret_cast<LifeRecord*>(records)[index];
}

template <class T>
inline T noted(const Atomic<T>& word) noexcept {
    // U1 relaxed load, no pair: behind the slot's word, which carries it; a hint.
    return word.load(std::memory_order_relaxed);
}
template <class T>
inline void note(Atomic<T>& word, T what) noexcept {
    // U2 relaxed store, no pair: before the slot's word, which carries it; a hint.
    word.store(what, std::memory_order_relaxed);
}

/// Throws invalid_argument for what no pool can have.
void require_life(const char* pool, const PoolOptions& options);
void require_quarantine(const char* pool, const PoolOptions& options);
void require_wait_order(const char* pool, const PoolOptions& options);
/// The policy's numbers; `records_at` is where the records are to lie, if there are any.
void write_life(PoolBody& body, const PoolLife& life, std::uint64_t records_at) noexcept;
/// Does this ask for any of it?
bool wants_life(const PoolLife& life) noexcept;
/// What cannot be a policy, in a body whose other numbers are checked; null: nothing.
const char* life_flaw(const PoolBody& body, std::uint64_t storage_bytes) noexcept;

/// The slot is BUILDING and ours: its record becomes that of a new filling.
void begin_life(PoolObject& pool, std::uint64_t index) noexcept;
/// The slot is CHECKING and ours, and is about to be idle.
void note_idle(PoolBody& body, std::uint64_t index) noexcept;
/// Is this FREE slot's resource one that may_lend ends?
bool is_past_lifetime(PoolBody& body, std::uint64_t index, std::uint64_t now) noexcept;
/// May this FREE slot be taken? One whose lifetime is over is ended; a check that it wants is left
/// to who may run hooks.
bool may_lend(PoolCache& cache, std::uint64_t index, std::uint64_t free,
              std::uint64_t now) noexcept;
/// The idle slot that came back longest ago, HELD.
Taken take_oldest(PoolBody& body, PoolCache& cache) noexcept;
/// What was just taken: as it is, HELD anew behind a passed check, or not taken and ended.
Taken checked(PoolObject& pool, PoolCache& cache, Taken taken) noexcept;
/// The use of a lease is noted; true when the resource is ended instead of lent again.
bool end_if_over(PoolObject& pool, const PoolCache& cache, Taken taken) noexcept;
/// Ends what is idle too long among the next `slots`, unless another one is at it; true when it has
/// ended something. Runs no hook.
bool end_idle(PoolObject& pool, std::uint64_t slots) noexcept;
/// A piece of that, if it is time for one; and destroy for what was ended, where this process has
/// it. For who may run hooks. Says what settle_pool says.
Phase tend(PoolObject& pool) noexcept;
/// All of it, for reap(): what is DIRTY goes on, and what is over is ended.
void reap_pool(PoolObject& pool, Reaped& done) noexcept;
constexpr std::uint64_t duty_slots = 64;  // at one time

// pool_overdue.cpp
/// The slot has become HELD by us at `now`, as the word says.
void note_lent(PoolBody& body, std::uint64_t index, std::uint64_t held, std::uint64_t now) noexcept;
/// Runs on_overdue, where this process has it, for each lease past its limit that it has not been
/// run for: among the next duty_slots slots, if it is time for them, or among all.
enum class Piece { next, all };
void tell_overdue(PoolObject& pool, Piece piece) noexcept;
/// When that is to be done by whoever sleeps; for_ever where it never is.
Deadline next_tell(PoolObject& pool) noexcept;

}  // namespace lagoon::inline v1::detail
