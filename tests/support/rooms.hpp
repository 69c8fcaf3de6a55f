// rooms.hpp: a pool of numbered items.
#pragma once

#include <csignal>
#include <thread>

#include "support/pools.hpp"

namespace support::rooms {

struct Item {
    std::int64_t number = 0;
    std::int64_t uses = 0;
};

struct Room {
    explicit Room(lagoon::Count capacity = 3) : items{"items", {.capacity = capacity}} {}
    lagoon::Pool<Item> items;
};
using Arena = lagoon::Arena<Room>;

inline Arena make_room(std::uint64_t capacity, const lagoon::ArenaOptions& options = {}) {
    return Arena::create(unique_name("pool"), options, lagoon::Count{capacity});
}
/// With all slots filled, numbered by index.
inline Arena make_full_room(std::uint64_t capacity, const lagoon::ArenaOptions& options = {}) {
    auto room = make_room(capacity, options);
    for (std::uint64_t i = 0; i < capacity; ++i) {
        room->items.add(Item{static_cast<std::int64_t>(i), 0});
    }
    return room;
}
inline Item numbered(std::int64_t number) { return {number, 0}; }
inline auto making(std::int64_t number) {
    return [number] { return numbered(number); };
}

/// Runs `body` on a thread, to its end.
template <class Body>
inline void on_thread(Body&& body) {
    std::thread{std::forward<Body>(body)}.join();
}

inline void be_quiet(const char*) noexcept {}

/// In a child: aborts, as a broken contract does.
template <class Body>
inline bool aborts(Body&& body) {
    return in_child([&] {
               lagoon::set_contract_handler(&be_quiet);
               body();
               return 0;
           }) == killed_by(SIGABRT);
}

}  // namespace support::rooms
