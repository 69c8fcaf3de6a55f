// pool_making_end_test.cpp: pools that close, handles that go and processes that end while a
// factory is at work.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <csignal>

#include "support/making.hpp"

using namespace support::making;

TEST_CASE("pool making: a pool that closes sends those away who wait, and destroys what comes") {
    auto room = make_room({.capacity = 1});
    std::atomic<std::int64_t> destroyed{0};
    Works works{room, {.destroy = [&](Item& item) { destroyed = item.number; }}};
    Waiting waiting{room};
    works.wait_for_begun();
    room->items.close();
    CHECK(waiting.status() == Outcome::closed);
    CHECK(room->items.drain_for(1ms) == Outcome::timed_out);
    works.let_go(1);
    CHECK(room->items.drain() == Outcome::ok);
    CHECK(destroyed == 1);
}

TEST_CASE(
    "pool making: the last handle says busy while a factory is at work, and waits no longer") {
    std::atomic<bool> begun{false};
    std::atomic<bool> may_end{false};
    auto room = make_room({.capacity = 1});
    room.hooks(room->items, {.factory = [&](Item&) {
                   begun = true;
                   support::wait_until([&] { return may_end.load(); });
               }});
    support::wait_until([&] {
        (void)room->items.acquire_for(1ms);
        return begun.load();
    });
    const auto refused = support::error_of([&] {
        room.close();
        return 0;
    });
    REQUIRE(refused);
    INFO(refused->what());
    CHECK(refused->errc() == lagoon::Errc::busy);
    // How many: a thread for what was asked for before, and given up, may still be about to begin.
    CHECK(std::string{refused->what()}.find(
              " resources are being made for it by factories of this process; let them finish, by "
              "drain() of their pools") != std::string::npos);
    may_end = true;
    CHECK(room->items.drain() == Outcome::ok);
    CHECK_NOTHROW(room.close());
}

TEST_CASE("pool making: a handle that goes leaves the arena to the factory at work") {
    std::atomic<bool> begun{false};
    std::atomic<bool> may_end{false};
    std::string name;
    {
        auto room = make_room({.capacity = 1});
        name = room.name();
        room.hooks(room->items, {.factory = [&](Item& item) {
                       begun = true;
                       support::wait_until([&] { return may_end.load(); });
                       item.number = 7;
                   }});
        support::wait_until([&] {
            (void)room->items.acquire_for(1ms);
            return begun.load();
        });
    }
    may_end = true;
    const auto again = Arena::open(name);
    CHECK(again->items.acquire()->number == 7);
}

TEST_CASE("pool making: what a process was making when it was killed is nobody's", "[child]") {
    auto room = make_room({.capacity = 1});
    const support::Flag begun;
    support::Child child{[&]() -> int {
        room.hooks(room->items, {.factory = [&](Item& item) {
                       item.number = 7;
                       begun.raise();
                       support::wait_for_death();
                   }});
        (void)room->items.acquire();
        return 1;
    }};
    begun.wait();
    CHECK(child.kill() == support::killed_by(SIGKILL));
    CHECK(support::reap_dead(room).builds == 1);
    CHECK(room->items.stats().empty == 1);
    CHECK(support::is_blank(room->items, 0));
}

TEST_CASE("pool making: a forked child has no part in what its parent makes", "[child]") {
    auto room = make_room({.capacity = 2});
    Works works{room};
    works.ask_impatiently();
    support::Child child{[&]() -> int {
        works.let_go(2);  // in the child's memory
        const Lease lease = room->items.acquire();
        return lease && lease->number == 2 ? 0 : 1;
    }};
    CHECK(child.wait() == support::exited(0));
    works.let_go(1);
    support::wait_until([&] {
        (void)room.reap();
        return room->items.stats().idle == 2;
    });
    CHECK(room->items.stats().created == 2);
}
