// pool_bias_stolen_test.cpp: a slot that was stolen from who kept it, and is its again; and how
// often thieves interrupt the others.
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

TEST_CASE("pool bias: a thief that died in its fence keeps no other one from stealing") {
    auto room =
        Arena::create(support::unique_name("stolen"), {.ownership = lagoon::Ownership::biased});
    REQUIRE((room->items.add(0) && room->items.add(1)));
    if (!lagoon::detail::fence_is_asymmetric()) return;  // nothing is kept
    auto& fences = support::body_of(room->items).fences;
    const auto read = [](const auto& word) { return word.load(std::memory_order_seq_cst); };
    const auto steal = [&] {
        // This thread keeps it, and has not been robbed of it too soon.
        for (int i = 0; i < 200; ++i) room->items.try_acquire().give_back();
        bool stolen = false;
        std::thread{[&] {
            const Lease both[] = {room->items.try_acquire(), room->items.try_acquire()};
            stolen = both[0] && both[1];
        }}.join();
        return stolen;
    };
    REQUIRE(steal());
    const std::uint64_t before = read(fences.begun);
    REQUIRE(before > 0);
    CHECK(read(fences.ended) == before);
    // As one that was killed leaves them, between its two steps.
    fences.begun.fetch_add(1, std::memory_order_seq_cst);
    REQUIRE(steal());
    CHECK(read(fences.begun) > before + 1);
    CHECK(read(fences.ended) == read(fences.begun));
    // As damage may: fences that nobody has begun have not ended.
    fences.ended.store(~std::uint64_t{0}, std::memory_order_seq_cst);
    const std::uint64_t damaged = read(fences.begun);
    REQUIRE(steal());
    CHECK(read(fences.begun) > damaged);
}

TEST_CASE("pool bias: what somebody waits for is given away though another pool was used since") {
    const auto make = [] {
        return Arena::create(support::unique_name("stolen"),
                             {.ownership = lagoon::Ownership::biased});
    };
    auto room = make();
    auto other = make();
    if (!lagoon::detail::fence_is_asymmetric()) return;  // nothing is kept
    REQUIRE((room->items.add(0) && other->items.add(0) && other->items.add(1)));
    // As a signal handler does it, between a release and its look at the demand.
    room->items.try_acquire().give_back();
    {
        const Lease both[] = {other->items.try_acquire(), other->items.try_acquire()};
        REQUIRE((both[0] && both[1]));
    }
    const auto elsewhere = support::truth_of(other->items, 0);
    const auto further = support::truth_of(other->items, 1);
    lagoon::detail::pool_unkeep(support::object_of(room->items));
    CHECK(support::state_of(room->items, 0) == support::SlotState::free);
    CHECK(support::truth_of(other->items, 0) == elsewhere);
    CHECK(support::truth_of(other->items, 1) == further);
    CHECK(other->items.try_acquire());
}
