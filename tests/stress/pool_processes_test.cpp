// pool_processes_test.cpp: processes on one pool, killed at random.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <thread>

#include "load.hpp"

using load::Arena;
using load::check_conservation;
using load::Item;
using load::make_room;
using load::Random;
using support::Child;

namespace {

/// Works until it is killed; with a second thread, so that lanes and hand-overs come into it.
[[noreturn]] void work_for_ever(const Arena& room, std::uint64_t stream) {
    const auto work = [&room](std::uint64_t me) {
        Random random{me};
        for (;;) {
            load::step(*room, random, me);
            room->laps.add(1);
        }
    };
    std::thread second{[&] { work(stream * 2 + 1); }};
    work(stream * 2);
    std::abort();
}

/// Kills and replaces workers, `kills` times; in between they work for some laps.
void kill_at_random(Arena& room, int kills) {
    Random random{77};
    std::uint64_t stream = 1000;
    std::vector<std::unique_ptr<Child>> workers(3);
    const auto start = [&](std::unique_ptr<Child>& worker) {
        const std::uint64_t mine = ++stream;
        worker = std::make_unique<Child>([&]() -> int { work_for_ever(room, mine); });
    };
    for (auto& worker : workers) start(worker);
    for (int i = 0; i < kills; ++i) {
        const std::int64_t laps = room->laps.load() + static_cast<std::int64_t>(random.below(300));
        support::wait_until([&] { return room->laps.load() >= laps; });
        auto& worker = workers[random.below(workers.size())];
        CHECK(worker->kill() == support::killed_by(SIGKILL));
        // Sometimes it is found by those who wait, sometimes by us.
        if (random.below(2) == 0) (void)room.reap();
        start(worker);
    }
    for (auto& worker : workers) worker->kill();
    for (int i = 0; i < 3; ++i) (void)room.reap();
}

}  // namespace

TEST_CASE("stress: processes take, make, discard and give back in any order") {
    const auto order = GENERATE(from_range(load::both_orders));
    for (const std::uint64_t capacity : std::initializer_list<std::uint64_t>{1, 3, 200}) {
        CAPTURE(capacity, order);
        auto room = make_room(capacity, 0, order);
        const int steps = load::iterations(15'000);
        std::vector<std::unique_ptr<Child>> workers;
        for (std::uint64_t p = 1; p <= 4; ++p) {
            workers.push_back(std::make_unique<Child>([&] {
                Random random{p + capacity * 100};
                for (int i = 0; i < steps; ++i) load::step(*room, random, p);
                return 0;
            }));
        }
        for (auto& worker : workers) CHECK(worker->wait() == support::exited(0));
        check_conservation(room);
        CHECK(room->items.stats().waiting == 0);
        CHECK(room->items.stats().recovered == 0);
    }
}

TEST_CASE("stress: many waiting processes on few slots are all served") {
    auto room = make_room(2, 0, GENERATE(from_range(load::both_orders)));
    room->items.add(Item{});
    room->items.add(Item{});
    const int steps = load::iterations(500);
    std::vector<std::unique_ptr<Child>> workers;
    for (std::uint64_t p = 1; p <= 16; ++p) {
        workers.push_back(std::make_unique<Child>([&] {
            for (int i = 0; i < steps; ++i) {
                auto lease = room->items.acquire();
                load::stamp(*room, lease, p);
                std::this_thread::yield();
                load::unstamp(*room, lease, p);
            }
            return 0;
        }));
    }
    for (auto& worker : workers) CHECK(worker->wait() == support::exited(0));
    CHECK(room->items.stats().late_wakes <= 1 + room->items.stats().waits / 1000);
    check_conservation(room);
}

TEST_CASE("stress: workers killed at random lose no slot and lend none twice") {
    const auto order = GENERATE(from_range(load::both_orders));
    for (const std::uint64_t capacity : std::initializer_list<std::uint64_t>{1, 3, 130}) {
        CAPTURE(capacity, order);
        auto room = make_room(capacity, 0, order);
        kill_at_random(room, load::iterations(300));
        check_conservation(room);
    }
}

TEST_CASE("stress: with quarantine, workers killed at random still lose no slot") {
    auto room = make_room(40, 3);
    kill_at_random(room, load::iterations(300));
    check_conservation(room);
    const auto stats = room->items.stats();
    CHECK(stats.quarantined == stats.quarantines);
    CHECK(room->items.clear() >= stats.quarantined);
    CHECK(room->items.stats().quarantined == 0);
}

TEST_CASE("stress: who waits without a deadline is served while others are killed") {
    auto room = make_room(2, 0, GENERATE(from_range(load::both_orders)));
    room->items.add(Item{});
    room->items.add(Item{});
    const int steps = load::iterations(30'000);
    Child patient{[&] {
        for (int i = 0; i < steps; ++i) {
            auto lease = room->items.acquire_or_create([] { return Item{}; });
            load::stamp(*room, lease, 1);
            load::unstamp(*room, lease, 1);
        }
        return 0;
    }};
    support::Ended end;
    std::atomic<bool> ended{false};
    std::thread judge{[&] {
        end = patient.wait();
        ended = true;
    }};
    Random random{5};
    std::uint64_t stream = 10;
    for (int kills = 0; kills < 500 && !ended; ++kills) {
        const std::uint64_t mine = ++stream;
        Child worker{[&]() -> int { work_for_ever(room, mine); }};
        const std::int64_t laps = room->laps.load() + static_cast<std::int64_t>(random.below(500));
        while (room->laps.load() < laps && !ended) std::this_thread::yield();
        worker.kill();
    }
    judge.join();
    CHECK(end == support::exited(0));
    for (int i = 0; i < 3; ++i) (void)room.reap();
    check_conservation(room);
}

TEST_CASE("stress: a large pool whose holders are killed comes back whole") {
    constexpr std::uint64_t capacity = 5000;
    auto room = make_room(capacity);
    for (std::uint64_t i = 0; i < capacity; ++i) room->items.add(Item{});
    const int rounds = load::iterations(20);
    for (int round = 0; round < rounds; ++round) {
        std::vector<std::unique_ptr<Child>> workers;
        const support::Flag there[3];
        for (std::uint64_t p = 0; p < 3; ++p) {
            workers.push_back(std::make_unique<Child>([&, p]() -> int {
                std::vector<lagoon::Lease<Item>> held;
                for (std::uint64_t i = 0; i < 1500; ++i) {
                    held.push_back(room->items.try_acquire());
                    if (!held.back()) room->wrong.add(1);
                }
                Random random{p + static_cast<std::uint64_t>(round) * 3};
                there[p].raise();
                for (;;) {
                    auto& lease = held[random.below(held.size())];
                    lease.give_back();
                    lease = room->items.try_acquire();
                    if (!lease) room->wrong.add(1);
                }
            }));
        }
        for (const auto& flag : there) flag.wait();
        for (auto& worker : workers) worker->kill();
        support::reap_dead(room, 3);
        REQUIRE(room->items.idle() == capacity);
    }
    CHECK(room->items.stats().recovered >= 4000 * static_cast<std::uint64_t>(rounds));
    check_conservation(room);
}
