// pools.hpp: what tests of pools share: a pool's words, built and read by hand.
#pragma once

#include <algorithm>

#include <lagoon/arena.hpp>
#include <lagoon/lock.hpp>
#include <lagoon/pool.hpp>

#include "support/arenas.hpp"
#include "support/sanitizers.hpp"

namespace support {

namespace word = lagoon::detail::word;
using lagoon::detail::SlotState;

template <class T>
lagoon::detail::PoolObject& object_of(lagoon::Pool<T>& pool) {
    return reinterpret_cast<lagoon::detail::PoolObject&>(pool);
}
template <class T>
lagoon::detail::PoolBody& body_of(lagoon::Pool<T>& pool) {
    auto& object = object_of(pool);
    return *reinterpret_cast<lagoon::detail::PoolBody*>(reinterpret_cast<char*>(&object) +
                                                        object.body.from_object);
}
template <class T>
std::uint64_t truth_of(lagoon::Pool<T>& pool, std::uint64_t index) {
    // Y1 acquire load <- Y2, O2, P2.
    return lagoon::detail::pool_slot(object_of(pool), index).truth.load(std::memory_order_acquire);
}
template <class T>
void set_truth(lagoon::Pool<T>& pool, std::uint64_t index, std::uint64_t truth) {
    // Y2 release store -> Y1, O1.
    lagoon::detail::pool_slot(object_of(pool), index).truth.store(truth, std::memory_order_release);
}
/// Does a release have to look who waits?
template <class T>
bool is_demanded(lagoon::Pool<T>& pool) {
    // D3 seq_cst load, no pair: only looked at.
    return lagoon::detail::is_demanded(body_of(pool).demand.load(std::memory_order_seq_cst));
}
template <class T>
SlotState state_of(lagoon::Pool<T>& pool, std::uint64_t index) {
    return word::state(truth_of(pool, index));
}

/// Has nothing of a resource been left in the slot?
template <class T>
bool is_blank(lagoon::Pool<T>& pool, std::uint64_t index) {
    const auto* value =
        reinterpret_cast<const unsigned char*>(&lagoon::detail::pool_slot(object_of(pool), index)) +
        lagoon::detail::value_offset<T>;
    return std::all_of(value, value + sizeof(T), [](unsigned char byte) { return byte == 0; });
}

/// Repairs until the deaths of `processes` were found; what was done, summed up.
template <class Root>
lagoon::Reaped reap_dead(const lagoon::Arena<Root>& arena, std::uint64_t processes = 1) {
    lagoon::Reaped done;
    wait_until([&] {
        done += arena.reap();
        return done.processes >= processes;
    });
    return done;
}

/// Sleeps until somebody kills this process.
[[noreturn]] inline void wait_for_death() {
    for (;;) ::pause();
}

/// A process that holds a lease and the lock of the arena until it is killed.
template <class Desk>
Child holder(const std::string& name, const Flag& holding, bool keeper = true) {
    return Child{[&name, &holding, keeper]() -> int {
        lagoon::OpenOptions options;
        options.keeper = keeper;
        const auto desk = lagoon::Arena<Desk>::open(name, options);
        const auto lease = desk->pool.acquire();
        if (!desk->lock.lock()) return 1;
        holding.raise();
        wait_for_death();
    }};
}

}  // namespace support
