// pool_overdue_test.cpp: leases that are held for longer than the pool's lease_limit.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "support/lives.hpp"

using lagoon::LendOrder;
using lagoon::Outcome;
using lagoon::PoolLife;
using namespace std::chrono_literals;
using namespace support::lives;

namespace {

constexpr auto limit = 20s;  // longer than a test takes

std::uint64_t since_of(const Arena& room, std::uint64_t slot) {
    return at_rest(record_of(room, slot).since);
}
void put_since(const Arena& room, std::uint64_t slot, std::uint64_t since) {
    // Y8 relaxed store, no pair: nobody else has the slot.
    record_of(room, slot).since.store(since, std::memory_order_relaxed);
}
/// The lease of this slot seems to have begun so much earlier.
void make_older(const Arena& room, std::uint64_t slot, std::chrono::nanoseconds by) {
    const std::uint64_t since = since_of(room, slot);
    REQUIRE(since != 0);
    put_since(room, slot, since - (static_cast<std::uint64_t>(by.count()) >> 20 << 24));
}
bool is_told_of(const Arena& room, std::uint64_t slot) {
    if (!room->items.overdue().empty()) return false;
    make_older(room, slot, 2 * limit);
    return room->items.overdue().size() == 1 && room->items.overdue()[0].index == slot;
}

}  // namespace

TEST_CASE("pool life: a lease past its limit is told of, with who holds it and for how long") {
    auto room = make_room({.lease_limit = limit}, 3, 2);
    auto lease = room->items.acquire();
    CHECK(room->items.overdue().empty());
    CHECK(room->items.explain(Outcome::timed_out).find("lease_limit") == std::string::npos);
    make_older(room, lease.index(), 2 * limit);
    const auto told = room->items.overdue();
    REQUIRE(told.size() == 1);
    CHECK(told[0].index == lease.index());
    CHECK(told[0].fill == lease.fill());
    CHECK(told[0].owner_pid == static_cast<std::uint32_t>(::getpid()));
    CHECK(told[0].held_for >= 2 * limit - 2ms);
    const std::string text = room->items.explain(Outcome::timed_out);
    INFO(text);
    CHECK(text.find("; past the lease_limit of 20000 ms: process " + std::to_string(::getpid()) +
                    " for 4") != std::string::npos);
    SECTION("until it comes back, and the next one begins anew") {
        lease.give_back();
        CHECK(room->items.overdue().empty());
        lease = room->items.acquire();
        CHECK(room->items.overdue().empty());
    }
    SECTION("also when it is marked broken") {
        lease.mark_broken();
        CHECK(room->items.overdue().size() == 1);
    }
}

TEST_CASE("pool life: every way to a lease is measured") {
    SECTION("what is idle") {
        auto room = make_room({.lease_limit = limit}, 2, 1);
        const auto lease = room->items.try_acquire();
        CHECK(is_told_of(room, lease.index()));
    }
    SECTION("several") {
        auto room = make_room({.lease_limit = limit}, 2, 1);
        const auto leases = room->items.acquire_n(1);
        CHECK(is_told_of(room, leases[0].index()));
    }
    SECTION("what is made") {
        auto room = make_room({.lease_limit = limit}, 2, 0);
        const auto lease = room->items.acquire_or_create([] { return Item{1}; });
        CHECK(is_told_of(room, lease.index()));
    }
    SECTION("the one that came back first") {
        auto room = make_room({.order = LendOrder::fifo, .lease_limit = limit}, 2, 1);
        const auto lease = room->items.try_acquire();
        CHECK(is_told_of(room, lease.index()));
    }
    SECTION("what was checked") {
        auto room = make_room({.validate_after = 0ns, .lease_limit = limit}, 2, 1);
        Calls calls;
        room.hooks(room->items, calls.hooks());
        const auto lease = room->items.acquire();
        CHECK(calls.checked.size() == 1);
        CHECK(is_told_of(room, lease.index()));
    }
}

TEST_CASE("pool life: nobody is told of for what an earlier lease has left") {
    auto room = make_room({.lease_limit = limit}, 1, 1);
    auto lease = room->items.acquire();
    make_older(room, 0, 2 * limit);
    const std::uint64_t left = since_of(room, 0);
    lease.give_back();
    lease = room->items.acquire();
    put_since(room, 0, left);  // as between the slot's word and the note
    CHECK(room->items.overdue().empty());
}

TEST_CASE("pool life: another process's lease is told of, and ends with it") {
    auto room = make_room({.lease_limit = limit}, 1, 1);
    const support::Flag taken;
    support::Child holder{[&, name = room.name()] {
        const auto mine = Arena::open(name);
        const auto lease = mine->items.acquire();
        taken.raise();
        for (;;) ::pause();
        return 0;
    }};
    taken.wait();
    make_older(room, 0, 2 * limit);
    const auto told = room->items.overdue();
    REQUIRE(told.size() == 1);
    CHECK(told[0].owner_pid == static_cast<std::uint32_t>(holder.pid()));
    (void)room.evict(told[0].owner_pid);
    CHECK(room->items.overdue().empty());
    CHECK(room->items.stats().idle == 1);
}

TEST_CASE(
    "pool life: a lease_limit that cannot be is refused, and a pool without one tells nothing") {
    CHECK(refusal({.lease_limit = -1ns}).find("a lease_limit of -1 ns; it can be 0 or more") !=
          std::string::npos);
    auto room = make_room({.max_uses = 5}, 1, 1);
    const auto lease = room->items.acquire();
    CHECK(since_of(room, 0) == 0);
    CHECK(room->items.overdue().empty());
}
