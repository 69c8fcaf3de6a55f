// sharded_counter_test.cpp: a counter of many stripes whose sum is exact.
#include <lagoon/lagoon.hpp>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <limits>
#include <thread>
#include <vector>

#include "support/pools.hpp"

using support::Child;
using support::unique_name;

namespace {

struct Room {
    lagoon::ShardedCounter count{"count"};
    lagoon::ShardedCounter other{"other"};
};
using Arena = lagoon::Arena<Room>;

/// The count of each lane.
std::vector<std::int64_t> stripes_of(const Arena& room) {
    auto* storage = reinterpret_cast<lagoon::detail::Storage*>(&room->count);
    std::vector<std::int64_t> stripes;
    for (std::uint64_t lane = 0; lane < storage->extent; ++lane) {
        const auto* at = reinterpret_cast<const char*>(storage) + storage->from_object +
                         lane * lagoon::detail::cache_line_bytes;
        // S3 relaxed load, no pair: only looked at.
        stripes.push_back(reinterpret_cast<const lagoon::detail::Atomic<std::int64_t>*>(at)->load(
            std::memory_order_relaxed));
    }
    return stripes;
}

}  // namespace

TEST_CASE("sharded counter: it adds up, and takes away") {
    auto room = Arena::create(unique_name("sharded"));
    CHECK(room->count.load() == 0);
    room->count.add(5);
    room->count.add();
    room->count.sub(2);
    room->count.sub();
    CHECK(room->count.load() == 3);
    CHECK(room->other.load() == 0);
}

TEST_CASE("sharded counter: it counts modulo 2^64") {
    using Limits = std::numeric_limits<std::int64_t>;
    auto room = Arena::create(unique_name("sharded"));
    room->count.add(Limits::max());
    room->count.add();
    CHECK(room->count.load() == Limits::min());
    std::thread{[&] { room->count.sub(Limits::min()); }}.join();
    CHECK(room->count.load() == 0);
    std::thread{[&] { room->count.add(Limits::min()); }}.join();
    CHECK(room->count.load() == Limits::min());
}

TEST_CASE("sharded counter: the sum is exact over threads and processes that come and go",
          "[child]") {
    auto room = Arena::create(unique_name("sharded"));
    const auto work = [&] {
        std::vector<std::thread> threads;
        for (int t = 0; t < 3; ++t) {
            threads.emplace_back([&] {
                for (int i = 0; i < 5000; ++i) {
                    room->count.add(2);
                    room->other.sub();
                }
            });
        }
        for (auto& thread : threads) thread.join();
        return 0;
    };
    for (int round = 0; round < 5; ++round) {
        Child one{work};
        Child two{work};
        work();
        CHECK(one.wait() == support::exited(0));
        CHECK(two.wait() == support::exited(0));
    }
    CHECK(room->count.load() == 5 * 3 * 3 * 10'000);
    CHECK(room->other.load() == -5 * 3 * 3 * 5'000);
}

TEST_CASE("sharded counter: a lane's next owner carries the stripe on") {
    auto room = Arena::create(unique_name("sharded"), {.max_processes = 4, .max_threads = 4});
    for (int i = 0; i < 50; ++i) std::thread{[&] { room->count.add(3); }}.join();
    CHECK(room->count.load() == 150);
    // They came one after the other, so all of them had the same lane.
    CHECK(std::ranges::count(stripes_of(room), 150) == 1);
}

TEST_CASE("sharded counter: threads beyond the arena's lanes share a stripe, and lose nothing") {
    auto room = Arena::create(unique_name("sharded"), {.max_threads = 1});
    room->count.add(1);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 3000; ++i) room->count.add();
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(room->count.load() == 12'001);
}

TEST_CASE("sharded counter: what a killed process has counted stays, once", "[child]") {
    auto room = Arena::create(unique_name("sharded"));
    support::Shared<std::atomic<std::int64_t>> done;
    for (int round = 0; round < 10; ++round) {
        done->store(0);
        const std::int64_t before = room->count.load();
        Child child{[&]() -> int {
            for (;;) {
                room->count.add();
                ++*done;
            }
        }};
        support::wait_until([&] { return done->load() > 100 * round; });
        child.kill();
        const std::int64_t counted = room->count.load() - before;
        // The last one may be counted and not told.
        CHECK(counted - done->load() >= 0);
        CHECK(counted - done->load() <= 1);
        support::reap_dead(room);
        CHECK(room->count.load() == before + counted);
    }
}

TEST_CASE("sharded counter: it works after fork, from its own lane", "[child]") {
    auto room = Arena::create(unique_name("sharded"));
    room->count.add(1);
    CHECK(support::in_child([&] {
              room->count.add(10);
              return room->count.load() == 11 ? 0 : 1;
          }) == support::exited(0));
    room->count.add(100);
    CHECK(room->count.load() == 111);
}
