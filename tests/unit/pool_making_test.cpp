// pool_making_test.cpp: resources that a process's factory makes for those who wait.
#include <lagoon/lagoon.hpp>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>

#include <runtime/pool_creation.hpp>

#include "support/making.hpp"

using namespace support::making;

namespace {
using Until = std::chrono::steady_clock::time_point;
using lagoon::WaitOrder;
}  // namespace

TEST_CASE("pool making: who waits has one made by the process's factory") {
    auto room = make_room({.capacity = 2});
    std::thread::id there;
    const auto give = [&](lagoon::Factory<Item> factory) {
        room.hooks(room->items, {.factory = std::move(factory)});
    };
    SECTION("in place") {
        give([&](Item& item) {
            there = std::this_thread::get_id();
            item.number = 7;
        });
    }
    SECTION("in place, with its slot and its time") {
        give([&](Item& item, lagoon::Slot slot, Until until) {
            there = std::this_thread::get_id();
            item.number = slot.index() < 2 && until == Until::max() ? 7 : 0;
        });
    }
    SECTION("returned") {
        give([&] {
            there = std::this_thread::get_id();
            return Item{7};
        });
    }
    const Lease lease = room->items.acquire();
    CHECK(lease->number == 7);
    CHECK(there != std::thread::id{});
    CHECK(there != std::this_thread::get_id());
    CHECK(room->items.stats().created == 1);
}

TEST_CASE("pool making: without a factory, or one that gives nothing, nothing is made") {
    auto room = make_room({.capacity = 1});
    room.hooks(room->items, {.factory = nullptr});
    CHECK(room->items.acquire_for(1ms).phase() == Phase::waiting);
    CHECK(room->items.stats().empty == 1);
}

TEST_CASE("pool making: who does not wait asks for nothing") {
    auto room = make_room({.capacity = 1});
    const Works works{room};
    CHECK(room->items.try_acquire().status() == Outcome::would_block);
    CHECK_FALSE(room->items.acquire_for(0s));
    CHECK(room->items.acquire_n_for(1ms, 1).empty());
    CHECK(room->items.stats().empty == 1);
    CHECK(makers(room) == 0);
}

TEST_CASE("pool making: a creation outlives who has asked for it") {
    auto room = make_room({.capacity = 2});
    Works works{room};
    // Not even its thread need be there any more.
    std::thread{[&] { works.ask_impatiently(); }}.join();
    CHECK(room.reap() == lagoon::Reaped{});
    CHECK(room->items.stats().creating == 1);
    // The threads of those who asked too late to be heard have nothing to do.
    support::wait_until([&] { return makers(room) == 1; });
    SECTION("and is idle then") {
        works.let_go(1);
        support::wait_until([&] { return room->items.stats().idle == 1; });
        CHECK(room->items.try_acquire()->number == 1);
        support::wait_until([&] { return makers(room) == 0; });
        CHECK(is_forgotten(room));
    }
    SECTION("and the next one does not ask again") {
        Waiting waiting{room};
        support::wait_until([&] { return room->items.stats().waiting == 1; });
        works.let_go(1);
        CHECK(waiting.number() == 1);
    }
    SECTION("and whoever does not wait for it does not learn of its failure") {
        works.fail();
        works.let_go(1);
        support::wait_until([&] { return room->items.stats().create_failed == 1; });
        CHECK(room->items.acquire_for(0s).status() == Outcome::timed_out);
        CHECK(room->items.stats().empty == 2);
    }
    CHECK(works.begun() == 1);
}

TEST_CASE("pool making: who waits takes a return that comes before its creation") {
    auto room = make_room({.capacity = 2});
    Works works{room};
    REQUIRE(room->items.add(Item{100}));
    Lease held = room->items.acquire();
    Waiting waiting{room};
    works.wait_for_begun();
    CHECK_FALSE(waiting.is_done());
    held.give_back();
    CHECK(waiting.number() == 100);
    CHECK(room->items.stats().creating == 1);
    works.let_go(1);
    CHECK(room->items.acquire()->number == 1);
}

TEST_CASE("pool making: each who waits has one made, up to the capacity") {
    auto room = make_room({.capacity = 2});
    Works works{room};
    Waiting one{room};
    works.wait_for_begun(1);
    Waiting other{room};
    works.wait_for_begun(2);
    Waiting third{room};
    support::wait_until([&] { return room->items.stats().waiting == 3; });
    works.let_go(2);
    const std::array<Waiting*, 3> all{&one, &other, &third};
    support::wait_until([&] { return std::ranges::count_if(all, &Waiting::is_done) == 2; });
    CHECK(works.begun() == 2);
    for (Waiting* waiting : all) {
        if (waiting->is_done()) waiting->end();
    }
    for (Waiting* waiting : all) CHECK(waiting->status() == Outcome::ok);
    CHECK(works.begun() == 2);
}

