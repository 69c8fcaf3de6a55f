// pool_broken_test.cpp: leases whose holder has found the resource broken, or failing.
#include <lagoon/lagoon.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <thread>

#include "runtime/lanes.hpp"
#include "support/lives.hpp"

using lagoon::PoolLife;
using support::Child;
using support::SlotState;
using namespace support::lives;
namespace detail = lagoon::detail;

namespace {

/// No claim word of this thread's stands for a slot that is lent.
bool claims_are_free(const Arena& room) {
    const auto& pool = support::object_of(room->items);
    const auto& claims = detail::claims_of(pool, detail::lane_of(&room->items).lane);
    return std::all_of(claims.claim.begin(), claims.claim.end(),
                       [](const auto& claim) { return at_rest(claim) % 2 == 0; });
}

}  // namespace

TEST_CASE("pool life: what was marked broken is ended when it comes back, in any pool") {
    for (const auto& life : {PoolLife{}, PoolLife{.max_uses = 100}}) {
        for (const auto ownership : {lagoon::Ownership::automatic, lagoon::Ownership::biased}) {
            auto room = make_room(life, 2, 2, {.ownership = ownership});
            borrow(room);  // a thread that keeps slots keeps it now
            auto lease = room->items.try_acquire();
            REQUIRE(lease);
            const std::uint64_t index = lease.index();
            lease.mark_broken();
            lease.mark_broken();
            CHECK(support::state_of(room->items, index) == SlotState::held);
            CHECK(room->items.stats().leased == 1);
            lease->number = 9;  // it can still be used
            CHECK(claims_are_free(room));
            lease.give_back();
            CHECK(support::state_of(room->items, index) == SlotState::empty);
            CHECK(room->items.stats().ended_by_failures == 1);
            for (int i = 0; i < 3; ++i) borrow(room);
            require_conserved(room);
        }
    }
}

TEST_CASE("pool life: what was marked broken is ended also where threads share a lane") {
    const auto ownership = GENERATE(lagoon::Ownership::unbiased, lagoon::Ownership::biased);
    // This thread has the only lane that is no process's.
    auto room = make_room({}, 1, 1, {.max_processes = 2, .max_threads = 1, .ownership = ownership});
    borrow(room);
    std::thread{[&] {
        REQUIRE(detail::lane_of(&room->items).shared);
        borrow(room);
        auto lease = room->items.try_acquire();
        lease.mark_broken();
        lease.give_back();
    }}.join();
    CHECK(support::state_of(room->items, 0) == SlotState::empty);
    require_conserved(room);
}

TEST_CASE("pool life: what was marked broken is destroyed by who runs hooks, not by its giver") {
    auto room = make_room({}, 1, 1);
    Calls calls;
    room.hooks(room->items, calls.hooks());
    auto lease = room->items.acquire();
    lease.mark_broken();
    lease.give_back();
    CHECK(calls.destroyed.empty());
    CHECK(support::state_of(room->items, 0) == SlotState::dirty);
    CHECK(room->items.acquire_or_create([] { return Item{2}; })->number == 2);
    CHECK(calls.destroyed == Numbers{1});
}

TEST_CASE("pool life: a broken lease can be moved to another thread, discarded and taken out") {
    auto room = make_room({}, 3, 3, {.ownership = lagoon::Ownership::biased});
    auto lease = room->items.acquire();
    lease.mark_broken();
    std::thread{[moved = std::move(lease)]() mutable { moved.give_back(); }}.join();
    CHECK(room->items.stats().empty == 1);
    lease = room->items.acquire();
    lease.mark_broken();
    lease.discard();
    CHECK(room->items.stats().empty == 2);
    lease = room->items.acquire();
    const std::int64_t number = lease->number;
    lease.mark_broken();
    CHECK(lease.detach().number == number);
    CHECK(room->items.stats().empty == 3);
    CHECK(room->items.stats().ended_by_failures == 1);
}

TEST_CASE("pool life: what a dead borrower had marked broken is destroyed, not checked",
          "[child]") {
    auto room = make_room({}, 1, 1);
    Calls calls;
    room.hooks(room->items, calls.hooks());
    const support::Flag there;
    Child child{[&]() -> int {
        auto lease = room->items.acquire();
        lease.mark_broken();
        there.raise();
        support::wait_for_death();
    }};
    there.wait();
    CHECK(child.kill() == support::killed_by(SIGKILL));
    support::reap_dead(room);
    CHECK(calls.checked.empty());
    CHECK(calls.destroyed == Numbers{1});
}

TEST_CASE("pool life: it is ended when it comes back after max_failures") {
    auto room = make_room({.max_failures = 2}, 1, 1);
    const auto fail_once = [&] {
        auto lease = room->items.acquire_or_create([] { return Item{2}; });
        lease.report_failure();
        return lease->number;
    };
    CHECK(fail_once() == 1);
    borrow(room);  // a use without a failure does not undo one
    CHECK(fail_once() == 1);
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.stats().ended_by_failures == 1);
    // Counted per filling.
    CHECK(fail_once() == 2);
    CHECK(room->items.stats().idle == 1);
    auto plain = make_room({}, 1, 1);
    plain->items.acquire().report_failure();
    CHECK(plain->items.stats().idle == 1);
}
