// pool_waiting_death_test.cpp: who waits is served, whoever dies or is stopped in between.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "runtime/pool_body.hpp"
#include "support/waiting.hpp"

using lagoon::Outcome;
using support::Child;
using support::SlotState;
using support::waiting::Arena;
using support::waiting::Item;
using support::waiting::make_full_room;
using support::waiting::wait_for_waiters;
using namespace std::chrono_literals;
namespace word = lagoon::detail::word;

TEST_CASE("pool waiting: a killed holder's resource comes to who waits, by the kernel's word",
          "[child]") {
    auto room = make_full_room(1);
    for (int round = 0; round < 2; ++round) {
        const support::Flag there;
        Child child{[&]() -> int {
            auto lease = room->items.acquire();
            there.raise();
            support::wait_for_death();
        }};
        there.wait();
        bool recovered = false;
        std::thread waiter{[&] { recovered = room->items.acquire().recovered(); }};
        wait_for_waiters(room, 1);
        child.kill();
        waiter.join();
        CHECK(recovered);
    }
    CHECK(room->items.stats().late_wakes == 0);
    CHECK(room->items.stats().recovered == 2);
}

TEST_CASE("pool waiting: a releaser killed between the word and the wake owes nobody", "[child]") {
    for (const std::uint64_t capacity : std::initializer_list<std::uint64_t>{1, 3000}) {
        auto room = make_full_room(capacity);
        const support::Flag there;
        const support::Flag release;
        Child child{[&]() -> int {
            std::vector<lagoon::Lease<Item>> held;
            for (std::uint64_t i = 0; i < capacity; ++i) {
                held.push_back(room->items.try_acquire());
                if (!held.back()) return 1;
            }
            there.raise();
            release.wait();
            // The releaser's one store, and none of what follows it.
            const std::uint64_t index = held[capacity / 2].index();
            support::set_truth(room->items, index,
                               word::next(support::truth_of(room->items, index), SlotState::free));
            there.raise(2);
            support::wait_for_death();
        }};
        there.wait();
        bool served = false;
        std::thread waiter{[&] { served = static_cast<bool>(room->items.acquire()); }};
        wait_for_waiters(room, 1);
        release.raise();
        there.wait(2);
        child.kill();
        waiter.join();
        CHECK(served);
        CHECK(room->items.idle() == capacity);
        CHECK(room->items.stats().waiting == 0);
    }
}

TEST_CASE("pool waiting: a waiter killed in its sleep leaves nothing but a bit", "[child]") {
    auto room = make_full_room(1);
    auto held = room->items.acquire();
    {
        Child child{[&] { return room->items.acquire() ? 0 : 1; }};
        wait_for_waiters(room, 1);
        child.kill();
    }
    CHECK(room->items.stats().waiting == 1);
    support::reap_dead(room);
    held.give_back();
    CHECK(room->items.stats().waiting == 0);
    CHECK(room->items.try_acquire());
}

TEST_CASE("pool waiting: a waiter killed between its two marks is not counted for ever",
          "[child]") {
    const bool summary_left = GENERATE(false, true);
    auto room = make_full_room(1, 1);
    auto held = room->items.acquire();
    auto& body = support::body_of(room->items);
    const support::Flag there;
    Child child{[&]() -> int {
        (void)room->items.try_acquire();
        const auto lane = lagoon::detail::lane_of(&room->items).lane;
        if (summary_left) {  // killed while it withdrew
            body.demand.fetch_or(std::uint64_t{1} << (lane / 64), std::memory_order_seq_cst);
        } else {
            body.demand_leaf[lane / 64].fetch_or(std::uint64_t{1} << (lane % 64),
                                                 std::memory_order_seq_cst);
        }
        there.raise();
        support::wait_for_death();
    }};
    there.wait();
    child.kill();
    support::reap_dead(room);
    held.give_back();
    CHECK(room->items.stats().waiting == 0);
    CHECK(!lagoon::detail::is_demanded(body.demand.load(std::memory_order_relaxed)));
    held = room->items.acquire();
    CHECK(room->items.acquire_for(1ms).status() == Outcome::timed_out);
}

TEST_CASE("pool waiting: a waiter that is stopped holds up nobody behind it", "[child]") {
    auto room = make_full_room(1);
    auto held = room->items.acquire();
    Child first{[&] { return room->items.acquire() ? 0 : 1; }};
    wait_for_waiters(room, 1);
    // Off the futex, for the kernel ends its sleep to stop it.
    support::stop(first);
    bool served = false;
    std::thread second{[&] { served = static_cast<bool>(room->items.acquire()); }};
    wait_for_waiters(room, 2);
    held.give_back();
    second.join();
    first.kill();
    CHECK(served);
    CHECK(room->items.stats().waiting <= 1);
    (void)room.reap();
    (void)room->items.try_acquire();
    CHECK(room->items.stats().waiting == 0);
}

TEST_CASE("pool waiting: without a keeper a death is found by looking anyway", "[child]") {
    auto room = make_full_room(1, 0, {.keeper = false});
    const std::string name{room.name()};
    const support::Flag there;
    Child child{[&]() -> int {
        auto mine = Arena::open(name, lagoon::OpenOptions{.keeper = false});
        auto lease = mine->items.acquire();
        there.raise();
        support::wait_for_death();
    }};
    there.wait();
    bool recovered = false;
    std::thread waiter{[&] { recovered = room->items.acquire().recovered(); }};
    wait_for_waiters(room, 1);
    child.kill();
    waiter.join();
    CHECK(recovered);
}

TEST_CASE("pool waiting: whoever gets a dead waiter's lane does not get its mark", "[child]") {
    auto room = make_full_room(1);
    auto held = room->items.acquire();
    std::uint32_t lane = 0;
    Child child{[&] { return room->items.acquire() ? 1 : 2; }};
    wait_for_waiters(room, 1);
    child.kill();
    (void)support::reap_dead(room);
    REQUIRE(room->items.stats().waiting == 1);  // a hint: nobody has given back since
    std::thread{[&] { lane = lagoon::detail::lane_of(&*room).lane; }}.join();
    REQUIRE(lane != 0);
    CHECK(room->items.stats().waiting == 0);
    CHECK(!support::is_demanded(room->items));
}

TEST_CASE("pool waiting: who holds and waits and is killed turns nobody away, though nobody reaps",
          "[child]") {
    auto room = make_full_room(1, 1);
    Child child{[&] {
        const auto lease = room->items.acquire();
        return room->items.acquire() ? 1 : 2;
    }};
    wait_for_waiters(room, 1);
    child.kill();
    const auto lease = room->items.acquire_for(1h);
    CHECK(lease.status() == Outcome::ok);
    CHECK(lease.recovered());
}

TEST_CASE("pool waiting: a killed waiter takes no place among max_waiters", "[child]") {
    auto room = make_full_room(1, 1);
    auto held = room->items.acquire();
    Child child{[&] { return room->items.acquire() ? 1 : 2; }};
    wait_for_waiters(room, 1);
    CHECK(room->items.acquire_for(1h).status() == Outcome::too_many_waiters);
    child.kill();
    (void)support::reap_dead(room);
    CHECK(room->items.acquire_for(2ms).status() == Outcome::timed_out);
    CHECK(room->items.stats().waiting == 0);
}
