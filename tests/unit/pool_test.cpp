// pool_test.cpp: taking and giving back, and leases.
#include <lagoon/lagoon.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <set>
#include <thread>
#include <vector>

#include "support/rooms.hpp"

using lagoon::Outcome;
using support::in_child;
using support::killed_by;
using namespace support::rooms;

TEST_CASE("pool: an empty pool lends nothing, and the lease says why") {
    auto room = make_room(3);
    auto lease = room->items.try_acquire();
    CHECK_FALSE(lease);
    CHECK(lease.status() == Outcome::would_block);
    CHECK(room->items.capacity() == 3);
    CHECK(room->items.idle() == 0);
    CHECK(room->items.leased() == 0);
    CHECK(lagoon::Lease<Item>{}.status() == Outcome::given_back);
}

TEST_CASE("pool: add puts a resource in, until the pool is at capacity") {
    auto room = make_room(2);
    CHECK(room->items.add(Item{1, 0}));
    CHECK(room->items.add(Item{2, 0}));
    CHECK_FALSE(room->items.add(Item{3, 0}));
    CHECK(room->items.idle() == 2);
    auto a = room->items.try_acquire();
    REQUIRE(a);
    CHECK(a.status() == Outcome::ok);
    CHECK_FALSE(room->items.add(Item{3, 0}));
    a.discard();
    CHECK(room->items.add(Item{3, 0}));
}

TEST_CASE("pool: a freed slot is handed out again, with what its holder wrote") {
    auto room = make_full_room(1);
    {
        auto lease = room->items.try_acquire();
        REQUIRE(lease);
        lease->number = 42;
        CHECK(room->items.leased() == 1);
        CHECK_FALSE(room->items.try_acquire());
    }
    CHECK(room->items.idle() == 1);
    auto again = room->items.try_acquire();
    REQUIRE(again);
    CHECK(again->number == 42);
    CHECK((*again).number == 42);
    CHECK(again.get()->number == 42);
}

TEST_CASE("pool: what one thread gives back last it gets first") {
    auto room = make_full_room(200);
    std::vector<lagoon::Lease<Item>> held;
    for (int i = 0; i < 60; ++i) held.push_back(room->items.try_acquire());
    std::vector<std::uint64_t> order;
    for (auto& lease : held) {
        REQUIRE(lease);
        order.push_back(lease.index());
        lease.give_back();
    }
    std::reverse(order.begin(), order.end());
    for (const std::uint64_t expected : order) {
        held.push_back(room->items.try_acquire());
        CHECK(held.back().index() == expected);
    }
}

TEST_CASE("pool: the last 64 returns come back in order, and all the others come, none twice") {
    auto room = make_full_room(200);
    std::vector<lagoon::Lease<Item>> held;
    for (int i = 0; i < 150; ++i) held.push_back(room->items.try_acquire());
    std::vector<std::uint64_t> order;
    for (auto& lease : held) {
        order.push_back(lease.index());
        lease.give_back();
    }
    held.clear();
    std::reverse(order.begin(), order.end());
    std::set<std::uint64_t> seen;
    for (std::size_t i = 0; i < 200; ++i) {
        held.push_back(room->items.try_acquire());
        REQUIRE(held.back());
        if (i < 64) CHECK(held.back().index() == order[i]);
        seen.insert(held.back().index());
    }
    CHECK(seen.size() == 200);
    CHECK_FALSE(room->items.try_acquire());
}

TEST_CASE("pool: every capacity is lent whole, by memory and by hints, none twice") {
    for (const std::uint64_t capacity :
         std::initializer_list<std::uint64_t>{1, 3, 63, 64, 65, 128, 4095, 4096, 4097, 5000}) {
        CAPTURE(capacity);
        auto room = make_full_room(capacity);
        // Twice by this thread, and once by a thread that remembers nothing.
        for (int round = 0; round < 3; ++round) {
            std::vector<bool> seen(capacity);
            std::uint64_t twice = 0;
            std::uint64_t missing = 0;
            bool more = false;
            const auto take_all = [&] {
                std::vector<lagoon::Lease<Item>> held;
                for (std::uint64_t i = 0; i < capacity; ++i) {
                    held.push_back(room->items.try_acquire());
                    if (!held.back()) {
                        ++missing;
                        continue;
                    }
                    twice += seen[held.back().index()] ? 1U : 0U;
                    seen[held.back().index()] = true;
                }
                more = static_cast<bool>(room->items.try_acquire());
            };
            if (round == 2) {
                on_thread(take_all);
            } else {
                take_all();
            }
            CHECK(twice == 0);
            CHECK(missing == 0);
            CHECK_FALSE(more);
            CHECK(room->items.idle() == capacity);
        }
    }
}

TEST_CASE("pool: giving a lease back twice, or using an empty one, prints and aborts", "[child]") {
    auto room = make_full_room(2);
    const auto broken = [&](auto&& use) {
        return aborts([&] {
            auto mine = Arena::open(room.name());
            use(mine->items);
        });
    };
    CHECK(broken([](auto& items) {
        auto lease = items.acquire();
        lease.give_back();
        lease.give_back();
    }));
    CHECK(broken([](auto& items) {
        auto lease = items.acquire();
        auto moved = std::move(lease);
        lease.give_back();
    }));
    CHECK(broken([](auto&) { lagoon::Lease<Item>{}.give_back(); }));
    CHECK(broken([](auto&) { lagoon::Lease<Item>{}.discard(); }));
    CHECK(broken([](auto&) { (void)lagoon::Lease<Item>{}.detach(); }));
    CHECK(broken([](auto&) { (void)lagoon::Lease<Item>{}.fill(); }));
    CHECK(broken([](auto&) { lagoon::Lease<Item>{}.mark_clean(); }));
    CHECK(broken([](auto& items) {
        auto lease = items.acquire();
        lease.give_back();
        lease->number = 1;
    }));
    const auto [ended, text] = support::output_of([&] {
        auto lease = room->items.acquire();
        lease.give_back();
        lease.give_back();
        return 0;
    });
    CHECK(ended == killed_by(SIGABRT));
    CHECK(text.find("given back twice") != std::string::npos);
}

