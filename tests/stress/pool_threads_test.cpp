// pool_threads_test.cpp: many threads of one process on one pool, in one mapping.
#include <atomic>
#include <mutex>
#include <thread>

#include "load.hpp"

using load::check_conservation;
using load::Item;
using load::make_room;
using load::Random;
using load::stamp;
using load::unstamp;

namespace {

/// `threads` threads do `body(number)`.
template <class Body>
void together(std::uint64_t threads, Body&& body) {
    std::vector<std::thread> all;
    for (std::uint64_t t = 1; t <= threads; ++t) all.emplace_back([&, t] { body(t); });
    for (auto& thread : all) thread.join();
}

}  // namespace

TEST_CASE("stress: threads take, make, discard and give back in any order") {
    for (const std::uint64_t capacity : std::initializer_list<std::uint64_t>{1, 3, 64, 200}) {
        CAPTURE(capacity);
        auto room = make_room(capacity);
        const int steps = load::iterations(20'000);
        together(4, [&](std::uint64_t me) {
            Random random{me + capacity * 100};
            for (int i = 0; i < steps; ++i) load::step(*room, random, me);
        });
        check_conservation(room);
        CHECK(room->items.stats().waiting == 0);
    }
}

TEST_CASE("stress: many waiters on few slots are all served, by wake-ups alone") {
    for (const std::uint64_t capacity : std::initializer_list<std::uint64_t>{1, 3}) {
        CAPTURE(capacity);
        auto room = make_room(capacity);
        for (std::uint64_t i = 0; i < capacity; ++i) room->items.add(Item{});
        const int steps = load::iterations(1500);
        together(32, [&](std::uint64_t me) {
            for (int i = 0; i < steps; ++i) {
                auto lease = room->items.acquire();
                stamp(*room, lease, me);
                std::this_thread::yield();
                unstamp(*room, lease, me);
            }
        });
        std::uint64_t uses = 0;
        for (const auto& slot : room->items.snapshot()) uses += slot.value->uses;
        CHECK(uses == 32 * static_cast<std::uint64_t>(steps));
        CHECK(room->items.stats().acquired >= uses);
        CHECK(room->items.stats().waiting == 0);
        // One that a sleep's cap ended is possible only where a release and the cap coincide.
        CHECK(room->items.stats().late_wakes <= 1 + room->items.stats().waits / 1000);
        check_conservation(room);
    }
}

TEST_CASE("stress: a large pool, nine tenths of it held") {
    constexpr std::uint64_t capacity = 5000;
    auto room = make_room(capacity);
    for (std::uint64_t i = 0; i < capacity; ++i) room->items.add(Item{});
    const int steps = load::iterations(1'000'000);
    together(4, [&](std::uint64_t me) {
        Random random{me};
        std::vector<lagoon::Lease<Item>> held;
        for (std::uint64_t i = 0; i < capacity * 9 / 40; ++i) {
            held.push_back(room->items.try_acquire());
            if (held.back()) stamp(*room, held.back(), me);
        }
        for (int i = 0; i < steps; ++i) {
            auto& lease = held[random.below(held.size())];
            if (lease) {
                unstamp(*room, lease, me);
                lease.give_back();
            }
            lease = room->items.try_acquire();
            // A tenth is idle at any time, so there must be one.
            if (!lease) {
                room->wrong.add(1);
                continue;
            }
            stamp(*room, lease, me);
        }
        for (auto& lease : held) {
            if (lease) unstamp(*room, lease, me);
        }
    });
    CHECK(room->items.idle() == capacity);
    check_conservation(room);
}

TEST_CASE("stress: leases are taken by one thread and given back by another") {
    auto room = make_room(8);
    for (int i = 0; i < 8; ++i) room->items.add(Item{});
    std::mutex mutex;
    std::vector<lagoon::Lease<Item>> box;
    const int steps = load::iterations(200'000);
    together(4, [&](std::uint64_t me) {
        Random random{me};
        for (int i = 0; i < steps; ++i) {
            lagoon::Lease<Item> lease;
            if (random.below(2) == 0) {
                lease = room->items.try_acquire();
            } else {
                const std::lock_guard guard{mutex};
                if (!box.empty()) {
                    lease = std::move(box.back());
                    box.pop_back();
                }
            }
            if (!lease) continue;
            if (lease->holder != 0) room->wrong.add(1);
            stamp(*room, lease, me);
            unstamp(*room, lease, me);
            if (random.below(3) == 0) continue;  // given back here
            const std::lock_guard guard{mutex};
            box.push_back(std::move(lease));
        }
    });
    CHECK(room->items.leased() == box.size());
    box.clear();
    CHECK(room->items.idle() == 8);
    check_conservation(room);
}

TEST_CASE("stress: threads that come and go leave nothing behind but what they lent on") {
    auto room = make_room(16);
    for (int i = 0; i < 16; ++i) room->items.add(Item{});
    const int rounds = load::iterations(1000);
    for (int round = 0; round < rounds; ++round) {
        std::vector<lagoon::Lease<Item>> left(4);
        together(4, [&](std::uint64_t me) {
            for (int i = 0; i < 10; ++i) {
                auto lease = room->items.acquire();
                stamp(*room, lease, me);
                unstamp(*room, lease, me);
            }
            left[me - 1] = room->items.acquire();
        });
        REQUIRE(room->items.leased() == 4);
    }
    check_conservation(room);
}

TEST_CASE("stress: two who gather and two who take one never wait for each other") {
    auto room = make_room(4);
    for (int i = 0; i < 4; ++i) room->items.add(Item{});
    const int steps = load::iterations(20'000);
    together(4, [&](std::uint64_t me) {
        for (int i = 0; i < steps; ++i) {
            if (me <= 2) {
                auto several = room->items.acquire_n(3);
                if (several.size() != 3) room->wrong.add(1);
                for (auto& lease : several) stamp(*room, lease, me);
                for (auto& lease : several) unstamp(*room, lease, me);
            } else {
                auto lease = room->items.acquire();
                stamp(*room, lease, me);
                unstamp(*room, lease, me);
            }
        }
    });
    CHECK(room->items.stats().waiting == 0);
    check_conservation(room);
}

TEST_CASE("stress: a pool is closed while everybody uses it") {
    const int rounds = load::iterations(100);
    for (int round = 0; round < rounds; ++round) {
        auto room = make_room(3);
        Random when{static_cast<std::uint64_t>(round)};
        std::atomic<int> done{0};
        const int end = static_cast<int>(when.below(200));
        together(4, [&](std::uint64_t me) {
            if (me == 4) {
                while (done < end) std::this_thread::yield();
                room->items.close();
                return;
            }
            for (;;) {
                auto lease = room->items.acquire_or_create([] { return Item{}; });
                if (!lease) {
                    if (lease.status() != lagoon::Outcome::closed) room->wrong.add(1);
                    return;
                }
                stamp(*room, lease, me);
                unstamp(*room, lease, me);
                ++done;
            }
        });
        const auto stats = room->items.stats();
        REQUIRE(stats.empty == 3);
        REQUIRE(stats.created == stats.destroyed);
        REQUIRE(room->wrong.load() == 0);
    }
}
