// pool_gather_test.cpp: several slots at once, beside who waits for one, and whoever dies.
#include <lagoon/lagoon.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "runtime/pool_body.hpp"
#include "support/waiting.hpp"

using support::Child;
using support::waiting::make_full_room;
using namespace std::chrono_literals;
namespace word = lagoon::detail::word;

TEST_CASE("pool waiting: acquire_n is served once there are enough") {
    auto room = make_full_room(4);
    auto held = room->items.acquire_n(4);
    std::size_t got = 0;
    std::thread waiter{[&] { got = room->items.acquire_n(3).size(); }};
    support::wait_until([&] { return support::is_demanded(room->items); });
    std::this_thread::sleep_for(2ms);
    held.pop_back();
    held.pop_back();
    // What it cannot use yet it does not keep.
    support::wait_until([&] { return room->items.idle() == 2; });
    held.pop_back();
    waiter.join();
    CHECK(got == 3);
    held.clear();
    CHECK(room->items.idle() == 4);
}

TEST_CASE("pool waiting: two who gather more than half each do not wait for each other") {
    auto room = make_full_room(4);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 100; ++i) {
                if (room->items.acquire_n(3).size() != 3) ++wrong;
            }
        });
    }
    threads.emplace_back([&] {
        for (int i = 0; i < 300; ++i) {
            if (!room->items.acquire()) ++wrong;
        }
    });
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(room->items.idle() == 4);
    CHECK(room->items.stats().waiting == 0);
    CHECK(!support::is_demanded(room->items));
}

TEST_CASE("pool waiting: one who died gathering leaves the others what it had", "[child]") {
    auto room = make_full_room(4);
    auto held = room->items.acquire_n(2);
    Child child{[&] { return room->items.acquire_n(3).size() == 3 ? 0 : 1; }};
    support::wait_until([&] {
        // J2 acquire load <- J1.
        return support::body_of(room->items).bulk.load(std::memory_order_acquire) != 0;
    });
    std::this_thread::sleep_for(2ms);
    std::size_t got = 0;
    std::thread other{[&] { got = room->items.acquire_n(4).size(); }};
    std::this_thread::sleep_for(2ms);
    child.kill();
    held.clear();
    other.join();
    CHECK(got == 4);
    CHECK(room->items.idle() == 4);
    // J2 acquire load <- J1.
    CHECK(support::body_of(room->items).bulk.load(std::memory_order_acquire) == 0);
}

TEST_CASE("pool waiting: a gatherer killed with some in hand gives them back by dying", "[child]") {
    auto room = make_full_room(3);
    // As if it had been killed in the middle of taking: the right to gather, and two slots.
    support::Shared<std::uint32_t> lane;
    const support::Flag there;
    Child child{[&]() -> int {
        auto two = room->items.acquire_n(2);
        *lane = word::owner(support::truth_of(room->items, two[0].index()));
        auto& body = support::body_of(room->items);
        // J1 seq_cst RMW -> J2: by hand.
        body.bulk.exchange(lagoon::detail::gatherer_token(room.attached(), *lane),
                           std::memory_order_seq_cst);
        // D1 seq_cst RMW, no pair: by hand.
        body.demand.fetch_or(lagoon::detail::demand_bulk, std::memory_order_seq_cst);
        there.raise();
        support::wait_for_death();
    }};
    there.wait();
    CHECK(room->items.acquire_n_for(1ms, 2).empty());
    std::size_t got = 0;
    std::thread other{[&] { got = room->items.acquire_n(3).size(); }};
    std::this_thread::sleep_for(2ms);
    child.kill();
    other.join();
    CHECK(got == 3);
    CHECK(!support::is_demanded(room->items));
}