TEST_CASE("pool making: no more of them at one time than the pool allows") {
    auto room = make_room({.capacity = 2, .creation = {.at_once = 1}});
    Works works{room};
    Waiting one{room};
    works.wait_for_begun(1);
    Waiting other{room};
    support::wait_until([&] { return room->items.stats().waiting == 2; });
    CHECK(room->items.stats().creating == 1);
    works.let_go(1);
    works.wait_for_begun(2);
    works.let_go(2);
    CHECK(one.number() + other.number() == 1 + 2);
}

TEST_CASE("pool making: an exception reaches who waits for what it was to make") {
    auto room = make_room({.capacity = 1});
    bool by_hook = false;
    int destroyed = 0;
    lagoon::PoolHooks<Item> hooks{.destroy = [&](Item&) { ++destroyed; }};
    SECTION("of the factory") {}
    SECTION("of on_create, and the resource is destroyed") {
        by_hook = true;
        hooks.on_create = [](Item&) { throw std::runtime_error{"no more of them"}; };
    }
    {
        Works works{room, hooks};
        works.fail(!by_hook);
        works.let_go(1);
        Waiting waiting{room};
        CHECK(waiting.error() == "no more of them");
        CHECK(works.begun() == 1);
        CHECK(room->items.stats().create_failed == 1);
        CHECK(room->items.stats().empty == 1);
        CHECK(room->items.stats().waiting == 0);
    }
    CHECK(destroyed == (by_hook ? 1 : 0));
}

TEST_CASE("pool making: after a failure the next one waits, as it does for a factory of its own") {
    auto room = make_room({.capacity = 1, .creation = {.retry_after = 1h}});
    lagoon::PoolHooks<Item> hooks;
    bool by_hook = false;
    SECTION("of the factory") {}
    SECTION("of on_create") {
        by_hook = true;
        hooks.on_create = [](Item&) { throw std::runtime_error{"no more of them"}; };
    }
    Works works{room, hooks};
    works.fail(!by_hook);
    works.let_go(1);
    CHECK_THROWS_AS(room->items.acquire(), std::runtime_error);
    CHECK(room->items.acquire_for(1ms).phase() == Phase::retrying);
    CHECK(works.begun() == 1);
}

TEST_CASE("pool making: a factory that waits for its own pool asks for nothing") {
    auto room = make_room({.capacity = 2});
    Outcome inner = Outcome::ok;
    room.hooks(room->items, {.factory = [&](Item& item) {
                   inner = room->items.acquire_for(1ms).status();
                   item.number = 7;
               }});
    CHECK(room->items.acquire()->number == 7);
    CHECK(inner == Outcome::timed_out);
    CHECK(room->items.stats().created == 1);
}

TEST_CASE("pool making: one that succeeds ends what failures have put off") {
    auto room = make_room({.capacity = 1, .creation = {.retry_after = 1ns}});
    Works works{room};
    works.fail();
    works.let_go(2);
    CHECK_THROWS_AS(room->items.acquire(), std::runtime_error);
    works.fail(false);
    CHECK(room->items.acquire()->number == 2);
    CHECK(lagoon::detail::next_try_ns(support::body_of(room->items)) == 0);
}

TEST_CASE("pool making: what takes too long is not waited for, and destroyed") {
    auto room = make_room({.capacity = 2, .limits = {.create = 1ms}});
    std::atomic<int> destroyed{0};
    Works works{room, {.destroy = [&](Item&) { ++destroyed; }}};
    // As often as it takes until one has begun in time.
    const auto ask = [&](int begun) {
        support::wait_until([&] {
            const Lease none = room->items.acquire();
            REQUIRE(none.status() == Outcome::timed_out);
            REQUIRE(none.phase() == Phase::creating);
            return works.begun() >= begun;
        });
    };
    ask(1);
    ask(2);  // and nobody waits for the first one any more
    works.let_go(2);
    support::wait_until([&] { return room->items.stats().empty == 2; });
    CHECK(destroyed == 2);
    CHECK(room->items.stats().created == 0);
}

TEST_CASE("pool making: waiters in a queue are served with what is made") {
    auto room = make_room({.capacity = 2, .wait_order = WaitOrder::first_come});
    Works works{room};
    Waiting first{room};
    works.wait_for_begun(1);
    Waiting second{room};
    works.wait_for_begun(2);
    works.let_go(2);
    CHECK(first.number() + second.number() == 1 + 2);
}
