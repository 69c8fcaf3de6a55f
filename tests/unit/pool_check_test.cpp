// pool_check_test.cpp: resources that are checked before they are lent.
#include <lagoon/lagoon.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>

#include "support/lives.hpp"

using lagoon::Outcome;
using support::Child;
using support::SlotState;
using support::unique_name;
using namespace std::chrono_literals;
using namespace support::lives;
namespace detail = lagoon::detail;

TEST_CASE("pool life: what is idle for long is checked before it is lent, and in no try_ form") {
    auto room = make_room({.validate_after = 0ns}, 2, 1);
    Calls calls;
    room.hooks(room->items, calls.hooks());
    CHECK_FALSE(room->items.try_acquire());
    CHECK(room->items.try_acquire_n(1).empty());
    CHECK(calls.checked.empty());
    auto lease = room->items.acquire();
    REQUIRE(lease);
    CHECK(calls.checked == Numbers{1});
    CHECK(support::state_of(room->items, 0) == SlotState::held);
    lease.give_back();
    auto several = room->items.acquire_n(1);
    CHECK(several.size() == 1);
    CHECK(calls.checked == Numbers{1, 1});
    several.clear();
    CHECK(room->items.acquire_or_create([] { return Item{2}; })->number == 1);
    CHECK(calls.checked == Numbers{1, 1, 1});
    CHECK(room->items.stats().acquired == 3);
}

TEST_CASE("pool life: what is idle for less than validate_after is lent unchecked") {
    auto room = make_room({.validate_after = 1h}, 1, 1);
    Calls calls;
    room.hooks(room->items, calls.hooks());
    borrow(room);
    CHECK(room->items.acquire());
    CHECK(calls.checked.empty());
}

TEST_CASE("pool life: what does not pass is destroyed, and the borrower looks on") {
    auto room = make_room({.validate_after = 0ns}, 3, 3);
    Numbers destroyed;
    room.hooks(room->items, {.check = [](Item& item) { return item.number == 2; },
                             .destroy = [&](Item& item) { destroyed.push_back(item.number); }});
    SECTION("for one") {
        CHECK(room->items.acquire()->number == 2);
        CHECK(destroyed.size() == room->items.stats().ended_by_check);
    }
    SECTION("for another that is made") {
        auto good = room->items.acquire();
        auto made = room->items.acquire_or_create([] { return Item{7}; });
        CHECK(made->number == 7);
        std::sort(destroyed.begin(), destroyed.end());
        CHECK(destroyed == Numbers{1, 3});
        CHECK(room->items.stats().ended_by_check == 2);
        CHECK(room->items.stats().reused() == 0);
    }
    SECTION("for several, none of which is kept") {
        CHECK(room->items.acquire_n_for(1ms, 3).empty());
        CHECK_FALSE(destroyed.empty());
        CHECK(room->items.stats().leased == 0);
    }
    require_conserved(room);
}

TEST_CASE("pool life: a check that throws has not passed") {
    auto room = make_room({.validate_after = 0ns}, 1, 1);
    room.hooks(room->items, {.check = [](Item&) -> bool { throw 1; }});
    CHECK(room->items.acquire_for(1ms).status() == Outcome::timed_out);
    CHECK(room->items.stats().ended_by_check == 1);
}

TEST_CASE("pool life: a process without a check borrows unchecked", "[child]") {
    auto room = make_room({.validate_after = 0ns}, 1, 1);
    CHECK(support::in_child([&] {
              room.hooks(&Room::items, {.check = [](Item&) { return false; }});
              return 0;
          }) == support::exited(0));
    CHECK(room->items.try_acquire());
    CHECK(room->items.acquire());
}

TEST_CASE("pool life: a check that borrows from its own pool does so unchecked") {
    auto room = make_room({.validate_after = 0ns}, 3, 3);
    int checks = 0;
    bool inner = false;
    room.hooks(room->items, {.check = [&](Item&) {
                   ++checks;
                   inner = static_cast<bool>(room->items.acquire_for(1h));
                   return true;
               }});
    CHECK(room->items.acquire());
    CHECK(checks == 1);
    CHECK(inner);
}

TEST_CASE("pool life: a passed check clears recovered", "[child]") {
    asked = {.capacity = 1, .on_death = lagoon::OnDeath::reuse, .life = {.validate_after = 0ns}};
    auto room = Arena::create(unique_name("life"));
    room->items.add(Item{1});
    const support::Flag there;
    Child child{[&]() -> int {
        const auto lease = room->items.try_acquire();
        if (lease) there.raise();
        support::wait_for_death();
    }};
    there.wait();
    CHECK(child.kill() == support::killed_by(SIGKILL));
    support::reap_dead(room);
    CHECK(room->items.try_acquire().recovered());
    room.hooks(room->items, {.check = [](Item&) { return true; }});
    CHECK_FALSE(room->items.acquire().recovered());
}

TEST_CASE("pool life: a death in the check is counted, and the resource checked again", "[child]") {
    auto room = make_room({.validate_after = 0ns}, 1, 1);
    CHECK(support::in_child([&] {
              room.hooks(&Room::items, {.check = [](Item&) -> bool {
                  ::raise(SIGKILL);
                  return true;
              }});
              (void)room->items.acquire();
              return 1;
          }) == support::killed_by(SIGKILL));
    Calls calls;
    room.hooks(room->items, calls.hooks());
    support::reap_dead(room);
    CHECK(calls.checked == Numbers{1});
    CHECK(room->items.stats().idle == 1);
    auto& slot = detail::pool_slot(support::object_of(room->items), 0);
    CHECK(detail::meta::deaths(at_rest(slot.meta)) == 1);
}
