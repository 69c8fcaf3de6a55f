// lives.hpp: a pool whose resources have lives, and what it notes of them.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "runtime/pool_life.hpp"
#include "support/pools.hpp"

namespace support::lives {

using lagoon::PoolLife;
namespace detail = lagoon::detail;

struct Item {
    std::int64_t number = 0;
};

/// What the next arena's pool is made with: constructors take what can be sent to another process.
inline lagoon::PoolOptions asked;

struct Room {
    lagoon::Pool<Item> items{"items", asked};
};
using Arena = lagoon::Arena<Room>;
using Numbers = std::vector<std::int64_t>;

constexpr std::uint64_t for_ever_ns = std::numeric_limits<std::uint64_t>::max();

/// Nobody ends what is idle before then, but who reaps.
inline void tend_from(const Arena& room, std::uint64_t when_ns) {
    // Y7 relaxed store, no pair: nobody else is here.
    body_of(room->items).duty_due_ns.store(when_ns, std::memory_order_relaxed);
}

inline Arena make_room(const PoolLife& life, std::uint64_t capacity = 3, std::int64_t filled = 0,
                       const lagoon::ArenaOptions& options = {}) {
    asked = {.capacity = capacity, .life = life};
    auto room = Arena::create(unique_name("life"), options);
    tend_from(room, for_ever_ns);
    for (std::int64_t number = 1; number <= filled; ++number) room->items.add(Item{number});
    tend_from(room, 0);
    return room;
}

inline detail::LifeRecord& record_of(const Arena& room, std::uint64_t index) {
    return detail::record_of(body_of(room->items), index);
}
template <class T>
inline T at_rest(const detail::Atomic<T>& word) {
    // Y6 relaxed load, no pair: nobody writes it now.
    return word.load(std::memory_order_relaxed);
}

/// Takes one and gives it back.
inline void borrow(const Arena& room) {
    auto lease = room->items.try_acquire();
    REQUIRE(lease);
    lease.give_back();
}

struct Calls {
    Numbers checked, destroyed;
    bool passes = true;

    lagoon::PoolHooks<Item> hooks() {
        return {.check =
                    [this](Item& item) {
                        checked.push_back(item.number);
                        return passes;
                    },
                .destroy = [this](Item& item) { destroyed.push_back(item.number); }};
    }
};

/// Everything that is said of the slots: each is in one state, none is lost.
inline void require_conserved(const Arena& room) {
    const auto stats = room->items.stats();
    CHECK(stats.idle + stats.empty + stats.dirty + stats.leased == stats.capacity);
    CHECK(stats.damaged == 0);
}

inline std::string refusal(const PoolLife& life, std::uint64_t capacity = 3) {
    return text_of([&] { return make_room(life, capacity); });
}

}  // namespace support::lives
