// pool_overdue_test.cpp: leases that are held for longer than the pool's lease_limit.
#include <lagoon/lagoon.hpp>

#include <atomic>

#include <catch2/catch.hpp>

#include "runtime/pool_clock.hpp"
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
/// on_overdue is run from then on.
void told_from(const Arena& room, std::uint64_t when_ns) {
    detail::Attachment* attachment = detail::attachment_of(&room->items);
    // Y7 relaxed store, no pair: nobody else is here.
    detail::pool_private(*attachment, support::object_of(room->items))
        .overdue_due_ns.store(when_ns, std::memory_order_relaxed);
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

TEST_CASE("pool life: another process's lease is told of, and ends with it", "[child]") {
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

TEST_CASE("pool life: on_overdue is run once for each lease past its limit") {
    auto room = make_room({.lease_limit = limit}, 3, 2);
    std::vector<lagoon::OverdueLease> told;
    room.hooks(room->items, {.on_overdue = [&](const auto& lease) { told.push_back(lease); }});
    auto lease = room->items.acquire();
    (void)room.reap();
    CHECK(told.empty());
    make_older(room, lease.index(), 2 * limit);
    (void)room.reap();
    (void)room.reap();
    REQUIRE(told.size() == 1);
    CHECK(told[0].index == lease.index());
    CHECK(told[0].fill == lease.fill());
    CHECK(told[0].owner_pid == static_cast<std::uint32_t>(::getpid()));
    CHECK(told[0].held_for >= 2 * limit - 2ms);
    CHECK(room->items.overdue().size() == 1);  // as before
    SECTION("and again for the next one of the same resource") {
        lease.give_back();
        lease = room->items.acquire();
        make_older(room, lease.index(), 2 * limit);
        (void)room.reap();
        CHECK(told.size() == 2);
    }
    SECTION("whoever takes another one runs it") {
        const auto other = room->items.acquire();
        make_older(room, other.index(), 2 * limit);
        told_from(room, 0);
        lease.give_back();
        lease = room->items.acquire();
        REQUIRE(told.size() == 2);
        CHECK(told[1].index == other.index());
    }
    SECTION("but not before it is time for a look") {
        const auto other = room->items.acquire();
        make_older(room, other.index(), 2 * limit);
        lease.give_back();
        lease = room->items.acquire();
        CHECK(told.size() == 1);
    }
}

TEST_CASE("pool life: whoever waits for what is out for too long runs on_overdue") {
    auto room = make_room({.lease_limit = limit}, 1, 1);
    auto lease = room->items.acquire();
    make_older(room, 0, 2 * limit);
    std::atomic<int> told = 0;
    // What waits is ended by the hook alone.
    std::stop_source enough;
    room.hooks(room->items, {.on_overdue = [&](const auto&) {
                   ++told;
                   enough.request_stop();
                   throw 1;
               }});
    // Where it is not time for it before the sleep, which has no other end.
    told_from(room, detail::clock_ns() + 1'000'000);
    SECTION("for one") {
        CHECK(room->items.acquire(enough.get_token()).status() == Outcome::cancelled);
    }
    SECTION("for several") { CHECK(room->items.acquire_n(1, enough.get_token()).empty()); }
    SECTION("for all") { CHECK(room->items.drain(enough.get_token()) == Outcome::cancelled); }
    CHECK(told == 1);
}

TEST_CASE("pool life: looks for on_overdue put off no look for deaths that nobody announces",
          "[child]") {
    auto room = make_room({.lease_limit = 80ms}, 1, 1);
    room.hooks(room->items, {.on_overdue = [](const auto&) {}});
    const support::Flag taken;
    support::Child holder{[&, name = room.name()] {
        const auto mine = Arena::open(name, {.keeper = false});
        const auto lease = mine->items.acquire();
        taken.raise();
        for (;;) ::pause();
        return 0;
    }};
    taken.wait();
    holder.kill();
    CHECK(room->items.acquire());
}

TEST_CASE("pool life: of several processes with on_overdue one runs it", "[child]") {
    auto room = make_room({.lease_limit = limit}, 1, 1);
    const auto lease = room->items.acquire();
    make_older(room, 0, 2 * limit);
    int told = 0;
    room.hooks(room->items, {.on_overdue = [&](const auto&) { ++told; }});
    support::Child other{[name = room.name()] {
        const auto mine = Arena::open(name);
        int here = 0;
        mine.hooks(mine->items, {.on_overdue = [&](const auto&) { ++here; }});
        (void)mine.reap();
        return here;
    }};
    CHECK(other.wait() == support::exited(1));
    (void)room.reap();
    CHECK(told == 0);
}

TEST_CASE("pool life: on_overdue may use its own pool") {
    auto room = make_room({.lease_limit = limit}, 3, 2);
    const auto lease = room->items.acquire();
    make_older(room, lease.index(), 2 * limit);
    int told = 0;
    room.hooks(room->items, {.on_overdue = [&](const auto&) {
                   ++told;
                   CHECK(room->items.acquire());
                   (void)room.reap();
                   CHECK(room->items.overdue().size() == 1);
               }});
    (void)room.reap();
    CHECK(told == 1);
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
