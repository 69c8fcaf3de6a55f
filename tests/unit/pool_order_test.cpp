// pool_order_test.cpp: what one thread takes next, and what becomes of a lease in another thread.
#include <lagoon/lagoon.hpp>

#include <sys/syscall.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "support/arenas.hpp"
#include "support/pools.hpp"
#include "support/system_calls.hpp"

using lagoon::Count;
using lagoon::Ownership;

namespace {

struct Room {
    explicit Room(Count capacity) : items{"items", {.capacity = capacity}} {}
    lagoon::Pool<std::int64_t> items;
};
using Arena = lagoon::Arena<Room>;
using Lease = lagoon::Lease<std::int64_t>;

Arena make_room(std::uint32_t capacity, Ownership ownership) {
    auto room =
        Arena::create(support::unique_name("order"), {.ownership = ownership}, Count{capacity});
    for (std::uint32_t i = 0; i < capacity; ++i) REQUIRE(room->items.add(i));
    return room;
}
std::vector<Lease> take_all(Room& room) {
    std::vector<Lease> all;
    while (Lease one = room.items.try_acquire()) all.push_back(std::move(one));
    return all;
}
/// Each slot once, and nothing has been changed under its holder.
void check_whole(Room& room) {
    const std::vector<Lease> all = take_all(room);
    std::set<std::uint64_t> slots;
    for (const Lease& lease : all) slots.insert(lease.index());
    CHECK(all.size() == room.items.capacity());
    CHECK(slots.size() == room.items.capacity());
    CHECK(room.items.stats().damaged == 0);
}

}  // namespace

TEST_CASE("pool order: one thread takes first what it gave back last") {
    const auto [ownership, capacity] = GENERATE(table<Ownership, std::uint32_t>({
        {Ownership::unbiased, 3},
        {Ownership::unbiased, 64},
        {Ownership::unbiased, 200},
        {Ownership::symmetric, 40},
        {Ownership::biased, 3},
        {Ownership::biased, 7},
    }));
    CAPTURE(ownership, capacity);
    auto room = make_room(capacity, ownership);
    std::mt19937 random{capacity};
    std::vector<Lease> held = take_all(*room);
    std::vector<std::uint64_t> idle;  // the last one is to be taken first
    for (int step = 0; step < 20'000; ++step) {
        const bool takes = held.empty() || (!idle.empty() && random() % 2 == 0);
        if (takes) {
            held.push_back(room->items.try_acquire());
            REQUIRE(held.back());
            REQUIRE(held.back().index() == idle.back());
            idle.pop_back();
        } else if (idle.size() < 64) {
            std::swap(held[random() % held.size()], held.back());
            idle.push_back(held.back().index());
            held.pop_back();
        }
    }
    CHECK(room->items.leased() == held.size());
    held.clear();
    check_whole(*room);
}

TEST_CASE("pool order: a lease is given back in another thread, and taken again in this one") {
    const auto ownership = GENERATE(Ownership::biased, Ownership::unbiased, Ownership::symmetric);
    CAPTURE(ownership);
    auto room = make_room(8, ownership);
    std::mt19937 random{8};
    for (int step = 0; step < 50; ++step) {
        std::vector<Lease> held;
        for (std::uint64_t n = 1 + random() % 8; n > 0; --n) {
            held.push_back(room->items.try_acquire());
            REQUIRE(held.back());
        }
        std::shuffle(held.begin(), held.end(), random);
        std::vector<Lease> given;
        for (std::uint64_t n = random() % held.size(); n > 0; --n) {
            given.push_back(std::move(held.back()));
            held.pop_back();
        }
        std::thread{[&] {
            // It has taken and given back in this pool itself, so it has a memory of its own.
            const Lease own = room->items.try_acquire();
            given.clear();
        }}.join();
        REQUIRE(room->items.leased() == held.size());
    }
    check_whole(*room);
}

