// pool_fill_test.cpp: making resources, emptying slots, closing.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <stdexcept>

#include "support/rooms.hpp"

using lagoon::Outcome;
using namespace std::chrono_literals;
using namespace support::rooms;

TEST_CASE("pool: acquire_or_create makes a resource only when none is idle") {
    auto room = make_room(3);
    int made = 0;
    const auto make = [&] { return numbered(++made); };
    auto a = room->items.acquire_or_create(make);
    REQUIRE(a);
    CHECK(a->number == 1);
    auto b = room->items.acquire_or_create(make);
    CHECK(b->number == 2);
    a.give_back();
    auto c = room->items.acquire_or_create(make);
    CHECK(c->number == 1);
    CHECK(made == 2);
    CHECK(room->items.stats().created == 2);
    CHECK(room->items.stats().acquired == 3);
    CHECK(room->items.stats().reused() == 1);
}

TEST_CASE("pool: a factory may fill the resource in place, knowing its slot") {
    auto room = make_room(2);
    auto a = room->items.acquire_or_create([&](Item& item, lagoon::Slot slot) {
        CHECK(item.number == 0);
        item.number = static_cast<std::int64_t>(100 + slot.index());
        item.uses = static_cast<std::int64_t>(slot.fill());
    });
    REQUIRE(a);
    CHECK(a->number == static_cast<std::int64_t>(100 + a.index()));
    CHECK(a->uses == static_cast<std::int64_t>(a.fill()));
    CHECK(a.slot() == lagoon::Slot{a.index(), a.fill()});
    auto b = room->items.acquire_or_create([](Item& item) { item.number = 7; });
    CHECK(b->number == 7);
}

TEST_CASE("pool: a factory runs outside of any lock, and may use the pool itself") {
    auto room = make_room(2);
    auto outer = room->items.acquire_or_create([&] {
        auto inner = room->items.acquire_or_create(making(2));
        CHECK(room->items.stats().creating == 1);
        CHECK(room->items.idle() == 0);
        on_thread([&] { (void)room->items.try_acquire(); });
        return numbered(inner->number + 1);
    });
    CHECK(outer->number == 3);
    CHECK(room->items.idle() == 1);
}

TEST_CASE("pool: a factory that throws gives its place back, and its caller gets the exception") {
    auto room = make_room(1);
    CHECK_THROWS_WITH(room->items.acquire_or_create([](Item& item) {
        item.number = 5;
        throw std::runtime_error{"no such cluster"};
    }),
                      "no such cluster");
    CHECK_THROWS_AS(room->items.acquire_or_create([]() -> Item { throw 7; }), int);
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.stats().create_failed == 2);
    CHECK(room->items.stats().created == 0);
    CHECK(support::is_blank(room->items, 0));
    auto lease = room->items.acquire_or_create([](Item&) {});
    REQUIRE(lease);
    // Nothing of the failed attempt is left.
    CHECK(lease->number == 0);
    CHECK(lease.fill() == 3);
}

TEST_CASE("pool: at capacity the try form says so and the timed form times out") {
    auto room = make_full_room(1);
    auto held = room->items.try_acquire();
    CHECK(room->items.try_acquire_or_create(making(9)).status() == Outcome::would_block);
    CHECK(room->items.acquire_or_create_for(1ms, making(9)).status() == Outcome::timed_out);
    CHECK(room->items.acquire_or_create_until(std::chrono::steady_clock::now() + 1ms, making(9))
              .status() == Outcome::timed_out);
    CHECK(room->items.acquire_for(1ms).status() == Outcome::timed_out);
    CHECK(room->items.acquire_until(std::chrono::steady_clock::now() + 1ms).status() ==
          Outcome::timed_out);
    CHECK(room->items.stats().timed_out == 4);
    held.discard();
    CHECK(room->items.try_acquire_or_create(making(9)));
}

TEST_CASE("pool: a deadline in the past is one try") {
    auto room = make_full_room(1);
    CHECK(room->items.acquire_for(-1s));
    CHECK(room->items.acquire_until(std::chrono::steady_clock::time_point::min()));
    auto held = room->items.acquire_for(0s);
    REQUIRE(held);
    CHECK(room->items.acquire_for(-1s).status() == Outcome::timed_out);
    CHECK(room->items.acquire_for(std::chrono::hours::min()).status() == Outcome::timed_out);
    held.give_back();
    CHECK(room->items.acquire_for(std::chrono::hours::max()));
}

