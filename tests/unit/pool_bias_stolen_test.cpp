// pool_bias_stolen_test.cpp: a slot that was stolen from who kept it, and is its again.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <thread>

#include "support/arenas.hpp"
#include "support/pools.hpp"

namespace {

struct Room {
    lagoon::Pool<std::int64_t> items{"items", {.capacity = 2}};
};
using Arena = lagoon::Arena<Room>;
using Lease = lagoon::Lease<std::int64_t>;

/// Two leases of this thread, which kept both slots: the first one was another thread's meanwhile.
struct Two {
    Lease stolen;
    Lease own;
};
Two take_two(Room& room) {
    Lease first = room.items.try_acquire();
    Lease second = room.items.try_acquire();
    REQUIRE((first && second));
    first.give_back();
    second.give_back();
    Lease own = room.items.try_acquire();
    std::thread{[&] { room.items.acquire().give_back(); }}.join();
    Lease stolen = room.items.try_acquire();
    REQUIRE((own && stolen));
    return {std::move(stolen), std::move(own)};
}

}  // namespace

TEST_CASE("pool bias: what was stolen and is held again ends with its closed pool") {
    const auto ownership = GENERATE(lagoon::Ownership::biased, lagoon::Ownership::unbiased);
    auto room = Arena::create(support::unique_name("stolen"), {.ownership = ownership});
    REQUIRE((room->items.add(0) && room->items.add(1)));
    Two two = take_two(*room);
    std::thread{[&] { room->items.close(); }}.join();
    two.own.give_back();
    two.stolen.give_back();
    CHECK(room->items.idle() == 0);
    CHECK(room->items.stats().destroyed == 2);
}
