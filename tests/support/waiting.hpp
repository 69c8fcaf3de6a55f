// waiting.hpp: a pool in which threads and processes wait, and when they do.
#pragma once

#include <thread>

#include "support/pools.hpp"

namespace support::waiting {

struct Item {
    std::int64_t number = 0;
};

struct Room {
    explicit Room(lagoon::Count capacity = 1, lagoon::Count max_waiters = 0)
        : items{"items", {.capacity = capacity, .max_waiters = max_waiters}} {}
    lagoon::Pool<Item> items;
};
using Arena = lagoon::Arena<Room>;

inline Arena make_room(std::uint64_t capacity, std::uint64_t max_waiters = 0,
                       const lagoon::ArenaOptions& options = {}) {
    return Arena::create(unique_name("waiting"), options, lagoon::Count{capacity},
                         lagoon::Count{max_waiters});
}
inline Arena make_full_room(std::uint64_t capacity, std::uint64_t max_waiters = 0,
                            const lagoon::ArenaOptions& options = {}) {
    auto room = make_room(capacity, max_waiters, options);
    for (std::uint64_t i = 0; i < capacity; ++i) room->items.add(Item{});
    return room;
}

/// `waiters` lanes have announced that they wait; a moment later they sleep.
inline void wait_for_waiters(const Arena& room, std::uint64_t waiters) {
    wait_until([&] { return room->items.stats().waiting >= waiters; });
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
}

}  // namespace support::waiting
