// pool_settling_test.cpp: what is DIRTY while others wait, hooks that kill their process, and hooks
// that use their own pool.
#include <lagoon/lagoon.hpp>

#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <thread>
#include <vector>

#include "runtime/lanes.hpp"
#include "runtime/pool_body.hpp"
#include "support/pools.hpp"
#include "support/sandbox.hpp"
#include "support/system_calls.hpp"

using namespace std::chrono_literals;
using lagoon::OnDeath;
using lagoon::Outcome;
using support::Child;
using support::SlotState;
using support::unique_name;
namespace detail = lagoon::detail;

namespace {

struct Item {
    std::int64_t number = 0;
};

struct Room {
    explicit Room(lagoon::Count capacity = 1, std::uint32_t on_death = 0)
        : items{"items", {.capacity = capacity, .on_death = static_cast<OnDeath>(on_death)}} {}
    lagoon::Pool<Item> items;
};
using Arena = lagoon::Arena<Room>;
using Hooks = lagoon::PoolHooks<Item>;

Arena make_full_room(std::uint64_t capacity, OnDeath on_death = OnDeath::check_then_reuse) {
    auto room = Arena::create(unique_name("settling"), {}, lagoon::Count{capacity},
                              static_cast<std::uint32_t>(on_death));
    for (std::uint64_t i = 0; i < capacity; ++i) room->items.add(Item{});
    return room;
}

/// Holds one until it is killed.
class Borrower {
public:
    explicit Borrower(const Arena& room)
        : child_{[&]() -> int {
              auto lease = room->items.try_acquire();
              if (!lease) return 1;
              there_.raise();
              support::wait_for_death();
          }} {
        there_.wait();
    }
    [[nodiscard]] bool kill() { return child_.kill() == support::killed_by(SIGKILL); }

private:
    const support::Flag there_;
    Child child_;
};

void borrow_and_die(const Arena& room) {
    CHECK(Borrower{room}.kill());
    support::reap_dead(room);
}

/// A process with these hooks is killed by one of them.
void hooks_kill(const Arena& room, const Hooks& hooks) {
    CHECK(support::in_child([&] {
              room.hooks(&Room::items, hooks);
              return 0;
          }) == support::killed_by(SIGKILL));
    support::reap_dead(room);
}

/// A process gives its hooks, and leaves.
void hooks_pass(const Arena& room, const Hooks& hooks) {
    CHECK(support::in_child([&] {
              room.hooks(&Room::items, hooks);
              return 0;
          }) == support::exited(0));
}

bool suicide(Item&) {
    ::raise(SIGKILL);
    return true;
}

void wait_for_waits(const Arena& room, std::uint64_t waits) {
    support::wait_until([&] {
        const auto stats = room->items.stats();
        return stats.waits >= waits && stats.waiting >= 1;
    });
    std::this_thread::sleep_for(2ms);
}

}  // namespace

TEST_CASE("pool settling: a check that kills its process does so thrice in all", "[child]") {
    auto room = make_full_room(1);
    hooks_pass(room, {.check = [](Item&) { return true; }});
    borrow_and_die(room);
    CHECK(support::state_of(room->items, 0) == SlotState::dirty);
    hooks_kill(room, {.check = suicide});
    CHECK(support::state_of(room->items, 0) == SlotState::dirty);
    hooks_kill(room, {.check = suicide});
    CHECK(support::state_of(room->items, 0) == SlotState::quarantined);
    CHECK(room->items.stats().quarantines == 1);
    hooks_pass(room, {.check = suicide});
    // Emptied and filled again, it is as good as any.
    CHECK(room->items.clear() == 1);
    room->items.add(Item{});
    CHECK(room->items.try_acquire());
}

TEST_CASE("pool settling: a reset that kills its process does so thrice in all", "[child]") {
    auto room = make_full_room(1, OnDeath::reset_then_reuse);
    hooks_pass(room, {.reset = [](Item&) { return true; }});
    borrow_and_die(room);
    hooks_kill(room, {.reset = suicide});
    hooks_kill(room, {.reset = suicide});
    CHECK(support::state_of(room->items, 0) == SlotState::quarantined);
}

TEST_CASE("pool settling: a destroy that kills its process does so thrice, until clear",
          "[child]") {
    auto room = make_full_room(1);
    const Hooks deadly{.destroy = [](Item& item) { (void)suicide(item); }};
    hooks_pass(room, deadly);
    room->items.try_acquire().discard();
    CHECK(support::state_of(room->items, 0) == SlotState::dirty);
    for (int i = 0; i < 3; ++i) hooks_kill(room, deadly);
    CHECK(support::state_of(room->items, 0) == SlotState::quarantined);
    hooks_pass(room, deadly);
    // Who clears it has no destroy: it is left to one who has, and is not quarantined again.
    CHECK(room->items.clear() == 0);
    CHECK(support::state_of(room->items, 0) == SlotState::dirty);
    hooks_pass(room, {.destroy = [](Item&) {}});
    CHECK(support::state_of(room->items, 0) == SlotState::empty);
}