TEST_CASE("pool order: a lease outlives its thread, whose memory the next thread gets") {
    const auto ownership = GENERATE(Ownership::biased, Ownership::unbiased, Ownership::symmetric);
    CAPTURE(ownership);
    auto room = make_room(3, ownership);
    for (int step = 0; step < 20; ++step) {
        std::vector<Lease> orphans;
        std::thread{[&] {
            { const Lease warm = room->items.try_acquire(); }
            orphans.push_back(room->items.try_acquire());
            orphans.push_back(room->items.try_acquire());
        }}.join();
        REQUIRE((orphans[0] && orphans[1]));
        std::thread{[&] {
            const Lease own = room->items.try_acquire();
            REQUIRE(own);
            orphans.clear();
            REQUIRE(room->items.leased() == 1);
        }}.join();
        REQUIRE(room->items.leased() == 0);
    }
    check_whole(*room);
}

TEST_CASE("pool order: leases of one slot from two threads are not taken for each other") {
    const auto ownership = GENERATE(Ownership::biased, Ownership::unbiased);
    CAPTURE(ownership);
    auto room = make_room(1, ownership);
    // Both threads keep the slot one after the other, and have lent it equally often.
    const auto lend = [&] {
        room->items.acquire().give_back();
        return room->items.acquire();
    };
    Lease mine = lend();
    std::thread{[moved = std::move(mine)]() mutable { moved.give_back(); }}.join();
    const support::Flag lent;
    const support::Flag given;
    Lease theirs;
    std::thread other{[&] {
        theirs = lend();
        lent.raise();
        given.wait();
        // It is whoever's asks first, this thread's as well.
        const Lease again = room->items.try_acquire();
        CHECK(again);
    }};
    lent.wait();
    theirs.give_back();
    CHECK(room->items.idle() == 1);
    given.raise();
    other.join();
    check_whole(*room);
}

TEST_CASE("pool order: a child's copy of a lease is not taken for its own of the same slot",
          "[process]") {
    auto room = make_room(1, Ownership::biased);
    Lease mine;
    const auto lend = [&] {
        room->items.acquire().give_back();
        return room->items.acquire();
    };
    mine = lend();
    const support::Flag born;
    const support::Flag given;
    support::Child child{[&]() -> int {
        Lease copy = std::move(mine);
        born.raise();
        given.wait();
        const Lease own = lend();
        if (!own) return 1;
        copy = Lease{};  // does nothing
        return room->items.leased() == 1 && !room->items.try_acquire() ? 0 : 2;
    }};
    born.wait();
    mine.give_back();
    given.raise();
    CHECK(child.wait() == support::exited(0));
    (void)support::reap_dead(room);
    check_whole(*room);
}

TEST_CASE("pool order: who may wait lets others run when it has to look for every slot",
          "[process]") {
    if (support::under_asan) {
        return support::skip("pool order: who may wait lets others run",
                             "address sanitizer makes system calls of its own");
    }
    auto room = make_room(100, Ownership::unbiased);
    const auto without_yield = [&](auto&& body) {
        return support::in_child([&] {
            room->items.acquire().give_back();
            if (!support::forbid_system_call(SYS_sched_yield)) return 1;
            body();
            return 0;
        });
    };
    // None of these has been given back by the one who takes it.
    const auto take_many = [&](auto&& take) {
        std::vector<Lease> many;
        for (int i = 0; i < 40; ++i) many.push_back(take());
    };
    CHECK(without_yield([&] { take_many([&] { return room->items.acquire(); }); }) ==
          support::killed_by_a_call);
    CHECK(without_yield([&] { take_many([&] { return room->items.try_acquire(); }); }) ==
          support::exited(0));
    CHECK(without_yield([&] {
              for (int i = 0; i < 1000; ++i) room->items.acquire().give_back();
          }) == support::exited(0));
    CHECK(support::reap_dead(room, 1).leases > 0);
}
