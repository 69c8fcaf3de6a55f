// counter_test.cpp: one number that many processes count.
#include <lagoon/lagoon.hpp>

#include <unistd.h>

#include <catch2/catch.hpp>
#include <limits>
#include <thread>
#include <vector>

#include "support/arenas.hpp"

using support::Child;
using support::unique_name;

namespace {

struct Room {
    lagoon::Counter count{"count"};
    lagoon::Counter from{"from", -5};
    lagoon::Array<int> data{"data", 1};
};
using Arena = lagoon::Arena<Room>;

}  // namespace

TEST_CASE("counter: add and sub return the total just before") {
    auto room = Arena::create(unique_name("counter"));
    CHECK(room->count.load() == 0);
    CHECK(room->count.add(3) == 0);
    CHECK(room->count.add() == 3);
    CHECK(room->count.sub() == 4);
    CHECK(room->count.sub(5) == 3);
    CHECK(room->count.load() == -2);
    CHECK(room->from.load() == -5);
}

TEST_CASE("counter: exchange and compare_exchange") {
    auto room = Arena::create(unique_name("counter"));
    room->count.add(7);
    CHECK(room->count.exchange(1) == 7);
    std::int64_t expected = 2;
    CHECK_FALSE(room->count.compare_exchange(expected, 9));
    CHECK(expected == 1);
    CHECK(room->count.compare_exchange(expected, 9));
    CHECK(room->count.observe() == 9);
}

TEST_CASE("counter: it counts modulo 2^64") {
    auto room = Arena::create(unique_name("counter"));
    room->count.exchange(std::numeric_limits<std::int64_t>::max());
    room->count.add(1);
    CHECK(room->count.load() == std::numeric_limits<std::int64_t>::min());
    room->count.sub(1);
    CHECK(room->count.load() == std::numeric_limits<std::int64_t>::max());
}

TEST_CASE("counter: who opens the arena finds the total, not the initial value") {
    auto room = Arena::create(unique_name("counter"));
    room->from.add(1);
    auto same = Arena::open(room.name());
    CHECK(same->from.load() == -4);
}

TEST_CASE("counter: no count of any thread or process is lost", "[child]") {
    auto room = Arena::create(unique_name("counter"));
    const auto work = [&] {
        for (int i = 0; i < 10'000; ++i) room->count.add(i % 3);
        return 0;
    };
    Child one{work};
    Child two{work};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) threads.emplace_back(work);
    for (auto& thread : threads) thread.join();
    CHECK(one.wait() == support::exited(0));
    CHECK(two.wait() == support::exited(0));
    CHECK(room->count.load() == 4 * 9999);
}

TEST_CASE("counter: who observes a publish sees what was written before it") {
    auto room = Arena::create(unique_name("counter"));
    for (int round = 1; round <= 200; ++round) {
        std::thread writer{[&] {
            room->data.span()[0] = round;
            room->count.publish();
            room->count.add(0);
        }};
        while (room->count.observe() < round) std::this_thread::yield();
        const int seen = room->data.span()[0];
        writer.join();
        REQUIRE(seen == round);
    }
}