namespace {

/// Somebody who has a destroy waits for the only place; `move_on`, in a process that has none,
/// makes the call that wakes, and is killed by it.
template <class MoveOn>
void require_call_that_wakes(const Arena& room, MoveOn&& move_on) {
    Child waiter{[&] {
        const auto mine = Arena::open(room.name());
        mine.hooks(&Room::items, {.destroy = [](Item&) {}});
        return mine->items.acquire_or_create([](Item& item) { item.number = 1; }) ? 0 : 1;
    }};
    wait_for_waits(room, 1);
    CHECK(support::in_child([&] {
              const auto mine = Arena::open(room.name());
              if (!support::forbid_system_call(SYS_futex)) return 1;
              move_on(mine);
              return 0;
          }) == support::killed_by_a_call);
    CHECK(waiter.wait() == support::exited(0));
}

}  // namespace

TEST_CASE("pool settling: a failed check wakes who waits and can destroy", "[child]") {
    auto room = make_full_room(1);
    hooks_pass(room, {.check = [](Item&) { return false; }, .destroy = [](Item&) {}});
    borrow_and_die(room);
    CHECK(support::state_of(room->items, 0) == SlotState::dirty);
    require_call_that_wakes(room, [](const Arena& mine) {
        mine.hooks(&Room::items, {.check = [](Item&) { return false; }});
    });
}

TEST_CASE("pool settling: what is cleared without a destroy wakes who has one", "[child]") {
    auto room = make_full_room(1, OnDeath::quarantine);
    hooks_pass(room, {.destroy = [](Item&) {}});
    borrow_and_die(room);
    CHECK(support::state_of(room->items, 0) == SlotState::quarantined);
    require_call_that_wakes(room, [](const Arena& mine) { (void)mine->items.clear(); });
}

TEST_CASE("pool settling: a check that waits on its own pool leaves the outer wait its mark",
          "[child]") {
    auto room = make_full_room(2);
    Borrower borrower{room};
    auto held = room->items.acquire();
    REQUIRE(held);
    std::atomic<bool> checked{false};
    room.hooks(&Room::items, {.check = [&](Item&) {
        // Waits, in vain, and takes its mark away.
        const auto inner = room->items.acquire_for(1ms);
        checked = inner.status() == Outcome::timed_out;
        return false;
    }});
    Outcome outcome = Outcome::timed_out;
    std::thread waiter{[&] { outcome = room->items.acquire().status(); }};
    wait_for_waits(room, 1);
    CHECK(borrower.kill());
    support::wait_until([&] { return checked.load(); });
    std::this_thread::sleep_for(10ms);  // it sleeps again, or what follows shows nothing
    held.give_back();
    waiter.join();
    CHECK(outcome == Outcome::ok);
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool settling: a check inside acquire_n may gather, too", "[child]") {
    auto room = make_full_room(3);
    Borrower borrower{room};
    auto held = room->items.acquire();
    REQUIRE(held);
    Outcome inner = Outcome::timed_out;
    room.hooks(&Room::items, {.check = [&](Item&) {
        inner = room->items.acquire_n_for(1h, 1).size() == 1 ? Outcome::ok : Outcome::would_block;
        return true;
    }});
    std::size_t got = 0;
    std::thread waiter{[&] { got = room->items.acquire_n(3).size(); }};
    wait_for_waits(room, 1);
    CHECK(borrower.kill());
    support::wait_until([&] { return room->items.idle() == 2; });
    held.give_back();
    waiter.join();
    CHECK(got == 3);
    CHECK(inner == Outcome::ok);
}

TEST_CASE("pool settling: what becomes DIRTY in a hook of acquire_n is not slept over", "[child]") {
    auto room = make_full_room(2);
    Borrower first{room};
    auto second = std::make_unique<Borrower>(room);
    room.hooks(&Room::items, {.check = [&](Item&) {
        if (!second) return true;
        if (!std::exchange(second, nullptr)->kill()) return false;
        // Another process repairs it, and has no check.
        return support::in_child([&] {
                   const auto mine = Arena::open(room.name());
                   return mine->items.stats().dirty == 1 ? 0 : 1;
               }) == support::exited(0);
    }});
    std::size_t got = 0;
    std::thread waiter{[&] { got = room->items.acquire_n(2).size(); }};
    wait_for_waits(room, 1);
    CHECK(first.kill());
    waiter.join();
    CHECK(got == 2);
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool settling: hooks that use their pool are not run inside of one another", "[child]") {
    auto room = make_full_room(100);
    {
        const support::Flag holds;
        Child child{[&]() -> int {
            const auto all = room->items.acquire_n(100);
            holds.raise();
            support::wait_for_death();
        }};
        holds.wait();
        CHECK(child.kill() == support::killed_by(SIGKILL));
    }
    int depth = 0;
    int deepest = 0;
    int checks = 0;
    room.hooks(&Room::items, {.check = [&](Item&) {
        deepest = std::max(deepest, ++depth);
        ++checks;
        (void)room->items.acquire_for(1us);
        --depth;
        return true;
    }});
    support::wait_until([&] {
        (void)room.reap();
        return room->items.idle() == 100;
    });
    CHECK(checks == 100);
    CHECK(deepest == 1);
}