TEST_CASE("pool: a stop token that is stopped already ends the wait at once") {
    auto room = make_room(1);
    std::stop_source source;
    source.request_stop();
    CHECK(room->items.acquire(source.get_token()).status() == Outcome::cancelled);
    CHECK(room->items.acquire_for(1h, source.get_token()).status() == Outcome::cancelled);
    room->items.add(Item{});
    CHECK(room->items.acquire(source.get_token()));
}

TEST_CASE("pool: discard destroys the resource, and the slot is filled anew") {
    auto room = make_full_room(1);
    auto lease = room->items.try_acquire();
    lease->number = 7;
    const std::uint64_t fill = lease.fill();
    lease.discard();
    CHECK_FALSE(lease);
    CHECK(lease.status() == Outcome::given_back);
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.stats().destroyed == 1);
    CHECK(support::is_blank(room->items, 0));
    CHECK_FALSE(room->items.try_acquire());
    auto next = room->items.acquire_or_create([](Item&) {});
    CHECK(next->number == 0);
    CHECK(next.fill() == fill + 1);
}

TEST_CASE("pool: detach takes the resource out for good, without destroying it") {
    auto room = make_full_room(1);
    auto lease = room->items.try_acquire();
    lease->number = 77;
    const Item taken = lease.detach();
    CHECK(taken.number == 77);
    CHECK_FALSE(lease);
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.stats().destroyed == 0);
    CHECK(room->items.add(Item{1, 0}));
}

TEST_CASE("pool: fill numbers change when a slot is filled anew, and only then") {
    auto room = make_full_room(1);
    auto lease = room->items.try_acquire();
    const std::uint64_t fill = lease.fill();
    lease.give_back();
    for (int i = 0; i < 5; ++i) CHECK(room->items.try_acquire().fill() == fill);
    on_thread([&] { (void)room->items.try_acquire(); });
    CHECK(room->items.try_acquire().fill() == fill);
    room->items.clear();
    room->items.add(Item{});
    CHECK(room->items.try_acquire().fill() == fill + 1);
}

TEST_CASE("pool: clear empties what is idle, and leaves what is lent") {
    auto room = make_full_room(5);
    auto held = room->items.try_acquire();
    CHECK(room->items.clear() == 4);
    CHECK(room->items.clear() == 0);
    CHECK(room->items.idle() == 0);
    CHECK(room->items.leased() == 1);
    held->number = 3;
    held.give_back();
    CHECK(room->items.try_acquire()->number == 3);
    for (int i = 0; i < 4; ++i) CHECK(room->items.add(Item{}));
    CHECK_FALSE(room->items.add(Item{}));
}

TEST_CASE("pool: close lends no more, and what is lent is destroyed when it comes back") {
    auto room = make_full_room(3);
    auto held = room->items.try_acquire();
    auto other = room->items.try_acquire();
    // Taken from memory, so that no hint has to be set when it comes back.
    held.give_back();
    held = room->items.try_acquire();
    CHECK_FALSE(room->items.closed());
    room->items.close();
    CHECK(room->items.closed());
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.try_acquire().status() == Outcome::closed);
    CHECK(room->items.acquire().status() == Outcome::closed);
    CHECK(room->items.acquire_for(1h).status() == Outcome::closed);
    CHECK(room->items.acquire_or_create(making(1)).status() == Outcome::closed);
    CHECK(room->items.try_acquire_or_create(making(1)).status() == Outcome::closed);
    CHECK(room->items.acquire_n(1).empty());
    CHECK_FALSE(room->items.add(Item{}));
    held->number = 1;
    held.give_back();
    CHECK(room->items.stats().empty == 2);
    on_thread([&] { other.give_back(); });
    CHECK(room->items.stats().empty == 3);
    CHECK(room->items.stats().destroyed == 3);
    room->items.close();
}

TEST_CASE("pool: a resource that is being made while the pool closes is destroyed on return") {
    auto room = make_room(1);
    auto lease = room->items.acquire_or_create([&] {
        room->items.close();
        return numbered(1);
    });
    REQUIRE(lease);
    CHECK(lease->number == 1);
    lease.give_back();
    CHECK(room->items.stats().empty == 1);
}
