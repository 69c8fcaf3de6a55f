// pool_overdue.cpp: leases that are out for longer than the pool's lease_limit: noted, and told of.
//
// Who takes a slot notes when, and in which generation, in one word behind the slot's word. So what
// another lease has left there is known, and nobody is accused of it. One bit of that word says
// that a hook has been run for it.
//
//   killed                                leaves
//   taker, before its note                a lease that nobody is told of
//   whoever has set the bit, in the hook  a lease that no other hook is told of; overdue() tells
#include <algorithm>
#include <utility>

#include "pool_clock.hpp"
#include "pool_life.hpp"
#include "pool_times.hpp"
#include "process_state.hpp"

namespace lagoon::inline v1::detail {

namespace {

// 1 bit: told; 39 of 2^20 ns, 18 years; and 24 of the generation of the slot's word.
constexpr unsigned tick_shift = 20;
constexpr unsigned lent_shift = 24;
constexpr std::uint64_t lent_mask = (std::uint64_t{1} << lent_shift) - 1;
constexpr std::uint64_t one_tick_ns = std::uint64_t{1} << tick_shift;
constexpr std::uint64_t told_bit = std::uint64_t{1} << 63;

std::uint64_t lent_at(std::uint64_t now, std::uint64_t held) noexcept {
    return (now >> tick_shift << lent_shift & ~told_bit) | (word::generation(held) & lent_mask);
}

/// For how long the lease of this HELD word has been out, where that is longer than the limit; else
/// 0. It is known once its taker has noted it, a moment behind the word.
std::chrono::milliseconds overdue_for(const PoolBody& body, std::uint64_t since,
                                      std::uint64_t held) noexcept {
    if (since == 0 || (since & lent_mask) != (word::generation(held) & lent_mask)) return {};
    const std::uint64_t now = clock_ns();
    const std::uint64_t then = (since & ~told_bit) >> lent_shift << tick_shift;
    if (now <= then || now - then <= body.life.lease_limit_ns) return {};
    return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds{now - then});
}

/// Calls `look(lease, since, seen)` if this slot's lease is overdue, as its word `seen` says.
template <class Look>
void look_at_lease(const PoolObject& pool, std::uint64_t index, Look&& look) {
    PoolBody& body = body_of(pool);
    const std::uint64_t word = truth_of(body, index);
    if (word::state(word) != SlotState::held) return;
    Atomic<std::uint64_t>& since = record_of(body, index).since;
    const std::uint64_t seen = noted(since);
    const auto held_for = overdue_for(body, seen, word);
    if (held_for.count() == 0) return;
    look(OverdueLease{.index = index,
                      .fill = pool_fill(pool, index),
                      .owner_pid = pid_of_lane(*attachment_of(&pool), word::owner(word)),
                      .held_for = held_for},
         since, seen);
}

bool has_limit(const PoolObject& pool) noexcept {
    return body_of(pool).life.lease_limit_ns != 0 && attachment_of(&pool) != nullptr;
}

/// Where this process's hook can be run: not inside of a hook.
PoolPrivate* teller(PoolObject& pool) noexcept {
    if (!has_limit(pool)) return nullptr;
    const PoolCache& cache = cache_of(pool);
    return cache.own->hooks.on_overdue && !cache.settling ? cache.own : nullptr;
}

}  // namespace

void note_lent(PoolBody& body, std::uint64_t index, std::uint64_t held,
               std::uint64_t now) noexcept {
    if (is_measured(body)) note_began(body, index, now);
    if (body.life.lease_limit_ns == 0) return;
    note(record_of(body, index).since, lent_at(now, held));
}

std::vector<OverdueLease> pool_overdue(const PoolObject& pool) {
    std::vector<OverdueLease> leases;
    if (!has_limit(pool)) return leases;
    for (std::uint64_t index = 0; index < body_of(pool).capacity; ++index) {
        look_at_lease(pool, index, [&](const OverdueLease& lease, const auto&, std::uint64_t) {
            leases.push_back(lease);
        });
    }
    return leases;
}

void tell_overdue(PoolObject& pool, Piece piece) noexcept {
    PoolPrivate* own = teller(pool);
    if (own == nullptr) return;
    const std::uint64_t now = clock_ns();
    if (piece == Piece::next && now < read(own->overdue_due_ns)) return;
    const PoolBody& body = body_of(pool);
    // U7 relaxed store, no pair: a hint.
    own->overdue_due_ns.store(now + std::max(body.life.lease_limit_ns / 8, one_tick_ns),
                              std::memory_order_relaxed);
    const auto tell = [&](const OverdueLease& lease, auto& since, std::uint64_t seen) {
        // U8 relaxed RMW, no pair: whoever sets the bit tells, and nothing is behind it but the
        // hook.
        if ((seen & told_bit) == 0 &&
            since.compare_exchange_strong(seen, seen | told_bit, std::memory_order_relaxed,
                                          std::memory_order_relaxed)) {
            run_overdue(own->hooks, lease);
        }
    };
    bool& settling = cache_of(pool).settling;
    settling = true;
    std::uint64_t index = read(own->overdue_at);
    std::uint64_t left = piece == Piece::all ? body.capacity : std::min(duty_slots, body.capacity);
    for (; left != 0; --left, ++index) {
        if (index >= body.capacity) index = 0;
        look_at_lease(pool, index, tell);
    }
    settling = false;
    // U7 relaxed store, no pair: a hint.
    own->overdue_at.store(index, std::memory_order_relaxed);
}

Deadline next_tell(PoolObject& pool) noexcept {
    const PoolPrivate* own = teller(pool);
    if (own == nullptr) return for_ever;
    return Deadline{std::chrono::nanoseconds{read(own->overdue_due_ns)}};
}

}  // namespace lagoon::inline v1::detail