TEST_CASE("pool settling: one who died shutting down leaves the end to who has the hook",
          "[child]") {
    const auto shut_and_die = [](const Arena& room) {
        CHECK(support::in_child([&] {
                  const auto mine = Arena::open(room.name());
                  auto* attachment = detail::attachment_of(&mine->items);
                  // Q1 release store -> Q2, E4: its first step.
                  attachment->header->state.store(1, std::memory_order_release);
                  ::raise(SIGKILL);
                  return 0;
              }) == support::killed_by(SIGKILL));
    };
    int destroyed = 0;
    auto room = make_full_room(3);
    hooks_pass(room, {.destroy = [](Item&) {}});
    const support::Flag there;
    const support::Flag go;
    Child other{[&]() -> int {
        const auto mine = Arena::open(room.name());
        there.raise();
        go.wait();
        support::reap_dead(mine);
        there.raise(2);
        support::wait_for_death();
    }};
    there.wait();
    room.hooks(&Room::items, {.destroy = [&](Item&) { ++destroyed; }});
    shut_and_die(room);
    // It is repaired by a process that has no destroy.
    go.raise();
    there.wait(2);
    CHECK(destroyed == 0);
    SECTION("it asks") { CHECK(room->items.acquire_for(1h).status() == Outcome::closed); }
    SECTION("it leaves") { room.close(); }
    CHECK(destroyed == 3);
}

namespace {

struct Rooms {
    lagoon::Pool<Item> left{"left", {.capacity = 1}};
    lagoon::Pool<Item> right{"right", {.capacity = 1}};
};

}  // namespace

TEST_CASE("pool settling: threads that share a lane leave no mark in the other's pool") {
    auto rooms = lagoon::Arena<Rooms>::create(unique_name("settling"), {.max_threads = 1});
    rooms->left.add(Item{});
    rooms->right.add(Item{});
    auto left = rooms->left.acquire();
    auto right = rooms->right.acquire();
    REQUIRE(detail::lane_of(&rooms.root()).shared == false);
    std::thread in_left{[&] { (void)rooms->left.acquire(); }};
    support::wait_until([&] { return rooms->left.stats().waiting == 1; });
    std::thread in_right{[&] { (void)rooms->right.acquire(); }};
    support::wait_until([&] { return rooms->right.stats().waiting == 1; });
    left.give_back();
    in_left.join();
    CHECK(rooms->left.stats().waiting == 0);
    right.give_back();
    in_right.join();
    CHECK(rooms->right.stats().waiting == 0);
}

TEST_CASE("pool settling: shut_down closes all pools before it runs a hook of one") {
    auto rooms = lagoon::Arena<Rooms>::create(unique_name("settling"));
    int closed = 0;
    const auto destroy = [&](Item&) {
        closed += rooms->left.closed() && rooms->right.closed() ? 1 : 0;
    };
    rooms.hooks(&Rooms::left, {.destroy = destroy});
    rooms.hooks(&Rooms::right, {.destroy = destroy});
    rooms->left.add(Item{});
    rooms->right.add(Item{});
    rooms.shut_down();
    CHECK(closed == 2);
}

TEST_CASE("pool settling: what lost its hint bit is found by reap, and by who waits", "[child]") {
    auto room = make_full_room(1);
    detail::PoolObject& pool = support::object_of(room->items);
    hooks_pass(room, {.destroy = [](Item&) {}});
    const auto leave_dirty = [&] {
        // As one who is stopped between the word and the bit leaves it.
        room->items.try_acquire().discard();
        REQUIRE(support::state_of(room->items, 0) == SlotState::dirty);
        detail::drop_hint(detail::hints_of(detail::body_of(pool), detail::Hint::dirty), 0);
    };
    leave_dirty();
    CHECK(support::in_child([&] {
              const auto mine = Arena::open(room.name());
              mine.hooks(&Room::items, {.destroy = [](Item&) {}});
              return 0;
          }) == support::exited(0));
    CHECK(support::state_of(room->items, 0) == SlotState::empty);
    // EMPTY without its bit.
    detail::drop_hint(detail::hints_of(detail::body_of(pool), detail::Hint::empty), 0);
    auto lease = room->items.acquire_or_create_for(1h, [](Item&) {});
    CHECK(lease);
}