TEST_CASE("pool: a lease moves, and the one it is moved onto is given back") {
    auto room = make_full_room(2);
    auto a = room->items.try_acquire();
    auto b = room->items.try_acquire();
    const std::uint64_t index = a.index();
    b = std::move(a);
    CHECK_FALSE(a);
    CHECK(a.status() == Outcome::given_back);
    CHECK(b.index() == index);
    CHECK(room->items.idle() == 1);
    auto& same = b;
    b = std::move(same);
    CHECK(b);
    std::vector<lagoon::Lease<Item>> many;
    many.push_back(std::move(b));
    many.clear();
    CHECK(room->items.idle() == 2);
}

TEST_CASE("pool: a lease may be given back by another thread than the one that took it") {
    auto room = make_full_room(1);
    for (int i = 0; i < 100; ++i) {
        auto lease = room->items.try_acquire();
        REQUIRE(lease);
        ++lease->uses;
        on_thread([moved = std::move(lease)]() mutable { moved.give_back(); });
        REQUIRE(room->items.idle() == 1);
    }
    CHECK(room->items.try_acquire()->uses == 100);
}

TEST_CASE("pool: a lease outlives the thread that took it") {
    auto room = make_full_room(3);
    const auto taken_by_thread = [&] {
        lagoon::Lease<Item> lease;
        on_thread([&] { lease = room->items.try_acquire(); });
        return lease;
    };
    auto first = taken_by_thread();
    REQUIRE(first);
    first->number = 11;
    CHECK(room->items.leased() == 1);
    // The next threads get the lane of the first, and neither disturbs nor inherits its lease.
    auto second = taken_by_thread();
    REQUIRE(second);
    CHECK(second.index() != first.index());
    on_thread([&] { first.give_back(); });
    CHECK(room->items.leased() == 1);
    auto third = taken_by_thread();
    REQUIRE(third);
    CHECK(third.index() != second.index());
    // Owned by the process by now, whose shared lane has the lowest numbers.
    for (const auto& lease : {std::cref(second), std::cref(third)}) {
        CHECK(support::word::owner(support::truth_of(room->items, lease.get().index())) == 0);
    }
    second.discard();
    CHECK(third.detach().number >= 0);
    CHECK(room->items.stats().empty == 2);
}

TEST_CASE("pool: a thread that ends hands over what it holds, whatever else it gave back") {
    auto room = make_full_room(2);
    lagoon::Lease<Item> old;
    lagoon::Lease<Item> kept;
    on_thread([&] { old = room->items.try_acquire(); });
    on_thread([&] {
        kept = room->items.try_acquire();
        // Taken under this lane's number, too, but by another thread.
        old.give_back();
    });
    REQUIRE(kept);
    CHECK(support::word::owner(support::truth_of(room->items, kept.index())) == 0);
    kept.give_back();
    CHECK(room->items.idle() == 2);
}

TEST_CASE("pool: threads beyond the arena's lanes share one, and lose nothing") {
    auto room = make_full_room(4, {.max_threads = 1});
    auto mine = room->items.try_acquire();
    std::vector<std::thread> threads;
    std::atomic<std::int64_t> done{0};
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 500; ++i) {
                auto lease = room->items.acquire();
                ++lease->uses;
                ++done;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    mine.give_back();
    CHECK(done == 2000);
    CHECK(room->items.idle() == 4);
    std::int64_t uses = 0;
    for (const auto& slot : room->items.snapshot()) uses += slot.value->uses;
    CHECK(uses == 2000);
    CHECK(room->items.stats().acquired == 2001);
}

TEST_CASE("pool: a change made through a lease is seen by the next holder in any process",
          "[child]") {
    auto room = make_full_room(1);
    const std::string name{room.name()};
    CHECK(in_child([&] {
              auto lease = room->items.acquire();
              lease->number = 1234;
              return 0;
          }) == support::exited(0));
    CHECK(room->items.try_acquire()->number == 1234);
    CHECK(in_child([&] {
              auto mine = Arena::open(name);
              auto lease = mine->items.acquire();
              return lease->number == 1234 ? 0 : 1;
          }) == support::exited(0));
}

TEST_CASE("pool: a lease that fork copied is foreign, and its destructor does nothing", "[child]") {
    auto room = make_full_room(2);
    auto lease = room->items.try_acquire();
    lease->number = 5;
    const std::uint64_t index = lease.index();
    CHECK(in_child([&] {
              { auto copy = std::move(lease); }
              auto other = room->items.try_acquire();
              if (!other || other.index() == index) return 1;
              return room->items.try_acquire() ? 2 : 0;
          }) == support::exited(0));
    CHECK(room->items.leased() == 1);
    CHECK(lease->number == 5);
    lease.give_back();
    CHECK(room->items.idle() == 2);
}
